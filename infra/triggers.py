"""What invokes the function by itself."""

import json
from collections.abc import Mapping
from typing import Final

from aws_cdk import Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.configuration import Configuration
from infra.evidence import evidence_queue

_EVENT_BRIDGE: Final = "events.amazonaws.com"
_AN_EVENT: Final = events.CfnRule.RetryPolicyProperty(
    # As long and as often as EventBridge can: an event costs nothing while it waits, and late is better than never.
    maximum_event_age_in_seconds=24 * 60 * 60,
    maximum_retry_attempts=185,
)
_A_SWEEP: Final = events.CfnRule.RetryPolicyProperty(
    # The next one does its work: after an outage a day's sweeps must not come at once.
    maximum_event_age_in_seconds=60,
    maximum_retry_attempts=2,
)


class Triggers(Construct):
    """The rules that invoke the function, on events and on schedule, and the queue of undelivered events."""

    def __init__(
        self, scope: Construct, id_: str, *, function: lambda_.IFunction, configuration: Configuration
    ) -> None:
        super().__init__(scope, id_)
        self._function = function
        self.undelivered = evidence_queue(self, "Undelivered")
        every = events.Schedule.rate(Duration.minutes(configuration.sweep_minutes)).expression_string
        rules = [
            self._rule(
                "AmiAvailable",
                "An AMI became available: an import may have made it",
                # The event carries neither name nor tags nor task, so the rule cannot tell imports from other AMIs.
                pattern={
                    "source": ["aws.ec2"],
                    "detail-type": ["EC2 AMI State Change"],
                    "detail": {"State": ["available"]},
                },
            ),
            self._rule(
                "ImageEnded",
                "An image became available or failed: it may be an imported one",
                pattern={
                    "source": ["aws.imagebuilder"],
                    "detail-type": ["EC2 Image Builder Image State Change"],
                    "detail": {"state": {"status": ["AVAILABLE", "FAILED", "CANCELLED"]}},
                },
            ),
            self._rule(
                "Sweep",
                "What no event has led to: every import that ended in the last 7 days is looked at",
                schedule=every,
                payload=json.dumps({"action": "sweep"}),
            ),
        ]
        self.undelivered.add_to_resource_policy(
            iam.PolicyStatement(
                sid="KeepUndelivered",
                principals=[iam.ServicePrincipal(_EVENT_BRIDGE)],
                actions=["sqs:SendMessage"],
                resources=[self.undelivered.queue_arn],
                conditions={
                    "StringEquals": {"aws:SourceAccount": Stack.of(self).account},
                    "ArnEquals": {"aws:SourceArn": [rule.attr_arn for rule in rules]},
                },
            )
        )

    def _rule(
        self,
        id_: str,
        description: str,
        *,
        pattern: Mapping[str, object] | None = None,
        schedule: str | None = None,
        payload: str | None = None,
    ) -> events.CfnRule:
        """Return a rule that may invoke the function.

        The class `Rule` would allow it, too, but whatever account the rule's ARN is of.
        """
        target = events.CfnRule.TargetProperty(
            id="Function",
            arn=self._function.function_arn,
            input=payload,
            dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=self.undelivered.queue_arn),
            retry_policy=_AN_EVENT if pattern else _A_SWEEP,
        )
        rule = events.CfnRule(
            self,
            id_,
            description=description,
            event_pattern=pattern,
            schedule_expression=schedule,
            targets=[target],
        )
        self._function.add_permission(
            id_,
            principal=iam.ServicePrincipal(_EVENT_BRIDGE),
            source_arn=rule.attr_arn,
            source_account=Stack.of(self).account,
        )
        return rule
