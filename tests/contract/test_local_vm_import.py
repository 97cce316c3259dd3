"""The local VM import behaves as EC2 documents, and as observed, for import tasks and their AMIs."""

import importlib
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from local.aws import common, vm_import
from local.aws.common import Event
from local.aws.switches import Switches, use
from tests.conftest import ACCOUNT, REGION, client

BUCKET = "vm-exports"
KEY = "exports/web-server-1.4.2.ova"
UBUNTU = {"platform": "Linux", "os": "Ubuntu 22.04.3 LTS - 5.15.0-97-generic"}
TASK_TAGS = [{"ResourceType": "import-image-task", "Tags": [{"Key": "Name", "Value": "web"}]}]
STEPS = ["validating", "validated", "converting", "updating", "booting", "booted", "preparing ami"]


def upload(metadata: dict[str, str], key: str = KEY) -> dict[str, Any]:
    """Upload a disk to S3 and return its disk container."""
    s3 = client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"0123456789", Metadata=metadata)
    return {"Format": "ova", "UserBucket": {"S3Bucket": BUCKET, "S3Key": key}}


def start(*disks: dict[str, Any], **request: object) -> str:
    """Start an import and return the task's id."""
    task_id: str = client("ec2").import_image(DiskContainers=list(disks), **request)["ImportTaskId"]
    return task_id


def advance(times: int = 1) -> list[Event]:
    """Advance every task and return all events."""
    return [event for _ in range(times) for event in vm_import.advance(ACCOUNT, REGION)]


def describe(task_id: str) -> dict[str, Any]:
    """Return a task of DescribeImportImageTasks."""
    (task,) = client("ec2").describe_import_image_tasks(ImportTaskIds=[task_id])["ImportImageTasks"]
    return dict(task)


def own_images() -> list[dict[str, Any]]:
    """Return the AMIs of the account."""
    return list(client("ec2").describe_images(Owners=["self"])["Images"])


def error_code(error: pytest.ExceptionInfo[ClientError]) -> str:
    """Return the code of an error."""
    return error.value.response["Error"]["Code"]


@pytest.mark.usefixtures("local_aws_mode")
def test_a_new_task_is_pending() -> None:
    """ImportImage answers with the parameters of the request and a pending task."""
    disk = upload(UBUNTU)
    answer = client("ec2").import_image(
        DiskContainers=[disk], Description="Web", Platform="Linux", BootMode="uefi", TagSpecifications=TASK_TAGS
    )
    task_id = answer["ImportTaskId"]
    assert re.fullmatch("import-ami-[0-9a-f]{17}", task_id)
    del answer["ResponseMetadata"]
    assert answer == {
        "ImportTaskId": task_id,
        "Status": "active",
        "StatusMessage": "pending",
        "Progress": "1",
        "Description": "Web",
        "Platform": "Linux",
        "SnapshotDetails": [{**disk, "DiskImageSize": 0.0}],
        "Tags": [{"Key": "Name", "Value": "web"}],
    }
    assert describe(task_id) == {**answer, "BootMode": "uefi"}


@pytest.mark.usefixtures("local_aws_mode")
def test_steps_of_a_task() -> None:
    """Each step of a task has its own message and more progress, and the last one completes the task."""
    task_id = start(upload(UBUNTU))
    seen = []
    for _ in STEPS:
        advance()
        seen.append(describe(task_id))
    assert [task["StatusMessage"] for task in seen] == STEPS
    assert {task["Status"] for task in seen} == {"active"}
    progress = [int(task["Progress"]) for task in seen]
    assert progress == sorted({1, *progress} - {1})
    advance()
    assert describe(task_id)["Status"] == "completed"


@pytest.mark.usefixtures("local_aws_mode")
def test_a_completed_task_has_an_ami() -> None:
    """A completed task has the AMI, the snapshot and what was found on the disk, and no other field."""
    disk = upload(UBUNTU)
    task_id = start(disk)
    advance(8)
    (image,) = own_images()
    snapshot = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert describe(task_id) == {
        "ImportTaskId": task_id,
        "Status": "completed",
        "LicenseType": "BYOL",
        "Platform": "Linux",
        "ImageId": image["ImageId"],
        "SnapshotDetails": [
            {
                "UserBucket": disk["UserBucket"],
                "SnapshotId": snapshot,
                "DiskImageSize": 10.0,
                "DeviceName": "/dev/sda1",
                "Format": "VMDK",
                "Status": "completed",
            }
        ],
    }
    assert {name: image.get(name) for name in ("Name", "Description", "OwnerId", "Architecture", "State")} == {
        "Name": task_id,
        "Description": "AWS-VMImport service: Linux - Ubuntu 22.04.3 LTS - 5.15.0-97-generic",
        "OwnerId": ACCOUNT,
        "Architecture": "x86_64",
        "State": "available",
    }
    assert image["PlatformDetails"] == "Linux/UNIX"
    assert not {"Platform", "BootMode", "SourceImageId"} & image.keys()


