"""The function's role: one statement for each need, as narrow as AWS allows. docs/permissions.md gives the reasons."""

from collections.abc import Mapping

from aws_cdk import Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.checks import acknowledge, as_reported
from infra.configuration import Configuration
from infra.notices import Notices
from infra.operations import ACTIONS


def function_role(
    scope: Construct,
    *,
    log_group: logs.ILogGroup,
    failures: sqs.IQueue,
    table: dynamodb.ITable,
    notices: Notices,
    configuration: Configuration,
) -> iam.Role:
    """Return the role: what it may do grows with what is configured."""
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
    # All that narrows an action that knows no resources.
    here = {"StringEquals": {"aws:RequestedRegion": stack.region}}
    statements = [
        iam.PolicyStatement(
            sid="WriteLogs",
            actions=["logs:CreateLogStream", "logs:PutLogEvents"],
            resources=[log_group.log_group_arn],
        ),
        iam.PolicyStatement(sid="KeepFailures", actions=["sqs:SendMessage"], resources=[failures.queue_arn]),
        _calls("ReadImports", "*", here),
        _calls("RegisterImages", version),
        iam.PolicyStatement(sid="TagImages", actions=["imagebuilder:TagResource"], resources=[build]),
        # The pattern of a version takes a build, too: its `*` does not stop at a slash.
        _calls("FollowImages", version),
        _calls("RememberWhatWasDone", table.table_arn),
        _calls("TellPeople", notices.topic.topic_arn),
        iam.PolicyStatement(
            sid="EncryptNotices",
            actions=["kms:Decrypt", "kms:GenerateDataKey"],
            resources=[notices.key.key_arn],
            # SNS encrypts with this context, on the publisher's behalf (developer guide, "Key management").
            conditions={"StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": notices.topic.topic_arn}},
        ),
        iam.PolicyStatement(
            sid="LetImageBuilderSetItselfUp",
            actions=["iam:CreateServiceLinkedRole"],
            resources=[linked_role],
            conditions={"StringEquals": {"iam:AWSServiceName": "imagebuilder.amazonaws.com"}},
        ),
    ]
    if configuration.version_scheme == "increment":
        statements.append(_calls("ListVersions", "*", here))
    if configuration.tracing:
        # Without a condition: Lambda refuses the function where it finds that the role may not, and does not say under
        # which circumstances it asks.
        traces = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
        statements.append(iam.PolicyStatement(sid="WriteTraces", actions=traces, resources=["*"]))
    role = iam.Role(
        scope,
        "Role",
        assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        # Inline: the role is complete when the function first runs.
        inline_policies={"Needs": iam.PolicyDocument(statements=statements)},
    )
    of_imports = "Names and versions come from the imports: no narrower resource is known beforehand."
    acknowledge(
        role,
        {
            "AwsSolutions-IAM5[Resource::*]": "Describe and List actions know no resources, nor do X-Ray's.",
            **{f"AwsSolutions-IAM5[Resource::{as_reported(stack, arn)}]": of_imports for arn in (version, build)},
            "Serverless-LambdaStarPermissions": f"Describe, List and X-Ray's actions know no resources. {of_imports}",
        },
    )
    return role


def _calls(sid: str, resource: str, conditions: Mapping[str, Mapping[str, str]] | None = None) -> iam.PolicyStatement:
    """Return the statement for what the function itself calls; the others are for what is done on its behalf."""
    return iam.PolicyStatement(sid=sid, actions=sorted(ACTIONS[sid]), resources=[resource], conditions=conditions)
