"""What invokes the function by itself."""

from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.evidence import evidence_queue


class Triggers(Construct):
    """The rule that tells the function of every AMI that becomes available, and the queue of undelivered events."""

    def __init__(self, scope: Construct, id_: str, *, function: lambda_.IFunction) -> None:
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