@pytest.mark.usefixtures("local_aws_mode")
def test_the_ami_of_a_windows_vm() -> None:
    """The AMI of a Windows VM has the platform, and the architecture and boot mode of the request."""
    start(upload({"platform": "Windows", "architecture": "x86_64"}), Architecture="i386", BootMode="legacy-bios")
    advance(8)
    (image,) = own_images()
    assert (image["Platform"], image["PlatformDetails"]) == ("windows", "Windows")
    assert (image["Architecture"], image["BootMode"]) == ("i386", "legacy-bios")


@pytest.mark.usefixtures("local_aws_mode")
def test_an_unknown_vm() -> None:
    """A disk without metadata makes a task without platform and an AMI without operating system."""
    task_id = start(upload({}))
    advance(8)
    assert describe(task_id)["Status"] == "completed"
    assert not {"Platform", "Architecture", "LicenseType", "Tags", "Progress"} & describe(task_id).keys()
    (image,) = own_images()
    assert image["Description"] == "AWS-VMImport service"


@pytest.mark.usefixtures("local_aws_mode")
def test_tags_of_a_task_are_not_copied() -> None:
    """Neither the AMI nor its snapshot has the task's tags."""
    task_id = start(upload(UBUNTU), TagSpecifications=TASK_TAGS)
    advance(8)
    (image,) = own_images()
    (snapshot,) = client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert describe(task_id)["Tags"] == [{"Key": "Name", "Value": "web"}]
    assert not image.get("Tags")
    assert not snapshot.get("Tags")


@pytest.mark.usefixtures("local_aws_mode")
def test_tags_of_a_task_can_be_changed() -> None:
    """CreateTags, DeleteTags and DescribeTags work for a completed import task."""
    task_id = start(upload(UBUNTU), TagSpecifications=TASK_TAGS)
    advance(8)
    client("ec2").create_tags(Resources=[task_id], Tags=[{"Key": "Version", "Value": "1.4.2"}])
    client("ec2").delete_tags(Resources=[task_id], Tags=[{"Key": "Name"}])
    assert describe(task_id)["Tags"] == [{"Key": "Version", "Value": "1.4.2"}]
    (tag,) = client("ec2").describe_tags(Filters=[{"Name": "resource-type", "Values": ["import-image-task"]}])["Tags"]
    assert tag["ResourceId"] == task_id


@pytest.mark.usefixtures("local_aws_mode")
def test_several_disks_make_several_snapshots() -> None:
    """Every disk has its own snapshot and device, and the VM is described by the first disk with metadata."""
    disks = [upload({}, "root.vmdk"), upload(UBUNTU, "data.vmdk")]
    task_id = start(*disks)
    advance(8)
    details = describe(task_id)["SnapshotDetails"]
    assert [detail["DeviceName"] for detail in details] == ["/dev/sda1", "/dev/sdb"]
    assert [detail["UserBucket"]["S3Key"] for detail in details] == ["root.vmdk", "data.vmdk"]
    assert len({detail["SnapshotId"] for detail in details}) == 2
    assert describe(task_id)["Platform"] == "Linux"


@pytest.mark.parametrize(
    ("url", "key"),
    [
        (f"s3://{BUCKET}/my disk.ova", "my disk.ova"),
        (f"s3://{BUCKET}/my%20disk.ova", "my%20disk.ova"),
        (f"https://{BUCKET}.s3.us-east-1.amazonaws.com/my%20disk.ova", "my disk.ova"),
        (f"https://s3.us-east-1.amazonaws.com/{BUCKET}/my%20disk.ova", "my disk.ova"),
        (f"https://{BUCKET}.s3.amazonaws.com/my%20disk.ova?X-Amz-Signature=0", "my disk.ova"),
    ],
)
@pytest.mark.usefixtures("local_aws_mode")
def test_disks_by_url(url: str, key: str) -> None:
    """A disk can have any form of S3 URL, `https` ones percent-encoded or presigned, and the task has the same URL."""
    upload(UBUNTU, key)
    task_id = start({"Url": url})
    advance(8)
    assert describe(task_id)["Status"] == "completed"
    assert describe(task_id)["SnapshotDetails"][0]["Url"] == url


