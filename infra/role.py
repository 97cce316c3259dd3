"""The function's role, as narrow as AWS allows. docs/permissions.md has the reason of each statement."""

from collections.abc import Mapping

from aws_cdk import Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from .acknowledgements import acknowledge, nag_resource
from .configuration import Configuration
from .notifications import Notifications
from .operations import ACTIONS


def function_role(
    scope: Construct,
    *,
    log_group: logs.ILogGroup,
    dead_letter_queue: sqs.IQueue,
    table: dynamodb.ITable,
    notifications: Notifications,
    configuration: Configuration,
) -> iam.Role:
    """Return the role. Some statements are there only where the configuration needs them."""
    stack = Stack.of(scope)
    version, build = (
        stack.format_arn(service="imagebuilder", resource="image", resource_name=name) for name in ("*/*", "*/*/*")
    )
    linked_role = stack.format_arn(
        service="iam",
        region="",
        resource="role",
        resource_name="aws-service-role/imagebuilder.amazonaws.com/AWSServiceRoleForImageBuilder",
    )
    # The only way to narrow an action without resource types.
    in_region = {"StringEquals": {"aws:RequestedRegion": stack.region}}
    statements = [
        iam.PolicyStatement(
            sid="WriteLogs",
            actions=["logs:CreateLogStream", "logs:PutLogEvents"],
            resources=[log_group.log_group_arn],
        ),
        iam.PolicyStatement(sid="SendToDlq", actions=["sqs:SendMessage"], resources=[dead_letter_queue.queue_arn]),
        _calls("ReadImports", "*", in_region),
        _calls("RegisterImages", version),
        iam.PolicyStatement(sid="TagImages", actions=["imagebuilder:TagResource"], resources=[build]),
        # The pattern of a version matches a build, too: its `*` does not stop at a slash.
        _calls("TrackImages", version),
        # Without an ARN, as the function calls it, no resource is known.
        _calls("FindImages", "*", in_region),
        _calls("UseIdempotencyTable", table.table_arn),
        _calls("PublishNotifications", notifications.topic.topic_arn),
        iam.PolicyStatement(
            sid="EncryptNotifications",
            actions=["kms:Decrypt", "kms:GenerateDataKey"],
            resources=[notifications.key_arn],
            # SNS encrypts with this context on the publisher's behalf (developer guide, "Key management").
            conditions={"StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": notifications.topic.topic_arn}},
        ),
        iam.PolicyStatement(
            sid="CreateServiceLinkedRole",
            actions=["iam:CreateServiceLinkedRole"],
            resources=[linked_role],
            conditions={"StringEquals": {"iam:AWSServiceName": "imagebuilder.amazonaws.com"}},
        ),
    ]
    if configuration.version_scheme == "increment":
        statements.append(_calls("ListVersions", "*", in_region))
    if configuration.tracing:
        # Without a condition: Lambda refuses the function where it finds that the role lacks the permission, and does
        # not document with which context it asks.
        traces = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
        statements.append(iam.PolicyStatement(sid="WriteTraces", actions=traces, resources=["*"]))
    role = iam.Role(
        scope,
        "Role",
        assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        # Inline: the role is complete when the function first runs.
        inline_policies={"Permissions": iam.PolicyDocument(statements=statements)},
    )
    not_known = "Names and versions come from the imports, so no narrower resource is known beforehand."
    if "*" in notifications.key_arn:
        finding = f"AwsSolutions-IAM5[Resource::{nag_resource(stack, notifications.key_arn)}]"
        acknowledge(role, {finding: "The key of a given topic is not known. The condition names the topic."})
    acknowledge(
        role,
        {
            "AwsSolutions-IAM5[Resource::*]": "Describe and List actions have no resource types, nor have X-Ray's.",
            **{f"AwsSolutions-IAM5[Resource::{nag_resource(stack, arn)}]": not_known for arn in (version, build)},
            "Serverless-LambdaStarPermissions": f"See AwsSolutions-IAM5. {not_known}",
        },
    )
    return role


def _calls(sid: str, resource: str, conditions: Mapping[str, Mapping[str, str]] | None = None) -> iam.PolicyStatement:
    """Return the statement for the function's own calls; the other statements are for calls on its behalf."""
    return iam.PolicyStatement(sid=sid, actions=sorted(ACTIONS[sid]), resources=[resource], conditions=conditions)
