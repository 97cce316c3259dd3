"""The stack, and the construct for other stacks: the function and what invokes it."""

from typing import Any, Final

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from constructs import Construct

from .configuration import Configuration
from .function import ImportFunction
from .idempotency_table import IdempotencyTable
from .key import configured_key
from .metrics import Metrics
from .notifications import Notifications
from .observability import Observability
from .retention import Retention
from .triggers import Triggers

_DEFAULTS: Final = Configuration()


class VmImageImport(Metrics):
    """Registers every VM import of its account and Region with Image Builder.

    `function`, `topic` and `table` are its resources, and `dashboard`, which is None where none is configured.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        configuration: Configuration = _DEFAULTS,
        topic: sns.ITopic | None = None,
        key: kms.IKey | None = None,
        code: lambda_.Code | None = None,
    ) -> None:
        """Create it. A `topic`, or a `key` for a new topic, is taken where it is given; their policies are not changed.

        `code` replaces the bundle, for tests. Raises ConfigurationError where `configuration` has an e-mail address for
        a given topic, or a key of another Region or account.
        """
        super().__init__(scope, id_)
        for_all = configured_key(self, configuration)
        self.table = IdempotencyTable(self, "Idempotency", key=for_all).table
        notifications = Notifications(
            self, "Notifications", configuration=configuration, topic=topic, key=key, new_topic_key=for_all
        )
        self.topic = notifications.topic
        imports = ImportFunction(
            self,
            "Import",
            configuration=configuration,
            table=self.table,
            notifications=notifications,
            code=code,
        )
        self.function = imports.function
        if configuration.delete_after_days:
            Retention(self, "Retention", configuration=configuration)
        triggers = Triggers(self, "Triggers", function=self.function, configuration=configuration, key=for_all)
        self.dashboard = Observability(
            self,
            "Observability",
            configuration=configuration,
            imports=imports,
            table=self.table,
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
        configuration: Configuration = _DEFAULTS,
        code: lambda_.Code | None = None,
        **props: Any,  # noqa: ANN401 - what every Stack takes
    ) -> None:
        """Create it. `code` replaces the bundle, for tests."""
        super().__init__(
            scope, id_, **{"description": "Registers imported VMs as base images in EC2 Image Builder", **props}
        )
        system = VmImageImport(self, "VmImageImport", configuration=configuration, code=code)
        CfnOutput(self, "FunctionName", value=system.function.function_name, description="To invoke it manually")
        if system.dashboard:
            CfnOutput(self, "DashboardName", value=system.dashboard.dashboard_name, description="To watch it")
        CfnOutput(self, "TopicArn", value=system.topic.topic_arn, description="To subscribe to the notifications")
