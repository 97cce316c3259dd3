"""The dead-letter queues."""

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from .acknowledgements import acknowledge


def dead_letter_queue(scope: Construct, id_: str) -> sqs.Queue:
    """Return an encrypted queue that keeps its messages for 14 days, the longest that SQS can."""
    queue = sqs.Queue(
        scope, id_, encryption=sqs.QueueEncryption.SQS_MANAGED, enforce_ssl=True, retention_period=Duration.days(14)
    )
    reason = "It is itself a dead-letter queue; nothing consumes it."
    acknowledge(queue, {"AwsSolutions-SQS3": reason, "Serverless-SQSRedrivePolicy": reason})
    return queue
