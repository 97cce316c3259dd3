"""docs/permissions.md, compared with the template."""

import re
from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any, Final

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template as Assertions
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]

from infra.configuration import Configuration
from infra.stack import VmImageImportStack
from tests.conftest import REGION, ROOT
from tests.infra.test_configuration import EVERYTHING, INLINE
from tests.infra.test_template import resources

DOCUMENT = (ROOT / "docs" / "permissions.md").read_text(encoding="utf-8")
STATEMENT = re.compile(r"^\| `(?P<sid>\w+)` \| (?P<actions>[^|]+) \| (?P<on>[^|]+) \| (?P<why>[^|]+) \|$", re.MULTILINE)
TYPE = re.compile(r"^\| `(?P<type>AWS::\w+::\w+)` \| (?P<actions>[^|]+) \|$", re.MULTILINE)
REPLICAS: Final = "replicas, which only AWS::DynamoDB::GlobalTable has"
ONLY_FOR: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "AWS::DynamoDB::Table": {
        "ContributorInsightsSpecification": ("dynamodb:UpdateContributorInsights",),
        "ImportSourceSpecification": ("dynamodb:ImportTable", "dynamodb:DescribeImport", "logs:*", "s3:*"),
        "KinesisStreamSpecification": ("dynamodb:[DEU]*KinesisStreamingDestination", "kinesis:*"),
        "ResourcePolicy": ("dynamodb:PutResourcePolicy", "dynamodb:DeleteResourcePolicy"),
        REPLICAS: ("dynamodb:*TableReplica", "dynamodb:*Item", "dynamodb:Query", "dynamodb:Scan", "iam:*"),
    },
    "AWS::Events::Rule": {"RoleArn": ("iam:PassRole",)},
    "AWS::IAM::Role": {
        "Description": ("iam:UpdateRoleDescription",),
        "ManagedPolicyArns": ("iam:AttachRolePolicy", "iam:DetachRolePolicy"),
        "MaxSessionDuration": ("iam:UpdateRole",),
    },
    "AWS::KMS::Key": {"Enabled": ("kms:DisableKey", "kms:EnableKey")},
    "AWS::Lambda::Function": {
        "CapacityProviderConfig": ("lambda:PassCapacityProvider",),
        "CodeSigningConfigArn": ("lambda:[PD]*FunctionCodeSigningConfig", "lambda:GetCodeSigningConfig"),
        "FileSystemConfigs": ("elasticfilesystem:*", "s3files:*"),
        "FunctionScalingConfig": ("lambda:PutFunctionScalingConfig",),
        "KmsKeyArn": ("kms:*",),
        "Layers": ("lambda:GetLayerVersion",),
        "RecursiveLoop": ("lambda:PutFunctionRecursionConfig",),
        "RuntimeManagementConfig": ("lambda:PutRuntimeManagementConfig", "lambda:AssociateRuntimeAlias"),
        "SnapStart": ("lambda:PublishVersion",),
        "VpcConfig": ("ec2:*",),
    },
    "AWS::Logs::LogGroup": {
        "BearerTokenAuthenticationEnabled": ("logs:PutBearerTokenAuthentication",),
        "DataProtectionPolicy": ("logs:[PD]*DataProtectionPolicy", "logs:CreateLogDelivery", "firehose:*", "s3:*"),
        "DeletionProtectionEnabled": ("logs:PutLogGroupDeletionProtection",),
        "FieldIndexPolicies": ("logs:PutIndexPolicy", "logs:DeleteIndexPolicy"),
        "KmsKeyId": ("logs:AssociateKmsKey", "logs:DisassociateKmsKey"),
        "ResourcePolicyDocument": ("logs:PutResourcePolicy", "logs:DeleteResourcePolicy"),
    },
    "AWS::SNS::Subscription": {"SubscriptionRoleArn": ("iam:*",)},
    "AWS::SNS::Topic": {
        "DataProtectionPolicy": ("sns:PutDataProtectionPolicy",),
        "DeliveryStatusLogging": ("iam:*",),
        "Subscription": ("sns:Subscribe", "sns:Unsubscribe"),
    },
}
"""Permissions of CloudFormation's handlers that only one property of the type needs."""