@pytest.mark.usefixtures("local_aws_mode")
def test_a_snapshot_as_disk() -> None:
    """An existing snapshot can be imported, and the task has its size."""
    ec2 = client("ec2")
    volume = ec2.create_volume(Size=3, AvailabilityZone=f"{REGION}a")
    snapshot = ec2.create_snapshot(VolumeId=volume["VolumeId"])
    task_id = start({"SnapshotId": snapshot["SnapshotId"]})
    advance(8)
    assert describe(task_id)["SnapshotDetails"][0]["DiskImageSize"] == 3.0 * 2**30


@pytest.mark.parametrize(
    "disk",
    [
        {"UserBucket": {"S3Bucket": BUCKET, "S3Key": "missing.ova"}},
        {"UserBucket": {"S3Bucket": "no-such-bucket", "S3Key": KEY}},
        {"Url": "https://example.com/web.ova"},
        {"SnapshotId": "snap-0123456789abcdef0"},
    ],
    ids=["key", "bucket", "url", "snapshot"],
)
@pytest.mark.usefixtures("local_aws_mode")
def test_an_unreadable_disk_fails_the_task(disk: dict[str, Any]) -> None:
    """ImportImage accepts a disk that cannot be read, and the task fails with the documented message."""
    readable = upload(UBUNTU)
    task_id = start(readable, disk)
    assert advance(3) == []
    task = describe(task_id)
    assert (task["Status"], task["ImageId"]) == ("deleted", "")
    assert task["StatusMessage"] == (
        "ClientError: Disk validation failed [We do not have access to the given resource. Reason 403 Forbidden]"
    )
    assert "Progress" not in task


@pytest.mark.usefixtures("local_aws_mode")
def test_a_failed_import() -> None:
    """A failed task has the disk's status message and completed snapshots, and makes no AMI."""
    message = "ClientError: Unsupported kernel version 4.15.0-1021-aws"
    task_id = start(upload({"platform": "Linux", "status-message": message}))
    advance(4)
    assert describe(task_id)["Status"] == "deleting"
    assert advance(6) == []
    task = describe(task_id)
    assert (task["Status"], task["StatusMessage"], task["ImageId"]) == ("deleted", message, "")
    assert task["SnapshotDetails"][0]["Status"] == "completed"
    assert own_images() == []


@pytest.mark.usefixtures("local_aws_mode")
def test_cancellation() -> None:
    """A cancelled task is `deleting` at once, then `deleted`, with the cancellation in its message."""
    task_id = start(upload(UBUNTU))
    advance(5)
    answer = client("ec2").cancel_import_task(ImportTaskId=task_id, CancelReason="wrong disk")
    assert (answer["ImportTaskId"], answer["PreviousState"], answer["State"]) == (task_id, "active", "deleting")
    assert advance(9) == []
    task = describe(task_id)
    assert (task["Status"], task["StatusMessage"]) == ("deleted", "User initiated task cancellation: wrong disk")


