"""What invokes the function: two rules for events, and a schedule."""

from collections.abc import Mapping
from typing import Any

from aws_cdk import Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from .configuration import Configuration
from .dead_letter_queue import dead_letter_queue


class Triggers(Construct):
    """The rules that invoke the function, and the dead-letter queue of the events that do not reach it."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        function: lambda_.IFunction,
        configuration: Configuration,
        key: kms.IKey | None = None,
    ) -> None:
        """Create them. `key` encrypts the queue."""
        super().__init__(scope, id_)
        self._function = function
        self.event_dlq = dead_letter_queue(self, "EventDlq", key=key)
        # The event has neither name nor tags nor task, so a rule cannot select the AMIs of imports.
        self._on_event(
            "AmiAvailable",
            "An AMI became available: it may be the AMI of an import",
            source="aws.ec2",
            detail_type="EC2 AMI State Change",
            detail={"State": ["available"]},
        )
        self._on_event(
            "ImageStateChanged",
            "An image became available or failed: it may be the image of an import",
            source="aws.imagebuilder",
            detail_type="EC2 Image Builder Image State Change",
            detail={"state": {"status": ["AVAILABLE", "FAILED", "CANCELLED"]}},
        )
        events.Rule(
            self,
            "Sweep",
            description="Processes every import that is active or ended in the last 7 days and that no event led to",
            schedule=events.Schedule.rate(Duration.minutes(configuration.sweep_minutes)),
            targets=[
                targets.LambdaFunction(
                    function,
                    event=events.RuleTargetInput.from_object({"action": "sweep"}),
                    dead_letter_queue=self.event_dlq,
                    # The next sweep does its work: after an outage, a day's sweeps must not arrive at once.
                    max_event_age=Duration.minutes(1),
                    retry_attempts=2,
                )
            ],
        )

    def _on_event(
        self, id_: str, description: str, *, source: str, detail_type: str, detail: Mapping[str, Any]
    ) -> None:
        stack = Stack.of(self)
        events.Rule(
            self,
            id_,
            description=description,
            event_pattern=events.EventPattern(
                # Events that another account or Region forwards to this bus keep their source.
                account=[stack.account],
                region=[stack.region],
                source=[source],
                detail_type=[detail_type],
                detail=detail,
            ),
            targets=[
                targets.LambdaFunction(
                    self._function,
                    dead_letter_queue=self.event_dlq,
                    # EventBridge's longest and most (API reference, `RetryPolicy`).
                    max_event_age=Duration.hours(24),
                    retry_attempts=185,
                )
            ],
        )
