"""The customer managed key of the configuration. docs/permissions.md says what its policy must allow."""

from aws_cdk import Arn, ArnFormat, Stack, Token
from aws_cdk import aws_kms as kms
from constructs import Construct

from .configuration import Configuration, ConfigurationError


def configured_key(scope: Construct, configuration: Configuration) -> kms.IKey | None:
    """Return the key of `keyArn`, None where none is configured.

    Raises ConfigurationError for a key of another Region or account than the stack's, as far as these are known.
    """
    if not configuration.key_arn:
        return None
    stack, parts = Stack.of(scope), Arn.split(configuration.key_arn, ArnFormat.SLASH_RESOURCE_NAME)
    for place, stated, wanted in (("Region", parts.region, stack.region), ("account", parts.account, stack.account)):
        if not Token.is_unresolved(wanted) and stated != wanted:
            message = f"key_arn: {configuration.key_arn} is of another {place}: write a key of the {place} {wanted}."
            raise ConfigurationError(message)
    return kms.Key.from_key_arn(scope, "ConfiguredKey", configuration.key_arn)
