"""The function, its role, its log group, and the queue of the invocations that failed."""

from typing import Final, cast

from aws_cdk import Annotations, Duration, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra import bundle
from infra.checks import acknowledge, as_reported
from infra.configuration import Configuration
from infra.evidence import evidence_queue

_NAMESPACE: Final = "VmImageImport"


class ImportFunction(Construct):
    """The function that registers imports, ready to be invoked by hand and by triggers."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        configuration: Configuration,
        table: dynamodb.ITable,
        topic: sns.ITopic,
        code: lambda_.Code | None = None,
    ) -> None:
        super().__init__(scope, id_)
        self._finds_versions = configuration.version_scheme == "increment"
        self.failures = evidence_queue(self, "Failures")
        # What is registered is told by the images themselves: the log need not outlive the stack.
        log_group = logs.LogGroup(self, "Logs", removal_policy=RemovalPolicy.DESTROY)
        # The class takes a name for each of CloudWatch's numbers of days; the resource takes the number.
        cast("logs.CfnLogGroup", log_group.node.default_child).retention_in_days = configuration.log_retention_days
        self.function = lambda_.Function(
            self,
            "Function",
            description="Registers imported VMs as base images in EC2 Image Builder",
            code=code or self._bundled(),
            handler="vm_image_import.handler.handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            # A run needs less than 100 MB, but the share of the CPU grows with the memory.
            memory_size=256,
            # A sweep over a thousand new imports takes minutes; it stops in time, and the next one goes on.
            timeout=Duration.minutes(5),
            reserved_concurrent_executions=configuration.reserved_concurrency,
            role=self._role(log_group, table, topic).without_policy_updates(),
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            system_log_level_v2=lambda_.SystemLogLevel.INFO,
            environment={
                "POWERTOOLS_SERVICE_NAME": "vm-image-import",
                "POWERTOOLS_METRICS_NAMESPACE": _NAMESPACE,
                "TABLE_NAME": table.table_name,
                "TOPIC_ARN": topic.topic_arn,
                **configuration.function_environment(),
            },
            # After 1 and 2 minutes: enough for what passes by itself, such as an AMI that EC2 does not show yet.
            retry_attempts=2,
            max_event_age=Duration.hours(6),
            on_failure=destinations.SqsDestination(self.failures),
        )
        acknowledge(
            self.function,
            {"AwsSolutions-L1": "A supported runtime. A newer one comes together with its bytecode and its test runs."},
        )

    def _bundled(self) -> lambda_.Code:
        folder, has_bytecode = bundle.build()
        if not has_bytecode:
            Annotations.of(self).add_warning_v2(
                "vm-image-import:bytecode",
                "No Python 3.13 was found, so the bundle has no bytecode: cold starts will be slower.",
            )
        return lambda_.Code.from_asset(str(folder))

    def _role(self, log_group: logs.LogGroup, table: dynamodb.ITable, topic: sns.ITopic) -> iam.Role:
        stack = Stack.of(self)
        version, build = (
            stack.format_arn(service="imagebuilder", resource="image", resource_name=name) for name in ("*/*", "*/*/*")
        )
        linked_role = stack.format_arn(
            service="iam",
            region="",
            resource="role",
            resource_name="aws-service-role/imagebuilder.amazonaws.com/AWSServiceRoleForImageBuilder",
        )
        statements = [
            iam.PolicyStatement(
                sid="WriteLogs",
                actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                resources=[log_group.log_group_arn],
            ),
            iam.PolicyStatement(sid="KeepFailures", actions=["sqs:SendMessage"], resources=[self.failures.queue_arn]),
            iam.PolicyStatement(
                sid="ReadImports",
                actions=["ec2:DescribeImages", "ec2:DescribeImportImageTasks"],
                resources=["*"],
            ),
            iam.PolicyStatement(sid="RegisterImages", actions=["imagebuilder:ImportVmImage"], resources=[version]),
            iam.PolicyStatement(sid="TagImages", actions=["imagebuilder:TagResource"], resources=[build]),
            iam.PolicyStatement(sid="FollowImages", actions=["imagebuilder:GetImage"], resources=[version, build]),
            iam.PolicyStatement(
                sid="RememberWhatWasDone",
                actions=[f"dynamodb:{action}Item" for action in ("BatchGet", "Delete", "Get", "Put", "Update")],
                resources=[table.table_arn],
            ),
            iam.PolicyStatement(sid="TellPeople", actions=["sns:Publish"], resources=[topic.topic_arn]),
            iam.PolicyStatement(
                sid="LetImageBuilderSetItselfUp",
                actions=["iam:CreateServiceLinkedRole"],
                resources=[linked_role],
                conditions={"StringEquals": {"iam:AWSServiceName": "imagebuilder.amazonaws.com"}},
            ),
        ]
        if self._finds_versions:
            statements.append(
                iam.PolicyStatement(sid="ListVersions", actions=["imagebuilder:ListImages"], resources=["*"])
            )
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            # Inline: the role is complete when the function first runs.
            inline_policies={"Needs": iam.PolicyDocument(statements=statements)},
        )
        acknowledge(
            role,
            {
                "AwsSolutions-IAM5[Resource::*]": "Describe and List actions know no resources.",
                **{
                    f"AwsSolutions-IAM5[Resource::{as_reported(stack, arn)}]": "Names and versions come"
                    " from the imports: no narrower resource is known beforehand."
                    for arn in (version, build)
                },
            },
        )
        return role
