"""The function, its log group, and the dead-letter queue of the invocations that failed."""

from typing import Final, cast

from aws_cdk import Annotations, Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_logs as logs
from constructs import Construct

from . import bundle
from .acknowledgements import acknowledge
from .configuration import Configuration
from .dead_letter_queue import dead_letter_queue
from .metrics import NAMESPACE, service_of
from .notifications import Notifications
from .role import function_role

_RUNTIME: Final = "A supported runtime. The bundle has bytecode for it, and the tests run on it."

_NOT_TRACED: Final = "Off by default; the log is enough to follow an import."


class ImportFunction(Construct):
    """The function that registers imports. It can be invoked manually; `Triggers` invoke it automatically."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        configuration: Configuration,
        table: dynamodb.ITable,
        notifications: Notifications,
        code: lambda_.Code | None = None,
    ) -> None:
        """Create it. What encrypts `table`, unless AWS's own key, encrypts log and queue, too.

        `code` replaces the bundle, for tests.
        """
        super().__init__(scope, id_)
        key = table.encryption_key
        self.dead_letter_queue = dead_letter_queue(self, "FunctionDlq", key=key)
        # The images themselves show what was registered, so the log need not outlive the stack.
        self.log_group = logs.LogGroup(self, "Logs", encryption_key=key, removal_policy=RemovalPolicy.DESTROY)
        # The L2 construct takes an enum of days; the resource takes the number.
        cast("logs.CfnLogGroup", self.log_group.node.default_child).retention_in_days = configuration.log_retention_days
        role = function_role(
            self,
            log_group=self.log_group,
            dead_letter_queue=self.dead_letter_queue,
            table=table,
            notifications=notifications,
            configuration=configuration,
        )
        self.function = lambda_.Function(
            self,
            "Function",
            description="Registers imported VMs as base images in EC2 Image Builder",
            code=code or self._bundled(),
            handler="vm_image_import.handler.handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.custom(configuration.architecture),
            # An invocation needs less than 100 MB, but its share of the CPU grows with the memory.
            memory_size=256,
            # A sweep over a thousand new imports takes minutes. It stops in time, and the next one continues.
            timeout=Duration.minutes(5),
            reserved_concurrent_executions=configuration.reserved_concurrency,
            role=role.without_policy_updates(),
            log_group=self.log_group,
            # Lambda's own segments. The X-Ray SDK, which adds the calls, slows every start, and its support ends in
            # 2027 (developer guide of X-Ray, "X-Ray SDK and daemon end of support timeline").
            tracing=lambda_.Tracing.ACTIVE if configuration.tracing else lambda_.Tracing.DISABLED,
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            system_log_level_v2=lambda_.SystemLogLevel.INFO,
            environment={
                "POWERTOOLS_SERVICE_NAME": service_of(self),
                "POWERTOOLS_METRICS_NAMESPACE": NAMESPACE,
                "TABLE_NAME": table.table_name,
                "TOPIC_ARN": notifications.topic.topic_arn,
                **configuration.function_environment(),
            },
            # After 1 and 2 minutes: enough for transient errors, such as an AMI that EC2 does not show yet.
            retry_attempts=2,
            # Lambda's longest (API reference, `PutFunctionEventInvokeConfig`): where the account has no concurrency for
            # hours, events are late and not lost.
            max_event_age=Duration.hours(6),
            # It gets the event and the error. The sweep does the work of the event.
            on_failure=destinations.SqsDestination(self.dead_letter_queue),
        )
        acknowledge(
            self.function,
            {
                "AwsSolutions-L1": _RUNTIME,
                "Serverless-LambdaLatestVersion": _RUNTIME,
                "Serverless-LambdaDLQ": "The on-failure destination gets the same event, and the error with it.",
                # cfn-lint
                "W3005": "The CDK adds the role as a dependency although the function refers to it.",
            },
        )
        if configuration.parameter_prefix and not f"{configuration.parameter_prefix}/".startswith("/imagebuilder/"):
            Annotations.of(self).add_warning_v2(
                "vm-image-import:parameter-prefix",
                "parameterPrefix is outside of /imagebuilder/: recipes whose parent image is such a parameter need a"
                " role of yours that may read it, because Image Builder's own roles may not.",
            )
        if not configuration.tracing:
            acknowledge(self.function, {"Serverless-LambdaTracing": _NOT_TRACED})

    def _bundled(self) -> lambda_.Code:
        folder, has_bytecode = bundle.build()
        if not has_bytecode:
            Annotations.of(self).add_warning_v2(
                "vm-image-import:bytecode",
                "No Python 3.13 was found, so the bundle has no bytecode: cold starts are slower.",
            )
        return lambda_.Code.from_asset(str(folder))
