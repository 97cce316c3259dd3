"""The app deployed to the local AWS, and what the tests do with it."""

import json
import re
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.aws import functions, iam, image_builder, vm_import
from local.aws.functions import Invocation
from local.aws.local_aws import ACCOUNT, LocalAws
from tests.conftest import REGION, ROOT

STEPS = 12
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
"""The creation date of an AMI whose image an earlier deployment can have made."""
LOCKS = shutil.ignore_patterns("*.lock")
"""What the CDK command lines of other workers have in a cloud assembly while they read it."""
UBUNTU = {"platform": "Linux", "os": "Ubuntu 22.04.3 LTS - 5.15.0-97-generic"}


class Notifications:
    """The notifications that the deployed app publishes after this object is created."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        self._before = len(aws.published_messages())

    def about(self, identifier: str) -> list[tuple[str, str, str]]:
        """Return outcome, subject and e-mail text of the notifications with this identifier, oldest first."""
        return [
            (each.attributes["outcome"], each.subject, each.texts["email"])
            for each in self._aws.published_messages()[self._before :]
            if identifier in each.texts["email"]
        ]


@pytest.fixture(scope="module")
def aws(assembly: Path) -> Iterator[LocalAws]:
    """Give a local AWS with the app deployed to it."""
    with LocalAws() as aws:
        aws.deploy(assembly, "VmImageImport")
        yield aws


@pytest.fixture(scope="module")
def role(aws: LocalAws) -> str:
    """Give the ARN of the function's role."""
    name = physical_id(aws, "AWS::IAM::Role", "ImportRole")
    return str(aws.client("iam").get_role(RoleName=name)["Role"]["Arn"])


@pytest.fixture(scope="module")
def policy(role: str) -> list[dict[str, Any]]:
    """Give the statements of the deployed role."""
    return [dict(statement) for statement in iam.role_statements(role)]


@pytest.fixture
def notifications(aws: LocalAws) -> Notifications:
    """Give the notifications since the test began."""
    return Notifications(aws)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let a started process end with Ctrl-C, which whatever a shell starts in the background ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def physical_id(aws: LocalAws, resource_type: str, logical_id: str = "") -> str:
    """Return the physical id of the app's only resource of a type with `logical_id` in its logical id."""
    cloudformation = aws.client("cloudformation")
    (stack,) = (each for each in cloudformation.describe_stacks()["Stacks"] if each["StackName"] != "CDKToolkit")
    answer = cloudformation.describe_stack_resources(StackName=stack["StackName"])
    (found,) = (
        each["PhysicalResourceId"]
        for each in answer["StackResources"]
        if each["ResourceType"] == resource_type and logical_id in each["LogicalResourceId"]
    )
    return str(found)


def replace_policy(aws: LocalAws, role: str, statements: Sequence[Mapping[str, Any]]) -> None:
    """Replace the statements of the role's policy."""
    client, name = aws.client("iam"), role.rpartition("/")[2]
    (policy,) = client.list_role_policies(RoleName=name)["PolicyNames"]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    client.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=document)


def start_import(aws: LocalAws, key: str, disk: Mapping[str, str] = UBUNTU, **tags: str) -> str:
    """Start the import of one disk and return the task's id."""
    return aws.import_vm("exports", [key], disk, tags)


def finish_imports(aws: LocalAws) -> None:
    """Advance until every import and image has ended, with all events delivered."""
    for _ in range(STEPS):
        aws.advance()


def finish_imports_without_events(aws: LocalAws) -> None:
    """Advance until every import and image has ended, without an event delivered."""
    for _ in range(STEPS):
        vm_import.advance(ACCOUNT, aws.region)
        image_builder.advance(ACCOUNT, aws.region)


def invoke(aws: LocalAws, payload: object) -> dict[str, Any]:
    """Invoke the deployed function and return its answer, or its error in Lambda's format."""
    return aws.invoke(physical_id(aws, "AWS::Lambda::Function"), payload)


def builds(aws: LocalAws, name: str) -> list[dict[str, Any]]:
    """Return all builds of all versions of an image."""
    return [image for image in aws.images() if image["name"] == name]


def log_entries(task: str) -> list[dict[str, Any]]:
    """Return the log entries of the runs whose log has the task."""
    logs = [run.result.logs for run in functions.invocations() if task in run.result.logs]
    return [json.loads(line) for log in logs for line in log.splitlines()]


def metrics_of(logs: str) -> set[str]:
    """Return the names of the metrics in the log of a run."""
    entries = [json.loads(line) for line in logs.splitlines() if line.startswith('{"_aws"')]
    return {
        metric["Name"]
        for entry in entries
        for directive in entry["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]
    }


def empty_table(aws: LocalAws) -> None:
    """Delete all records."""
    dynamodb, table = aws.client("dynamodb"), physical_id(aws, "AWS::DynamoDB::Table")
    for item in dynamodb.scan(TableName=table)["Items"]:
        dynamodb.delete_item(TableName=table, Key={"id": item["id"]})


def age_records(aws: LocalAws, age: timedelta) -> None:
    """Let this much time pass since everything that the records name, and let every claim expire."""
    dynamodb, table = aws.client("dynamodb"), physical_id(aws, "AWS::DynamoDB::Table")
    for item in dynamodb.scan(TableName=table)["Items"]:
        if "claimed_until" in item:
            item["claimed_until"] = {"N": "0"}
        if "data" in item:
            times = re.compile(r"(?<=\")\d{4}-\d\d-\d\dT[^\"]+")
            aged = times.sub(lambda time: (datetime.fromisoformat(time[0]) - age).isoformat(), item["data"]["S"])
            item["data"] = {"S": aged}
        dynamodb.put_item(TableName=table, Item=item)


def queue_messages(aws: LocalAws, logical_id: str) -> list[dict[str, Any]]:
    """Receive and delete the messages of one of the stack's queues."""
    return aws.receive_messages(physical_id(aws, "AWS::SQS::Queue", logical_id))


def golden_event(name: str, **changes: object) -> dict[str, Any]:
    """Return a golden event with this account, this Region and `changes`."""
    event = json.loads((ROOT / "tests/events" / f"{name}.json").read_text(encoding="utf-8"))
    return {**event, "account": ACCOUNT, "region": REGION, **changes}


def event_run(identifier: str) -> Invocation:
    """Return the only run of an AMI event with this AMI or import task in its payload or log."""
    (run,) = (
        run
        for run in functions.invocations()
        if b"EC2 AMI State Change" in run.payload
        and (identifier in run.result.logs or identifier.encode() in run.payload)
    )
    return run


def answer_of(run: Invocation) -> dict[str, Any]:
    """Return the answer of a run."""
    answer: dict[str, Any] = json.loads(run.result.payload)
    return answer