@pytest.mark.usefixtures("local_aws_mode")
def test_tasks_that_cannot_be_cancelled() -> None:
    """A completed task and an unknown task cannot be cancelled."""
    task_id = start(upload(UBUNTU))
    advance(8)
    with pytest.raises(ClientError) as finished:
        client("ec2").cancel_import_task(ImportTaskId=task_id)
    assert error_code(finished) == "IncorrectState"
    with pytest.raises(ClientError) as unknown:
        client("ec2").cancel_import_task(ImportTaskId="import-ami-0123456789abcdef0")
    assert error_code(unknown) == "InvalidConversionTaskId"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({}, "MissingParameter"),
        ({"DiskContainers": [{"Format": "ova"}]}, "MissingParameter"),
        ({"DiskContainers": [{"UserBucket": {"S3Bucket": BUCKET}}]}, "MissingParameter"),
        ({"DiskContainers": [{"Url": "s3://b/k", "Format": "iso"}]}, "InvalidParameterValue"),
        ({"DiskContainers": [{"Url": "s3://b/k"}], "Platform": "BeOS"}, "InvalidParameterValue"),
        ({"DiskContainers": [{"Url": "s3://b/k"}], "Architecture": "sparc"}, "InvalidParameterValue"),
        ({"DiskContainers": [{"Url": "s3://b/k"}], "Architecture": "arm64"}, "InvalidParameterValue"),
        ({"DiskContainers": [{"Url": "s3://b/k"}], "BootMode": "floppy"}, "InvalidParameterValue"),
        ({"DiskContainers": [{"Url": "s3://b/k"}], "LicenseType": "free"}, "InvalidParameterValue"),
        (
            {"DiskContainers": [{"Url": "s3://b/k"}], "TagSpecifications": [{**TASK_TAGS[0], "ResourceType": "image"}]},
            "InvalidParameter",
        ),
        ({"DiskContainers": [{"Url": "s3://b/k"}], "DryRun": True}, "DryRunOperation"),
    ],
)
@pytest.mark.usefixtures("local_aws_mode")
def test_invalid_requests(request_: dict[str, Any], code: str) -> None:
    """An invalid ImportImage request is an error with EC2's code, and makes no task."""
    with pytest.raises(ClientError) as error:
        client("ec2").import_image(**request_)
    assert error_code(error) == code
    assert client("ec2").describe_import_image_tasks()["ImportImageTasks"] == []


@pytest.mark.usefixtures("local_aws_mode")
def test_client_token() -> None:
    """The same client token with the same request is the same task; with another request it is an error."""
    disk = upload(UBUNTU)
    first = start(disk, ClientToken="once")
    assert start(disk, ClientToken="once") == first
    assert start(disk) != first
    with pytest.raises(ClientError) as error:
        start(disk, ClientToken="once", Description="other")
    assert error_code(error) == "IdempotentParameterMismatch"


@pytest.mark.usefixtures("local_aws_mode")
def test_filter_by_state() -> None:
    """The filter `task-state` selects the tasks with one of its values."""
    done, failed = start(upload(UBUNTU)), start({"Url": "s3://no-such-bucket/disk.ova"})
    advance(8)
    active = start(upload(UBUNTU))

    def listed(*states: str) -> set[str]:
        filters = [{"Name": "task-state", "Values": states}]
        return {
            task["ImportTaskId"]
            for task in client("ec2").describe_import_image_tasks(Filters=filters)["ImportImageTasks"]
        }

    assert listed("active") == {active}
    assert listed("completed", "deleted") == {done, failed}
    assert listed("deleting") == set()


@pytest.mark.parametrize(
    "request_",
    [
        {"Filters": [{"Name": "task-state", "Values": ["converting"]}]},
        {"Filters": [{"Name": "tag:Name", "Values": ["web"]}]},
        {"MaxResults": 0},
    ],
)
@pytest.mark.usefixtures("local_aws_mode")
def test_invalid_filters(request_: dict[str, Any]) -> None:
    """A filter, a state or a page size that EC2 does not have is an error."""
    with pytest.raises(ClientError) as error:
        client("ec2").describe_import_image_tasks(**request_)
    assert error_code(error) == "InvalidParameterValue"


@pytest.mark.usefixtures("local_aws_mode")
def test_pages() -> None:
    """All pages together have every task once, and an unknown token is an error."""
    started = [start({"Url": "s3://no-such-bucket/disk.ova"}) for _ in range(5)]
    pages = client("ec2").get_paginator("describe_import_image_tasks").paginate(PaginationConfig={"PageSize": 2})
    listed = [[task["ImportTaskId"] for task in page["ImportImageTasks"]] for page in pages]
    assert listed == [started[:2], started[2:4], started[4:]]
    for token in ("nonsense", "page-99"):
        with pytest.raises(ClientError) as error:
            client("ec2").describe_import_image_tasks(NextToken=token)
        assert error_code(error) == "InvalidNextToken"


@pytest.mark.usefixtures("local_aws_mode")
def test_unknown_tasks() -> None:
    """An unknown id is an error or, by a switch, missing from the answer; both are observed."""
    for task_id, code in {
        "import-ami-0123456789abcdef0": "InvalidConversionTaskId",
        "ami-0123456789abcdef0": "InvalidConversionTaskId.Malformed",
    }.items():
        with pytest.raises(ClientError) as error:
            describe(task_id)
        assert error_code(error) == code
        with use(Switches(unknown_task_is_missing=True)):
            assert client("ec2").describe_import_image_tasks(ImportTaskIds=[task_id])["ImportImageTasks"] == []


