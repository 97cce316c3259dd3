"""Queues that keep what could not be done."""

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.checks import acknowledge


def evidence_queue(scope: Construct, id_: str) -> sqs.Queue:
    """Return an encrypted queue that keeps its messages for a person, as long as SQS can: 14 days."""
    queue = sqs.Queue(
        scope, id_, encryption=sqs.QueueEncryption.SQS_MANAGED, enforce_ssl=True, retention_period=Duration.days(14)
    )
    end = "It is itself where failures end; nothing consumes it."
    acknowledge(queue, {"AwsSolutions-SQS3": end, "Serverless-SQSRedrivePolicy": end})
    return queue
