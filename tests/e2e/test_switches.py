"""The journeys of imports with each switch of the local AWS, with the deployed template and the bundled artefact."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.aws import functions
from local.aws.local_aws import LocalAws
from local.aws.switches import NAMES, Switches
from tests.conftest import PARAMETERS, REGION
from tests.e2e.conftest import (
    Notifications,
    answer_of,
    builds,
    empty_table,
    finish_imports,
    finish_imports_without_events,
    invoke,
    physical_id,
    start_import,
)

TOGETHER = {"active_task_names_ami": {"ami_comes_first": True}}
"""What a switch needs, too."""
pytestmark = pytest.mark.acceptance

SWEEPS = 3
"""After which everything that can be done is done."""
TIMEOUT = 200
"""Seconds: more than a sweep keeps free for its last calls."""


@pytest.fixture(scope="module", params=NAMES)
def aws(configured_assembly: Path, request: pytest.FixtureRequest) -> Iterator[LocalAws]:
    """Give a local AWS with one switch, and the app deployed to it with `increment`, tags and parameters."""
    switched = Switches(**{request.param: True}, **TOGETHER.get(request.param, {}))
    with LocalAws(switched=switched) as aws:
        aws.deploy(configured_assembly, f"VmImageImport-{REGION}")
        # A sweep that does not end is seen sooner.
        function = physical_id(aws, "AWS::Lambda::Function")
        aws.client("lambda").update_function_configuration(FunctionName=function, Timeout=TIMEOUT)
        yield aws


def sweep(aws: LocalAws) -> None:
    """Let the schedule fire several times, with time to pass in between; every run succeeds, every sweep ends."""
    for _ in range(SWEEPS):
        before = len(functions.invocations())
        aws.fire_schedules()
        finish_imports(aws)
        runs = functions.invocations()[before:]
        assert not [run.result.payload for run in runs if run.result.error]
        # A sweep that ran out of time says so.
        assert not [answer for answer in map(answer_of, runs) if answer["outcome"] == "SWEPT" and "reason" in answer]


def only_image(aws: LocalAws, name: str, task: str) -> dict[str, Any]:
    """Return the only image of a name; it is AVAILABLE with the task's AMI, which is tagged and in the parameter."""
    (image,) = builds(aws, name)
    assert image["state"]["status"] == "AVAILABLE"
    assert image["tags"]["vm-image-import:task-id"] == task
    (described,) = aws.client("ec2").describe_import_image_tasks(ImportTaskIds=[task])["ImportImageTasks"]
    (ami,) = image["outputResources"]["amis"]
    assert ami["image"] == described["ImageId"]
    tags = aws.client("ec2").describe_tags(Filters=[{"Name": "resource-id", "Values": [ami["image"]]}])["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags}["vm-image-import:task-id"] == task
    parameter = aws.client("ssm").get_parameter(Name=f"{PARAMETERS}/{name}")["Parameter"]
    assert parameter["Value"] == ami["image"]
    return image


@pytest.mark.parametrize(
    ("name", "finish"),
    [("web", finish_imports), ("lost", finish_imports_without_events)],
    ids=["events", "events are lost"],
)
def test_an_import_becomes_an_image(
    aws: LocalAws, notifications: Notifications, name: str, finish: Callable[[LocalAws], object]
) -> None:
    """An import becomes one image with a tagged AMI, a parameter and one notification, by events or by sweeps alone."""
    task = start_import(aws, f"exports/{name}-1.4.2.ova")
    finish(aws)
    sweep(aws)
    assert only_image(aws, name, task)["version"] == "1.4.2/1"
    assert [outcome for outcome, *_ in notifications.about(task)].count("IMAGE_AVAILABLE") == 1


def test_a_failed_import(aws: LocalAws, notifications: Notifications) -> None:
    """A failed import is reported once, and a manual invocation answers why it failed."""
    message = "ClientError: Unsupported kernel version 4.15.0-1021-aws"
    task = start_import(aws, "exports/failed-1.4.2.ova", {"status-message": message})
    finish_imports(aws)
    sweep(aws)
    assert [outcome for outcome, *_ in notifications.about(task)] == ["IMPORT_FAILED"]
    assert invoke(aws, {"importTaskId": task}) == {"outcome": "IMPORT_FAILED", "importTaskId": task, "reason": message}
    assert not builds(aws, "failed")


def test_a_manual_registration(aws: LocalAws) -> None:
    """A manual invocation registers an import with the name and version of the payload, and a second one does not."""
    task = start_import(aws, "exports/disk0-manual.vmdk")
    finish_imports_without_events(aws)
    payload = {"importTaskId": task, "name": "manual", "semanticVersion": "3.1.0"}
    assert invoke(aws, payload)["outcome"] == "REGISTERED"
    assert invoke(aws, payload)["outcome"] == "ALREADY_REGISTERED"
    finish_imports(aws)
    sweep(aws)
    assert only_image(aws, "manual", task)["version"] == "3.1.0/1"


def test_a_redeployment(aws: LocalAws) -> None:
    """A deployment without records keeps the images of the one before, and makes no other image of their imports."""
    task = start_import(aws, "exports/kept.ova")
    finish_imports(aws)
    sweep(aws)
    before = only_image(aws, "kept", task)
    empty_table(aws)
    sweep(aws)
    assert only_image(aws, "kept", task) == before
    assert invoke(aws, {"importTaskId": task})["outcome"] == "ALREADY_REGISTERED"


def test_an_unknown_task(aws: LocalAws) -> None:
    """A manual invocation for a task that EC2 does not list is NOT_FOUND."""
    assert invoke(aws, {"importTaskId": "import-ami-0123456789abcdef0"})["outcome"] == "NOT_FOUND"


def test_increment(aws: LocalAws) -> None:
    """Two imports of a name that state no version have the first version and the next one."""
    tasks = []
    for _ in range(2):
        tasks.append(start_import(aws, "exports/counted.ova"))
        finish_imports(aws)
        sweep(aws)
    versions = {image["tags"]["vm-image-import:task-id"]: image["version"] for image in builds(aws, "counted")}
    assert versions == {tasks[0]: "1.0.0/1", tasks[1]: "1.0.1/1"}