@pytest.mark.usefixtures("local_aws_mode")
def test_tasks_are_listed_for_seven_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task is listed while it is active and for 7 days after its end."""
    now = datetime(2026, 11, 23, 10, 15, tzinfo=UTC)
    monkeypatch.setattr(common, "clock", lambda: now)
    start(upload(UBUNTU))
    advance(8)
    active = start(upload(UBUNTU))

    def listed(age: timedelta) -> list[str]:
        monkeypatch.setattr(common, "clock", lambda: now + age)
        advance()
        return [task["ImportTaskId"] for task in client("ec2").describe_import_image_tasks()["ImportImageTasks"]]

    assert len(listed(timedelta(days=7, seconds=-1))) == 2
    assert listed(timedelta(days=7)) == [active]


@pytest.mark.usefixtures("local_aws_mode")
def test_expired_tasks() -> None:
    """`expire` removes a task before its 7 days are over."""
    task_id = start(upload(UBUNTU))
    vm_import.backends[ACCOUNT][REGION].expire(task_id)
    assert client("ec2").describe_import_image_tasks()["ImportImageTasks"] == []


@pytest.mark.usefixtures("local_aws_mode")
def test_the_event_of_an_ami(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event of an AMI has the fields that AWS documents, and no others."""
    monkeypatch.setattr(common, "clock", lambda: datetime(2026, 11, 23, 10, 15, tzinfo=UTC))
    start(upload(UBUNTU))
    (event,) = advance(8)
    (image,) = own_images()
    detail = event["detail"]
    assert isinstance(detail, dict)
    assert event == {
        "version": "0",
        "id": event["id"],
        "detail-type": "EC2 AMI State Change",
        "source": "aws.ec2",
        "account": ACCOUNT,
        "time": "2026-11-23T10:15:00Z",
        "region": REGION,
        "resources": [f"arn:aws:ec2:{REGION}::image/{image['ImageId']}"],
        "detail": {
            "RequestId": detail["RequestId"],
            "ImageId": image["ImageId"],
            "State": "available",
            "ErrorMessage": "",
        },
    }
    assert image["CreationDate"] == "2026-11-23T10:15:00.000Z"


@pytest.mark.usefixtures("local_aws_mode")
def test_every_available_ami_has_one_event() -> None:
    """A registered, copied or enabled AMI has one event with its own id when it becomes available."""
    ec2 = client("ec2")
    registered = ec2.register_image(Name="registered")["ImageId"]
    copied = ec2.copy_image(SourceImageId=registered, SourceRegion=REGION, Name="copied")["ImageId"]
    events = advance(2)
    assert [event["resources"] for event in events] == [
        [f"arn:aws:ec2:{REGION}::image/{registered}"],
        [f"arn:aws:ec2:{REGION}::image/{copied}"],
    ]
    assert len({str(event["id"]) for event in events}) == 2
    ec2.disable_image(ImageId=copied)
    assert advance() == []
    ec2.enable_image(ImageId=copied)
    assert [event["resources"] for event in advance(2)] == [[f"arn:aws:ec2:{REGION}::image/{copied}"]]


@pytest.mark.usefixtures("local_aws_mode")
def test_a_disabled_ami_is_hidden() -> None:
    """DescribeImages shows a disabled AMI, also by its id, only where the request includes disabled ones."""
    ec2 = client("ec2")
    ami = ec2.register_image(Name="registered")["ImageId"]
    ec2.disable_image(ImageId=ami)
    assert ec2.describe_images(ImageIds=[ami])["Images"] == own_images() == []
    assert ec2.describe_images(ImageIds=[ami], IncludeDisabled=False)["Images"] == []
    (image,) = ec2.describe_images(ImageIds=[ami], IncludeDisabled=True)["Images"]
    assert (image["ImageId"], image["State"]) == (ami, "disabled")


def test_public_amis_have_no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """The public AMIs of moto have no events."""
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "true")
    vm_import.install()
    with mock_aws():
        # To describe all 1,300 takes seconds.
        image_id = next(iter(vm_import.backends[ACCOUNT][REGION].ec2.amis))
        assert client("ec2").describe_images(ImageIds=[image_id], Owners=["amazon"])["Images"]
        assert advance() == []


