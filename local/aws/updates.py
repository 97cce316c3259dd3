"""Updates of CloudFormation's resources, which keep their names and what is in them.

moto makes most types anew under another name, and others not at all.
"""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.parsing import ResourceMap
from moto.dynamodb.models.table import Table
from moto.iam.models import Role
from moto.kms.models import Key
from moto.logs.models import LogGroup
from moto.sns.models import Topic
from moto.sqs.models import Queue

from local.aws import keys
from local.aws.functions import Function


def install() -> None:
    """Let moto update resources as below. A second call changes nothing."""
    parsing.parse_and_update_resource = update_resource  # type: ignore[assignment]


def check(kind: str) -> None:
    """Raise ValidationError for a type that cannot be updated here."""
    update = getattr(parsing.get_model_map().get(kind), "update_from_cloudformation_json", None)
    if kind not in _IN_PLACE and hasattr(update, "__isabstractmethod__"):
        message = f"The local AWS cannot update {kind}: destroy the stack and deploy it again."
        raise ValidationError(message=message)


def update_resource(
    logical_id: str, resource_json: dict[str, Any], resources_map: ResourceMap, account_id: str, region_name: str
) -> object:
    """Update a resource of a stack and return it."""
    kind: str = resource_json["Type"]
    original: Any = resources_map[logical_id]
    # Both are None for a type that moto ignores, and where a condition does not hold.
    parsed: Any = parsing.parse_resource_and_generate_name(logical_id, resource_json, resources_map)
    if not original or not parsed:
        return None
    resource_class, definition, name = parsed
    if update := _IN_PLACE.get(kind):
        update(original, definition["Properties"])
        return original
    stated = definition["Properties"].get(parsing.resource_name_property_from_type(kind) or "")
    updated: Any = resource_class.update_from_cloudformation_json(
        original_resource=original,
        new_resource_name=name if stated else original.physical_resource_id,
        cloudformation_json=definition,
        account_id=account_id,
        region_name=region_name,
    )
    updated.cf_resource_type, updated.logical_resource_id = kind, logical_id
    return updated


def set_log_key(group: LogGroup, properties: Mapping[str, Any]) -> None:
    """Let the key of a template encrypt a log group, which moto ignores. Raises ValidationError for one that cannot."""
    group.kms_key_id = properties.get("KmsKeyId")
    if group.kms_key_id:
        key, arn = keys.find(group.account_id, group.region, group.kms_key_id), group.arn.removesuffix(":*")
        service, context = f"logs.{group.region}.amazonaws.com", {"kms:EncryptionContext:aws:logs:arn": arn}
        if not (key and key.enabled and keys.allows(key, service, context, "kms:Encrypt", "kms:Decrypt")):
            # (API reference, `AssociateKmsKey`)
            message = f"The specified KMS key does not exist or is not allowed to be used with Arn '{arn}'"
            raise ValidationError(message=message)


def _update_function(function: Function, properties: Mapping[str, Any]) -> None:
    # A property that the template does not have any more gets its default.
    defaults = {"Architectures": ["x86_64"], "TracingConfig": {"Mode": "PassThrough"}}
    function.reserved_concurrency = properties.get("ReservedConcurrentExecutions")
    function.update_configuration({**defaults, **properties})
    code = {**properties["Code"]}
    if source := code.get("ZipFile"):
        code["ZipFile"] = base64.b64encode(function._create_zipfile_from_plaintext_code(source))  # noqa: SLF001 - as moto does it at creation
    function.update_function_code(code)


def _update_key(key: Key, properties: Mapping[str, Any]) -> None:
    key.policy = json.dumps(properties["KeyPolicy"])
    key.description = properties.get("Description", "")
    key.key_rotation_status = properties.get("EnableKeyRotation", False)


def _update_log_group(group: LogGroup, properties: Mapping[str, Any]) -> None:
    group.set_retention_policy(properties.get("RetentionInDays"))
    set_log_key(group, properties)


def _update_role(role: Role, properties: Mapping[str, Any]) -> None:
    role.assume_role_policy_document = json.dumps(properties["AssumeRolePolicyDocument"])
    role.description = properties.get("Description", "")
    role.policies = {each["PolicyName"]: json.dumps(each["PolicyDocument"]) for each in properties.get("Policies", [])}


def _update_table(table: Table, properties: Mapping[str, Any]) -> None:
    table.deletion_protection_enabled = properties.get("DeletionProtectionEnabled", False)
    encryption = properties.get("SSESpecification", {})
    # DynamoDB has another name for it (API reference, `SSESpecification`).
    table.sse_specification = {**encryption, "Enabled": encryption.get("SSEEnabled", False)}


def _update_queue(queue: Queue, properties: Mapping[str, Any]) -> None:
    queue.update_from_cloudformation_json(queue, queue.name, {"Properties": properties}, queue.account_id, queue.region)
    queue.kms_master_key_id = properties.get("KmsMasterKeyId")  # type: ignore[attr-defined]


def _update_topic(topic: Topic, properties: Mapping[str, Any]) -> None:
    topic.display_name = properties.get("DisplayName", "")
    topic.kms_master_key_id = properties.get("KmsMasterKeyId", "")


_IN_PLACE: Final[Mapping[str, Callable[[Any, Mapping[str, Any]], None]]] = {
    "AWS::DynamoDB::Table": _update_table,
    "AWS::IAM::Role": _update_role,
    "AWS::KMS::Key": _update_key,
    "AWS::Lambda::Function": _update_function,
    "AWS::Logs::LogGroup": _update_log_group,
    "AWS::SNS::Topic": _update_topic,
    "AWS::SQS::Queue": _update_queue,
}
