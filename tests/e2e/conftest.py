"""The app deployed to the local AWS, and what its tests do with it."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local.aws import functions, image_builder, vm_import
from local.aws.functions import Invocation
from local.aws.local_aws import ACCOUNT, LocalAws
from tests.conftest import ROOT

STEPS = 12
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
"""When an AMI was made, so that an earlier deployment may have made its image."""
Notices = Callable[[str], list[tuple[str, str, str]]]
UBUNTU = {"platform": "Linux", "os": "Ubuntu 22.04.3 LTS - 5.15.0-97-generic"}


@pytest.fixture(scope="module")
def cloud(assembly: Path) -> Iterator[LocalAws]:
    """Give a local AWS with the app deployed to it."""
    with LocalAws() as cloud:
        cloud.deploy(assembly, "VmImageImport")
        cloud.client("s3").create_bucket(Bucket="exports")
        yield cloud


@pytest.fixture
def notices(cloud: LocalAws) -> Notices:
    """Give what was published about a task or an image since the test began: outcome, subject and text."""
    before = len(cloud.published())

    def published(about: str) -> list[tuple[str, str, str]]:
        return [
            (each.attributes["outcome"], each.subject, each.forms["email"])
            for each in cloud.published()[before:]
            if about in each.forms["email"]
        ]

    return published


def resource(cloud: LocalAws, kind: str, part: str = "") -> str:
    """Return the physical id of the one stack's resource of a kind, with `part` in its logical id."""
    cloudformation = cloud.client("cloudformation")
    (stack,) = cloudformation.describe_stacks()["Stacks"]
    answer = cloudformation.describe_stack_resources(StackName=stack["StackName"])
    (found,) = (
        each["PhysicalResourceId"]
        for each in answer["StackResources"]
        if each["ResourceType"] == kind and part in each["LogicalResourceId"]
    )
    return str(found)


def start_import(cloud: LocalAws, key: str, found: Mapping[str, str] = UBUNTU, **tags: str) -> str:
    """Upload an export and start its import; return the task's id."""
    cloud.client("s3").put_object(Bucket="exports", Key=key, Body=b"disk", Metadata=found)
    listed = [{"Key": name, "Value": value} for name, value in tags.items()]
    answer = cloud.client("ec2").import_image(
        DiskContainers=[{"UserBucket": {"S3Bucket": "exports", "S3Key": key}}],
        TagSpecifications=[{"ResourceType": "import-image-task", "Tags": listed}] if listed else [],
    )
    return str(answer["ImportTaskId"])


def let_time_pass(cloud: LocalAws) -> None:
    """Let every import and image come to its end."""
    for _ in range(STEPS):
        cloud.step()


def lose_events(cloud: LocalAws) -> None:
    """Let every import and image come to its end while EventBridge delivers nothing."""
    for _ in range(STEPS):
        vm_import.advance(ACCOUNT, cloud.region)
        image_builder.advance(ACCOUNT, cloud.region)


def invoke(cloud: LocalAws, payload: object) -> dict[str, Any]:
    """Invoke the function by hand and return its answer, or its error in Lambda's shape."""
    name = resource(cloud, "AWS::Lambda::Function")
    answer = cloud.client("lambda").invoke(FunctionName=name, Payload=json.dumps(payload))["Payload"].read()
    decoded: dict[str, Any] = json.loads(answer)
    return decoded


def builds(cloud: LocalAws, name: str) -> list[dict[str, Any]]:
    """Return all builds of all versions of an image."""
    image_builder = cloud.client("imagebuilder")
    versions = image_builder.list_images(filters=[{"name": "name", "values": [name]}])["imageVersionList"]
    return [
        image_builder.get_image(imageBuildVersionArn=build["arn"])["image"]
        for version in versions
        for build in image_builder.list_image_build_versions(imageVersionArn=version["arn"])["imageSummaryList"]
    ]


def logs_of(task: str) -> list[dict[str, Any]]:
    """Return the log entries of the runs in which a task appears."""
    runs = [run.result.logs for run in functions.invocations() if task in run.result.logs]
    return [json.loads(line) for run in runs for line in run.splitlines()]


def metrics_of(logs: str) -> set[str]:
    """Return the names of the metrics that a run emitted."""
    entries = [json.loads(line) for line in logs.splitlines() if line.startswith('{"_aws"')]
    return {
        metric["Name"]
        for entry in entries
        for directive in entry["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]
    }


def messages(cloud: LocalAws, part: str) -> list[dict[str, Any]]:
    """Take the messages out of one of the stack's queues."""
    return cloud.take_messages(resource(cloud, "AWS::SQS::Queue", part))


def golden(name: str, **changes: object) -> dict[str, Any]:
    """Return a golden event as it would come in this account."""
    event = json.loads((ROOT / "tests/events" / f"{name}.json").read_text(encoding="utf-8"))
    return {**event, "account": ACCOUNT, "region": "us-east-1", **changes}


def event_run(about: str) -> Invocation:
    """Return the one run that an AMI event about a task or an AMI led to."""
    (run,) = (
        run
        for run in functions.invocations()
        if b"EC2 AMI State Change" in run.payload and (about in run.result.logs or about.encode() in run.payload)
    )
    return run


def answer_of(run: Invocation) -> dict[str, Any]:
    """Return the answer of a run."""
    answer: dict[str, Any] = json.loads(run.result.payload)
    return answer
