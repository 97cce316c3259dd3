"""The same registration and notification as usually written: boto3, and Powertools as its documentation shows it."""

import os
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

logger = Logger()
metrics = Metrics()
retries = Config(retries={"mode": "standard"}, connect_timeout=2, read_timeout=8)
ec2 = boto3.client("ec2", config=retries)
image_builder = boto3.client("imagebuilder", config=retries)
sns = boto3.client("sns", config=retries)
records = DynamoDBPersistenceLayer(os.environ["TABLE_NAME"], boto3_client=boto3.client("dynamodb", config=retries))
idempotency = IdempotencyConfig(expires_after_seconds=60 * 24 * 60 * 60)


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, str]:
    """Register the AMI of an event, if an import made it, and publish that the image is available."""
    idempotency.register_lambda_context(context)
    (image,) = ec2.describe_images(ImageIds=[event["detail"]["ImageId"]])["Images"]
    if not image["Name"].startswith("import-ami-"):
        return {"outcome": "IGNORED"}
    (task,) = ec2.describe_import_image_tasks(ImportTaskIds=[image["Name"]])["ImportImageTasks"]
    arn = register(task_id=image["Name"], task=task)
    metrics.add_metric("ImagesRegistered", MetricUnit.Count, 1)
    metrics.add_metric("EventAge", MetricUnit.Seconds, _age(event["time"]))
    logger.info("Registered", extra={"imageArn": arn})
    if image_builder.get_image(imageBuildVersionArn=arn)["image"]["state"]["status"] == "AVAILABLE":
        sns.publish(
            TopicArn=os.environ["TOPIC_ARN"],
            Subject=f"Image available: {arn.partition('/')[2]}",
            Message=f"Use it in a recipe as parentImage: {arn}",
            MessageAttributes={"outcome": {"DataType": "String", "StringValue": "IMAGE_AVAILABLE"}},
        )
    return {"outcome": "REGISTERED", "imageArn": arn}


@idempotent_function(data_keyword_argument="task_id", persistence_store=records, config=idempotency)  # type: ignore[untyped-decorator] # Powertools does not type it
def register(*, task_id: str, task: dict[str, Any]) -> str:
    """Register an import once."""
    key = task["SnapshotDetails"][0]["UserBucket"]["S3Key"]
    name, _, version = PurePosixPath(key).stem.rpartition("-")
    arn: str = image_builder.import_vm_image(
        name=name,
        semanticVersion=version,
        platform=task["Platform"],
        vmImportTaskId=task_id,
        clientToken=task_id,
        tags={tag["Key"]: tag["Value"] for tag in task["Tags"]},
    )["imageArn"]
    return arn


def _age(time: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()
