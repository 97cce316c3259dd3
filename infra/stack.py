"""The stack: the function and what invokes it."""

from aws_cdk import CfnOutput, Environment, Stack
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.configuration import CONTEXT_KEY, Configuration
from infra.function import ImportFunction
from infra.idempotency_table import IdempotencyTable
from infra.notifications import Notifications
from infra.observability import Observability
from infra.triggers import Triggers


class VmImageImport(Construct):
    """Registers every VM import of its account and Region with Image Builder. It can be used in any stack."""

    def __init__(
        self, scope: Construct, id_: str, *, configuration: Configuration, code: lambda_.Code | None = None
    ) -> None:
        """Create it. `code` replaces the bundle, for tests."""
        super().__init__(scope, id_)
        table = IdempotencyTable(self, "Idempotency").table
        notifications = Notifications(self, "Notifications", configuration=configuration)
        self.topic = notifications.topic
        imports = ImportFunction(
            self, "Import", configuration=configuration, table=table, notifications=notifications, code=code
        )
        self.function = imports.function
        triggers = Triggers(self, "Triggers", function=self.function, configuration=configuration)
        self.dashboard = Observability(
            self,
            "Observability",
            configuration=configuration,
            imports=imports,
            table=table,
            event_dlq=triggers.event_dlq,
            notifications=notifications,
        ).dashboard


class VmImageImportStack(Stack):
    """One deployment."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        configuration: Configuration | None = None,
        env: Environment | None = None,
        code: lambda_.Code | None = None,
    ) -> None:
        """Create it. Without `configuration`, the context of the app is read; it may raise ConfigurationError."""
        super().__init__(scope, id_, env=env, description="Registers imported VMs as base images in EC2 Image Builder")
        configuration = configuration or Configuration.from_context(self.node.try_get_context(CONTEXT_KEY))
        system = VmImageImport(self, "VmImageImport", configuration=configuration, code=code)
        CfnOutput(self, "FunctionName", value=system.function.function_name, description="To invoke it manually")
        if system.dashboard:
            CfnOutput(self, "DashboardName", value=system.dashboard.dashboard_name, description="To watch it")
        CfnOutput(self, "TopicArn", value=system.topic.topic_arn, description="To subscribe to the notifications")
