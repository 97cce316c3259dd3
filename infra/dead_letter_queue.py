"""The dead-letter queues."""

from aws_cdk import Duration
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from .acknowledgements import acknowledge


def dead_letter_queue(scope: Construct, id_: str, *, key: kms.IKey | None = None) -> sqs.Queue:
    """Return a queue that keeps its messages for 14 days, the longest that SQS can.

    It is encrypted with `key`, or else with a key of SQS.
    """
    queue = sqs.Queue(
        scope,
        id_,
        encryption=sqs.QueueEncryption.KMS if key else sqs.QueueEncryption.SQS_MANAGED,
        encryption_master_key=key,
        enforce_ssl=True,
        retention_period=Duration.days(14),
    )
    reason = "It is itself a dead-letter queue; nothing consumes it."
    acknowledge(queue, {"AwsSolutions-SQS3": reason, "Serverless-SQSRedrivePolicy": reason})
    return queue
