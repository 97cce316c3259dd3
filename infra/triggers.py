"""What invokes the function by itself."""

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.configuration import Configuration
from infra.evidence import evidence_queue


class Triggers(Construct):
    """The rules that invoke the function, on events and on schedule, and the queue of undelivered events."""

    def __init__(
        self, scope: Construct, id_: str, *, function: lambda_.IFunction, configuration: Configuration
    ) -> None:
        super().__init__(scope, id_)
        self.undelivered = evidence_queue(self, "Undelivered")
        events.Rule(
            self,
            "AmiAvailable",
            description="An AMI became available: an import may have made it",
            # The event carries neither name nor tags nor task, so the rule cannot tell imports from other AMIs.
            event_pattern=events.EventPattern(
                source=["aws.ec2"], detail_type=["EC2 AMI State Change"], detail={"State": ["available"]}
            ),
            targets=[targets.LambdaFunction(function, dead_letter_queue=self.undelivered)],
        )
        events.Rule(
            self,
            "ImageEnded",
            description="An image became available or failed: it may be an imported one",
            event_pattern=events.EventPattern(
                source=["aws.imagebuilder"],
                detail_type=["EC2 Image Builder Image State Change"],
                detail={"state": {"status": ["AVAILABLE", "FAILED", "CANCELLED"]}},
            ),
            targets=[targets.LambdaFunction(function, dead_letter_queue=self.undelivered)],
        )
        events.Rule(
            self,
            "Sweep",
            description="What no event has led to: every import that ended in the last 7 days is looked at",
            schedule=events.Schedule.rate(Duration.minutes(configuration.sweep_minutes)),
            targets=[
                targets.LambdaFunction(
                    function,
                    event=events.RuleTargetInput.from_object({"action": "sweep"}),
                    dead_letter_queue=self.undelivered,
                )
            ],
        )
