"""Each switch of the local AWS changes the one answer that it names."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws import image_builder, vm_import
from local.aws.switches import NAMES
from tests.conftest import ACCOUNT, REGION, Switch, client

ARN = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image/web"
UNKNOWN = "import-ami-0123456789abcdef0"
STEPS = 8
"""Of an import."""
TOKEN_STEPS = 15


class Aws:
    """The local AWS of a test, in which time passes in steps."""

    def __init__(self) -> None:
        self.events: list[str] = []
        """The detail types of all events."""
        client("s3").create_bucket(Bucket="exports")
        client("s3").put_object(Bucket="exports", Key="web.ova", Body=b"disk", Metadata={"platform": "Linux"})

    def step(self, times: int = 1) -> None:
        """Let steps pass."""
        for _ in range(times):
            for service in (vm_import, image_builder):
                self.events += [str(event["detail-type"]) for event in service.advance(ACCOUNT, REGION)]

    def start(self, key: str = "web.ova") -> str:
        """Start an import and return the task's id."""
        disk = {"Format": "ova", "UserBucket": {"S3Bucket": "exports", "S3Key": key}}
        return str(client("ec2").import_image(DiskContainers=[disk])["ImportTaskId"])

    def completed(self) -> str:
        """Return the id of a completed task."""
        task = self.start()
        self.step(STEPS)
        return task

    def task(self, task: str) -> dict[str, Any]:
        """Describe a task."""
        (found,) = client("ec2").describe_import_image_tasks(ImportTaskIds=[task])["ImportImageTasks"]
        return dict(found)

    def register(self, task: str, client_token: str | None = None, **tags: str) -> str:
        """Register an image and return its ARN."""
        request = {"name": "web", "semanticVersion": "1.0.0", "platform": "Linux", "vmImportTaskId": task}
        tagged = {"tags": tags} if tags else {}
        answer = client("imagebuilder").import_vm_image(**request, clientToken=client_token or "once", **tagged)
        return str(answer["imageArn"])

    def image(self, arn: str) -> dict[str, Any]:
        """Describe an image."""
        return dict(client("imagebuilder").get_image(imageBuildVersionArn=arn)["image"])


def code_of(call: Callable[[], object]) -> str:
    """Return the code of the error that a call raises, "" if it raises none."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def no_ami_event(aws: Aws) -> object:
    """Return the events of an import."""
    aws.completed()
    return aws.events


def ami_comes_first(aws: Aws) -> object:
    """Return the status of the task at the AMI's event, and its AMI."""
    task = aws.start()
    while not aws.events:
        aws.step()
    found = aws.task(task)
    return found["Status"], "ImageId" in found


def active_task_names_ami(aws: Aws) -> object:
    """Return the same for a task whose AMI comes first."""
    return ami_comes_first(aws)


def ami_has_another_name(aws: Aws) -> object:
    """Return whether the AMI is named like its task."""
    task = aws.completed()
    (image,) = client("ec2").describe_images(Owners=["self"])["Images"]
    return image["Name"] == task


def unknown_task_is_missing(_: Aws) -> object:
    """Return the error for an unknown task."""
    return code_of(lambda: client("ec2").describe_import_image_tasks(ImportTaskIds=[UNKNOWN]))


def task_state_takes_one_value(_: Aws) -> object:
    """Return the errors for one state, and for two."""

    def listed(*states: str) -> str:
        filters = [{"Name": "task-state", "Values": [*states]}]
        return code_of(lambda: client("ec2").describe_import_image_tasks(Filters=filters))

    return listed("completed"), listed("completed", "deleted")


def next_token_is_empty(aws: Aws) -> object:
    """Return the token of the first page of two, and of the last one."""
    for _ in range(2):
        aws.start()
    ec2 = client("ec2")
    first = ec2.describe_import_image_tasks(MaxResults=1)["NextToken"]
    return bool(first), ec2.describe_import_image_tasks(MaxResults=1, NextToken=first).get("NextToken")


def failed_task_fails_later(aws: Aws) -> object:
    """Return the error of a registration for an unknown and a failed task, or the states of their images."""
    failed = aws.start("missing.ova")
    aws.step(STEPS)
    codes = [code_of(lambda task=task: aws.register(task, task)) for task in (UNKNOWN, failed)]  # type: ignore[misc]
    aws.step()
    builds = client("imagebuilder").list_image_build_versions()["imageSummaryList"]
    return [*filter(None, codes), *(build["state"]["status"] for build in builds)]


def second_import_is_refused(aws: Aws) -> object:
    """Return the errors of two registrations of a task."""
    task = aws.completed()
    return [code_of(lambda token=token: aws.register(task, token)) for token in ("first", "second")]  # type: ignore[misc]