@pytest.fixture(scope="module")
def everything() -> dict[str, Any]:
    """Give the template with everything that can be configured."""
    return template(EVERYTHING)


def template(configuration: object) -> dict[str, Any]:
    """Return the template with a configuration."""
    stack = VmImageImportStack(App(), "Stack", configuration=Configuration.from_context(configuration), code=INLINE)
    return dict(Assertions.from_stack(stack).to_json())


def statements_of(template: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the statements of all roles."""
    policies = [policy for role in resources(template, "AWS::IAM::Role").values() for policy in role["Policies"]]
    return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]


def test_every_statement_is_documented(everything: Mapping[str, Any]) -> None:
    """The table of statements in docs/permissions.md has the statements and actions of the roles, and no others."""
    actions = {each["Sid"]: each["Action"] for each in statements_of(everything)}
    allowed = {sid: {found} if isinstance(found, str) else {*found} for sid, found in actions.items()}
    rows = {match["sid"]: match for match in STATEMENT.finditer(DOCUMENT)}
    assert {sid: set(re.findall(r"`(.+?)`", row["actions"])) for sid, row in rows.items()} == allowed


def test_wildcard_resources_are_documented(everything: Mapping[str, Any]) -> None:
    """The statements on `*` are documented as such, and all but one have a condition."""
    statements = statements_of(everything)
    on_all = {each["Sid"] for each in statements if each["Resource"] == "*"}
    assert {match["sid"] for match in STATEMENT.finditer(DOCUMENT) if match["on"].startswith("`*`")} == on_all
    assert {each["Sid"] for each in statements if each["Resource"] == "*" and "Condition" in each} == on_all - {
        "WriteTraces"
    }


def test_the_deployers_actions_are_those_of_cloudformations_handlers(everything: Mapping[str, Any]) -> None:
    """For each type and property of the template, the deployer's table has the actions that CloudFormation needs."""
    properties: dict[str, set[str]] = {}
    # Without a key of its own, the stack makes one.
    with_new_key = template({**EVERYTHING, "keyArn": ""})
    for resource in (*everything["Resources"].values(), *with_new_key["Resources"].values()):
        properties.setdefault(resource["Type"], set()).update(resource["Properties"])
    documented = {match["type"]: set(re.findall(r"`(.+?)`", match["actions"])) for match in TYPE.finditer(DOCUMENT)}
    assert documented == {type_: needed(type_, used) for type_, used in properties.items()}


@pytest.mark.parametrize("type_", ONLY_FOR)
def test_properties_of_permissions_exist(type_: str) -> None:
    """Each property for which a permission is left out is one of its type, and each pattern matches a permission."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, type_).schema
    assert {*ONLY_FOR[type_]} - {REPLICAS} <= {*schema["properties"]}
    for pattern in (pattern for patterns in ONLY_FOR[type_].values() for pattern in patterns):
        assert any(fnmatch(action, pattern) for action in handlers(schema)), pattern


def needed(type_: str, properties: set[str]) -> set[str]:
    """Return the actions that CloudFormation needs to create, read, update and delete resources with properties."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, type_).schema
    unused = [
        pattern
        for property_, patterns in ONLY_FOR.get(type_, {}).items()
        if property_ not in properties
        for pattern in patterns
    ]
    return {action for action in handlers(schema) if not any(fnmatch(action, pattern) for pattern in unused)}


def handlers(schema: Mapping[str, Any]) -> set[str]:
    """Return all actions of a type's handlers, and those to tag it. `list` finds resources of no stack."""
    actions = {
        action for name, handler in schema["handlers"].items() if name != "list" for action in handler["permissions"]
    }
    return actions | {*schema.get("tagging", {}).get("permissions", ())}
