"""The function, its log group, and the queue of the invocations that failed."""

from typing import Final, cast

from aws_cdk import Annotations, Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra import bundle
from infra.checks import acknowledge
from infra.configuration import Configuration
from infra.evidence import evidence_queue
from infra.notices import Notices
from infra.role import function_role

NAMESPACE: Final = "VmImageImport"
"""Of the function's metrics."""
SERVICE: Final = "vm-image-import"
"""The value of their only dimension, `service`."""

_RUNTIME: Final = "A supported runtime. A newer one comes together with its bytecode and its test runs."

_NOT_TRACED: Final = "Who wants traces configures them: the log tells the story of each import without."


class ImportFunction(Construct):
    """The function that registers imports, ready to be invoked by hand and by triggers."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        configuration: Configuration,
        table: dynamodb.ITable,
        notices: Notices,
        code: lambda_.Code | None = None,
    ) -> None:
        """Create it. `code` stands in for the bundle."""
        super().__init__(scope, id_)
        self.failures = evidence_queue(self, "Failures")
        # What is registered is told by the images themselves: the log need not outlive the stack.
        self.log_group = logs.LogGroup(self, "Logs", removal_policy=RemovalPolicy.DESTROY)
        # The class takes a name for each of CloudWatch's numbers of days; the resource takes the number.
        cast("logs.CfnLogGroup", self.log_group.node.default_child).retention_in_days = configuration.log_retention_days
        role = function_role(
            self,
            log_group=self.log_group,
            failures=self.failures,
            table=table,
            notices=notices,
            configuration=configuration,
        )
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
            role=role.without_policy_updates(),
            log_group=self.log_group,
            # Lambda's own segments: the X-Ray SDK, which adds the calls, would cost every start, and ends in 2027.
            tracing=lambda_.Tracing.ACTIVE if configuration.tracing else lambda_.Tracing.DISABLED,
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            system_log_level_v2=lambda_.SystemLogLevel.INFO,
            environment={
                "POWERTOOLS_SERVICE_NAME": SERVICE,
                "POWERTOOLS_METRICS_NAMESPACE": NAMESPACE,
                "TABLE_NAME": table.table_name,
                "TOPIC_ARN": notices.topic.topic_arn,
                **configuration.function_environment(),
            },
            # After 1 and 2 minutes: enough for what passes by itself, such as an AMI that EC2 does not show yet.
            retry_attempts=2,
            # Lambda's longest: where the account is out of concurrency for hours, an event late is better than none.
            max_event_age=Duration.hours(6),
            # The event and the error, kept for a person; the sweep does what the event did not lead to.
            on_failure=destinations.SqsDestination(self.failures),
        )
        acknowledge(
            self.function,
            {
                "AwsSolutions-L1": _RUNTIME,
                "Serverless-LambdaLatestVersion": _RUNTIME,
                "Serverless-LambdaDLQ": "The on-failure destination keeps the same event, and the error with it.",
                # cfn-lint
                "W3005": "The CDK names the role as a dependency although the function refers to it.",
            },
        )
        if not configuration.tracing:
            acknowledge(self.function, {"Serverless-LambdaTracing": _NOT_TRACED})

    def _bundled(self) -> lambda_.Code:
        folder, has_bytecode = bundle.build()
        if not has_bytecode:
            Annotations.of(self).add_warning_v2(
                "vm-image-import:bytecode",
                "No Python 3.13 was found, so the bundle has no bytecode: cold starts will be slower.",
            )
        return lambda_.Code.from_asset(str(folder))
