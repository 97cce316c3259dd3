"""Alarms, a dashboard, and saved queries of the log."""

from typing import Final, cast

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from .configuration import Configuration
from .function import ImportFunction
from .metrics import metric
from .notifications import Notifications

_FAILED: Final = logs.QueryString(
    fields=[
        "@timestamp",
        "importTaskId",
        # Of the function's own log line, of the runtime where the function cannot start, and of Lambda's report.
        "coalesce(outcome, exception_name, errorType, record.status, message) as what",
        "coalesce(reason, exception, errorMessage, record.requestId) as why",
    ],
    filter_statements=['level in ["WARNING", "ERROR"] or record.status in ["error", "failure", "timeout"]'],
    sort="@timestamp desc",
    limit=50,
)
_QUERIES: Final = {
    "What failed and why": _FAILED,
    "What was registered": logs.QueryString(
        fields=["@timestamp", "importTaskId", "imageArn"],
        filter_statements=['outcome = "REGISTERED"'],
        sort="@timestamp desc",
        limit=100,
    ),
    "One import": logs.QueryString(
        fields=[
            "@timestamp",
            "level",
            "message",
            "outcome",
            "reason",
            "sources.name",
            "sources.semanticVersion",
            "exception",
        ],
        filter_statements=['importTaskId = "import-ami-WRITE-ITS-ID-HERE"'],
        sort="@timestamp asc",
        limit=1000,
    ),
}
"""By the names that Logs Insights shows. docs/operations.md lists the fields."""

_MIN_WARM_UP: Final = 30
"""Minutes. CloudFormation may create the rule of the sweeps some minutes after the alarm."""
_MAX_WARM_UP: Final = 2880
"""Minutes of an alarm's warm-up (API reference, CloudWatch `WarmUpConfiguration`)."""

_FAILURES: Final = (
    *("ImportsFailed", "ImportsHanging", "ImportsRejected", "ImagesFailed", "ImagesNotFound", "FollowUpsFailed"),
    "SweepProblems",
)

_GB_SECOND: Final = {"arm64": "0.0000133334", "x86_64": "0.0000166667"}
_COST: Final = (
    # Of 256 MB: the GB-second and the request.
    "FILL(ms, 0) / 1000 * 0.25 * {gb_second} + FILL(runs, 0) * 0.0000002"
    # Request units on demand, and a GB of the log.
    " + FILL(written, 0) * 0.000000625 + FILL(read, 0) * 0.000000125 + FILL(logged, 0) / 1000000000 * 0.5"
)
"""In USD, at the list prices of us-east-1 in November 2026."""
_FIXED_COST: Final = (
    "At the list prices of us-east-1, without the time that cold starts are billed. In addition, each month and without"
    " free tier: 1 USD for the topic's key if the stack made it, 0.60 for the alarms, 3 for this dashboard, 0.30 for"
    " each of the function's metrics, for the hours in which it has a value."
)


