"""Customer managed keys of AWS KMS: whether a service or a role may use one. moto encrypts nothing with them."""

from collections.abc import Mapping
from typing import Final

from moto.kms.models import Key, kms_backends

from local.aws import policies
from local.aws.common import ServiceError

TO_ENCRYPT: Final = ("kms:GenerateDataKey", "kms:Decrypt")
"""What the sender of a message needs, at a topic and at a queue (developer guides of SNS and SQS, "Key management")."""
_DISABLED: Final = "KMSDisabled"
_DENIED: Final = "KMSAccessDenied"


def find(account_id: str, region: str, identifier: str | None) -> Key | None:
    """Return the customer managed key with this id or ARN; None for a key of AWS."""
    # A deployment may add keys at the same time.
    key = {**kms_backends[account_id][region].keys}.get((identifier or "").rpartition("/")[2])
    return key if key and not any(alias.startswith("alias/aws/") for alias in key.aliases) else None


def check(key: Key | None, context: Mapping[str, str], service: str | None = None) -> None:
    """Check that messages can be encrypted with a key, by a service, or by anybody without one.

    Raises ServiceError with the code that SNS has for it (API reference, `Publish`).
    """
    if key and not key.enabled:
        raise ServiceError(_DISABLED, f"{key.arn} is disabled.")
    if key and service and not allows(key, service, context, *TO_ENCRYPT):
        raise ServiceError(_DENIED, f"{service} may not use {key.arn}: no resource-based policy allows it.")


def allows(key: Key, principal: str, context: Mapping[str, str], *actions: str) -> bool:
    """Return whether the policy of a key allows a service or an account these actions."""
    statements = policies.statements_of(key.policy)
    requests = [policies.AuthorizationRequest(action, key.arn, context) for action in actions]
    return all(policies.allows(statements, request, principal) for request in requests)
