"""The function's role: one statement for each need, as narrow as AWS allows. docs/permissions.md gives the reasons."""

from aws_cdk import Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.checks import acknowledge, as_reported
from infra.notices import Notices


def function_role(
    scope: Construct,
    *,
    log_group: logs.ILogGroup,
    failures: sqs.IQueue,
    table: dynamodb.ITable,
    notices: Notices,
    finds_versions: bool,
) -> iam.Role:
    """Return the role. `finds_versions` says whether the function has to list the existing versions of an image."""
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
        iam.PolicyStatement(
            sid="ReadImports",
            actions=["ec2:DescribeImages", "ec2:DescribeImportImageTasks"],
            resources=["*"],
            conditions=here,
        ),
        iam.PolicyStatement(sid="RegisterImages", actions=["imagebuilder:ImportVmImage"], resources=[version]),
        iam.PolicyStatement(sid="TagImages", actions=["imagebuilder:TagResource"], resources=[build]),
        iam.PolicyStatement(
            sid="FollowImages",
            actions=["imagebuilder:GetImage"],
            # The pattern of a version takes a build, too: its `*` does not stop at a slash.
            resources=[version],
        ),
        iam.PolicyStatement(
            sid="RememberWhatWasDone",
            actions=[f"dynamodb:{action}Item" for action in ("BatchGet", "Delete", "Put", "Update")],
            resources=[table.table_arn],
        ),
        iam.PolicyStatement(sid="TellPeople", actions=["sns:Publish"], resources=[notices.topic.topic_arn]),
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
    if finds_versions:
        statements.append(
            iam.PolicyStatement(
                sid="ListVersions", actions=["imagebuilder:ListImages"], resources=["*"], conditions=here
            )
        )
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
            "AwsSolutions-IAM5[Resource::*]": "Describe and List actions know no resources.",
            **{f"AwsSolutions-IAM5[Resource::{as_reported(stack, arn)}]": of_imports for arn in (version, build)},
            "Serverless-LambdaStarPermissions": "As above, for each of its wildcards.",
        },
    )
    return role