class Observability(Construct):
    """Alarms that say what to do, a dashboard, and saved queries of the log."""

    def __init__(  # noqa: PLR0913 - each is something to watch
        self,
        scope: Construct,
        id_: str,
        *,
        configuration: Configuration,
        imports: ImportFunction,
        table: dynamodb.ITable,
        event_dlq: sqs.IQueue,
        notifications: Notifications,
    ) -> None:
        """Create it. `event_dlq` is the queue of the events that did not reach the function."""
        super().__init__(scope, id_)
        self._period = Duration.minutes(5)
        self._every = Duration.minutes(configuration.sweep_minutes)
        self._alarms = self._add_alarms(imports, event_dlq) if configuration.alarms else []
        for alarm in self._alarms:
            alarm.add_alarm_action(actions.SnsAction(notifications.topic))
            alarm.add_ok_action(actions.SnsAction(notifications.topic))
        if self._alarms:
            notifications.allow_alarms(self._alarms)
        self.dashboard = self._add_dashboard(imports, table, configuration) if configuration.dashboard else None
        for name, query in _QUERIES.items():
            logs.QueryDefinition(
                self,
                name.title().replace(" ", ""),
                query_definition_name=f"{Stack.of(self).stack_name}/{name}",
                query_string=query,
                log_groups=[imports.log_group],
            )

    def _add_alarms(self, imports: ImportFunction, event_dlq: sqs.IQueue) -> list[cloudwatch.Alarm]:
        function = imports.function
        return [
            self._alarm(
                "EventsNotDelivered",
                event_dlq.metric_approximate_number_of_messages_visible(period=self._period, statistic="Maximum"),
                "EventBridge could not invoke the function. Read the attribute ERROR_CODE of the messages in EventDlq"
                " and fix the cause. The next sweep does the work of these events. Then purge the queue.",
            ),
            self._alarm(
                "InvocationsFailed",
                imports.dead_letter_queue.metric_approximate_number_of_messages_visible(
                    period=self._period, statistic="Maximum"
                ),
                "Invocations failed three times, or waited for more than 6 hours. Read requestContext.condition and"
                " responsePayload.errorMessage of the messages in FunctionDlq and fix the cause. The next sweep does"
                " the work of these events. Then purge the queue.",
            ),
            self._alarm(
                "FunctionErrors",
                function.metric_errors(period=Duration.minutes(15)),
                "The function failed three times in 15 minutes. Run the saved query 'What failed and why' and fix the"
                " cause. The next sweep does what was left undone.",
                # As many as one event has attempts: an error that the first retry resolves is no alarm.
                threshold=3,
            ),
            self._alarm(
                "FunctionThrottles",
                function.metric_throttles(period=self._period),
                "The function has been throttled for 15 minutes. Lambda retries for 6 hours. Raise the account's"
                " concurrency, or reservedConcurrency in the configuration.",
                # A short burst of events is throttled and retried without an effect.
                periods=3,
            ),
            self._sweeps_missing(),
            self._alarm(
                "SweepProblems",
                metric(self, "SweepProblems", period=self._every),
                "A sweep could not process some import tasks, or the superseded images of the retention; it processed"
                " the others. Run the saved query 'What failed and why', or invoke the function with the payload of a"
                " sweep and read `problems`. Fix the cause. The next sweep tries again.",
                # A transient error is gone with the next sweep.
                periods=2,
            ),
        ]

    def _sweeps_missing(self) -> cloudwatch.Alarm:
        alarm = self._alarm(
            "SweepsMissing",
            metric(self, "SweepsCompleted", period=self._every),
            "No sweep processed all import tasks within three intervals: failed imports may not be reported, and"
            " imports without an event may not be registered. Run the saved query 'What failed and why' and fix the"
            " cause. If it shows nothing, check that the rule Sweep is enabled.",
            comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            periods=3,
            missing=cloudwatch.TreatMissingData.BREACHING,
        )
        # A new stack has no sweeps yet. The warm-up ends earlier, when there is data of all three intervals.
        minutes = min(max(3 * int(self._every.to_minutes()), _MIN_WARM_UP), _MAX_WARM_UP)
        resource = cast("cloudwatch.CfnAlarm", alarm.node.default_child)
        resource.warm_up_configuration = cloudwatch.CfnAlarm.WarmUpConfigurationProperty(
            warm_up_period_duration_in_minutes=minutes
        )
        return alarm

    def _alarm(  # noqa: PLR0913 - what an alarm is made of
        self,
        id_: str,
        metric: cloudwatch.IMetric,
        description: str,
        *,
        threshold: int = 1,
        periods: int = 1,
        comparison: cloudwatch.ComparisonOperator = (cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD),
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> cloudwatch.Alarm:
        return cloudwatch.Alarm(
            self,
            id_,
            metric=metric,
            alarm_description=description,
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=comparison,
            treat_missing_data=missing,
        )

    def _add_dashboard(
        self, imports: ImportFunction, table: dynamodb.ITable, configuration: Configuration
    ) -> cloudwatch.Dashboard:
        function, hour, day = imports.function, Duration.hours(1), Duration.days(1)
        done = ["ImagesRegistered", "ImagesAvailable"]
        if configuration.tag_amis:
            done.append("AmisTagged")
        if configuration.parameter_prefix:
            done.append("ParametersWritten")
        cost = cloudwatch.MathExpression(
            label="USD a day",
            expression=_COST.format(gb_second=_GB_SECOND[configuration.architecture]),
            period=day,
            using_metrics={
                "ms": function.metric_duration(statistic="Sum"),
                "runs": function.metric_invocations(),
                "written": table.metric_consumed_write_capacity_units(),
                "read": table.metric_consumed_read_capacity_units(),
                # Without the dimension the metric is that of all log groups of the account.
                "logged": imports.log_group.metric_incoming_bytes(
                    statistic="Sum", dimensions_map={"LogGroupName": imports.log_group.log_group_name}
                ),
            },
        )
        rows: list[list[cloudwatch.IWidget]] = [
            [
                *(
                    [cloudwatch.AlarmStatusWidget(title="Alarms", alarms=[*self._alarms], width=12, height=6)]
                    if self._alarms
                    else []
                ),
                _graph(
                    "Invocations and sweeps",
                    metric(self, "SweepsCompleted", period=hour),
                    *(
                        of_function(period=hour)
                        for of_function in (
                            function.metric_invocations,
                            function.metric_errors,
                            function.metric_throttles,
                        )
                    ),
                ),
            ],
            [_graph("Registered images", *(metric(self, name, period=hour) for name in done), width=24)],
            [
                _graph("Failures", *(metric(self, name, period=hour) for name in _FAILURES)),
                cloudwatch.LogQueryWidget(
                    title="What failed and why",
                    log_group_names=[imports.log_group.log_group_name],
                    query_string=_FAILED.to_string(),
                    width=12,
                    height=6,
                ),
            ],
            [
                _graph(
                    "Age of the events at registration",
                    *(
                        metric(self, "EventAge", period=hour, statistic=statistic)
                        for statistic in ("p50", "p95", "Maximum")
                    ),
                    width=24,
                )
            ],
            [
                _graph("Cost", cost, width=12),
                cloudwatch.TextWidget(markdown=_FIXED_COST, width=12, height=6),
            ],
        ]
        return cloudwatch.Dashboard(self, "Dashboard", default_interval=Duration.days(7), widgets=rows)


def _graph(title: str, *metrics: cloudwatch.IMetric, width: int = 12) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=[*metrics], width=width, height=6)