def client_token_is_forgotten(aws: Aws) -> object:
    """Return the builds of a token that is used again at once, after 14 steps, and after another one."""
    task = aws.completed()
    builds = [aws.register(task)]
    for steps in (0, TOKEN_STEPS - 1, 1):
        aws.step(steps)
        builds.append(aws.register(task))
    return [build.rpartition("/")[2] for build in builds]


def pending_image_names_ami(aws: Aws) -> object:
    """Return the statuses of an image with the number of its AMIs, step by step."""
    task = aws.start()
    arn = aws.register(task)
    seen = []
    for _ in range(STEPS + 1):
        aws.step()
        image = aws.image(arn)
        seen.append((image["state"]["status"], len(image["outputResources"]["amis"])))
    return sorted(set(seen))


def image_is_importing(aws: Aws) -> object:
    """Return the status of a new image, and of the same image in the end."""
    arn = aws.register(aws.completed())
    first = aws.image(arn)["state"]["status"]
    aws.step()
    return first, aws.image(arn)["state"]["status"]


def no_image_event(aws: Aws) -> object:
    """Return the events of an image."""
    task = aws.completed()
    aws.events.clear()
    aws.register(task)
    aws.step()
    return aws.events


def image_tags_reach_ami(aws: Aws) -> object:
    """Return the tags of the AMI of an image with a tag."""
    task = aws.completed()
    aws.register(task, Team="web")
    aws.step()
    (image,) = client("ec2").describe_images(ImageIds=[aws.task(task)["ImageId"]])["Images"]
    return image.get("Tags", [])


def no_version_is_invalid(aws: Aws) -> object:
    """Return the errors for x.x.x without an AVAILABLE version and for an unknown build; then whether it is found."""
    task = aws.completed()
    arn = aws.register(task)
    found = [code_of(lambda wanted=wanted: aws.image(wanted)) for wanted in (f"{ARN}/x.x.x", f"{ARN}/1.0.0/2")]  # type: ignore[misc]
    aws.step()
    return [*found, aws.image(f"{ARN}/x.x.x")["arn"] == arn]


AMI, IMAGE = "EC2 AMI State Change", "EC2 Image Builder Image State Change"
# By switch: how it is seen, what AWS answers by default, and with the switch.
ANSWERS: dict[str, tuple[Callable[[Aws], object], object, object]] = {
    "no_ami_event": (no_ami_event, [AMI], []),
    "ami_comes_first": (ami_comes_first, ("completed", True), ("active", False)),
    "active_task_names_ami": (active_task_names_ami, ("completed", True), ("active", True)),
    "ami_has_another_name": (ami_has_another_name, True, False),
    "unknown_task_is_missing": (unknown_task_is_missing, "InvalidConversionTaskId", ""),
    "task_state_takes_one_value": (task_state_takes_one_value, ("", ""), ("", "InvalidParameterValue")),
    "next_token_is_empty": (next_token_is_empty, (True, None), (True, "")),
    "failed_task_fails_later": (failed_task_fails_later, ["ClientException"] * 2, ["FAILED"] * 2),
    "second_import_is_refused": (second_import_is_refused, ["", ""], ["", "ClientException"]),
    "client_token_is_forgotten": (client_token_is_forgotten, ["1", "1", "1", "1"], ["1", "1", "1", "2"]),
    "pending_image_names_ami": (
        pending_image_names_ami,
        [("AVAILABLE", 1), ("PENDING", 0)],
        [("AVAILABLE", 1), ("PENDING", 0), ("PENDING", 1)],
    ),
    "image_is_importing": (image_is_importing, ("PENDING", "AVAILABLE"), ("importing", "AVAILABLE")),
    "no_image_event": (no_image_event, [IMAGE], []),
    "image_tags_reach_ami": (image_tags_reach_ami, [], [{"Key": "Team", "Value": "web"}]),
    "no_version_is_invalid": (
        no_version_is_invalid,
        ["ResourceNotFoundException", "ResourceNotFoundException", True],
        ["InvalidParameterValueException", "ResourceNotFoundException", True],
    ),
}
TOGETHER = {"active_task_names_ami": {"ami_comes_first": True}}
"""What a switch needs, too."""


@pytest.mark.usefixtures("endpoint_url")
@pytest.mark.parametrize("name", NAMES)
def test_a_switch_changes_the_answer(name: str, switch: Switch) -> None:
    """The local AWS answers as documented or observed by default, and the other way with the switch."""
    seen, _, expected = ANSWERS[name]
    switch(**{name: True}, **TOGETHER.get(name, {}))
    assert seen(Aws()) == expected


@pytest.mark.usefixtures("endpoint_url")
@pytest.mark.parametrize("name", NAMES)
def test_the_default_answer(name: str) -> None:
    """Without its switch the local AWS gives the other answer."""
    seen, expected, _ = ANSWERS[name]
    assert seen(Aws()) == expected