@pytest.mark.usefixtures("local_aws_mode")
def test_copies_name_their_source() -> None:
    """DescribeImages returns the source AMI and its Region for a copy only."""
    ec2 = client("ec2")
    original = ec2.register_image(Name="original")["ImageId"]
    west = client("ec2", "us-west-2")
    copy = west.copy_image(SourceImageId=original, SourceRegion=REGION, Name="copy")["ImageId"]
    (image,) = west.describe_images(ImageIds=[copy])["Images"]
    assert (image["SourceImageId"], image["SourceImageRegion"]) == (original, REGION)
    assert "SourceImageId" not in own_images()[0]


@pytest.mark.usefixtures("local_aws_mode")
def test_regions_are_separate() -> None:
    """A task of one Region is neither listed nor advanced in another."""
    task_id = start(upload(UBUNTU))
    vm_import.advance(ACCOUNT, "eu-west-1")
    assert client("ec2", "eu-west-1").describe_import_image_tasks()["ImportImageTasks"] == []
    assert describe(task_id)["StatusMessage"] == "pending"


def test_mock_aws_resets_it() -> None:
    """Every `mock_aws` starts without tasks and events, and a second `install` changes nothing."""
    for _ in range(3):
        vm_import.install()
        with mock_aws():
            assert client("ec2").describe_import_image_tasks()["ImportImageTasks"] == []
            start(upload(UBUNTU))
            assert len(advance(8)) == 1
            image = own_images()[0]["ImageId"]
            client("ec2").copy_image(SourceImageId=image, SourceRegion=REGION, Name="copy")
            assert [copy.get("SourceImageId") for copy in own_images()] == [None, image]


@pytest.mark.acceptance
def test_the_aws_command_line(endpoint_url: str) -> None:
    """The AWS command line starts, describes and cancels an import."""
    upload(UBUNTU)

    def aws(*arguments: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "awscli", "--endpoint-url", endpoint_url, "--output", "json", "ec2"]
        done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
        return dict(json.loads(done.stdout))

    started = aws(
        *("import-image", "--description", "Web server"),
        *("--disk-containers", f"Format=ova,UserBucket={{S3Bucket={BUCKET},S3Key={KEY}}}"),
        *("--tag-specifications", "ResourceType=import-image-task,Tags=[{Key=Version,Value=1.4.2}]"),
    )
    task_id = started["ImportTaskId"]
    advance(2)
    (task,) = aws("describe-import-image-tasks", "--import-task-ids", task_id)["ImportImageTasks"]
    assert (task["StatusMessage"], task["Platform"]) == ("validated", "Linux")
    assert task["Tags"] == [{"Key": "Version", "Value": "1.4.2"}]
    assert aws("cancel-import-task", "--import-task-id", task_id)["State"] == "deleting"


@pytest.mark.parametrize(
    "internal",
    [
        "moto.core.base_backend:BackendDict.reset",
        "moto.core.responses:ActionResult",
        "moto.core.utils:get_service_model",
        "moto.ec2.exceptions:EC2ClientError",
        "moto.ec2.models:ec2_backends",
        "moto.ec2.models:get_prefix",
        "moto.ec2.models.tags:get_prefix",
        "moto.ec2.models:EC2Backend.copy_image",
        "moto.ec2.models:EC2Backend.copy_snapshot",
        "moto.ec2.models:EC2Backend.create_tags",
        "moto.ec2.models:EC2Backend.register_image",
        "moto.ec2.responses:EC2Response._filters_from_querystring",
        "moto.ec2.responses:EC2Response._get_param",
        "moto.ec2.responses:EC2Response._get_params",
        "moto.ec2.responses:EC2Response._parse_tag_specification",
        "moto.ec2.responses:EC2Response.error_on_dryrun",
        "moto.ec2.utils:EC2_PREFIX_TO_RESOURCE",
        "moto.ec2.utils:EC2_RESOURCE_TO_PREFIX",
        "moto.ec2.utils:get_prefix",
        "moto.ec2.utils:random_id",
        "moto.moto_api._internal:mock_random.uuid4",
        "moto.s3.exceptions:MissingBucket",
        "moto.s3.models:S3Backend.get_object",
        "moto.s3.models:s3_backends",
    ],
)
def test_moto_internals(internal: str) -> None:
    """Every internal of moto that the local VM import uses exists."""
    module, _, path = internal.partition(":")
    reduce(getattr, path.split("."), importlib.import_module(module))
