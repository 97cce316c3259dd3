"""The whole request."""

import dataclasses
from datetime import UTC, datetime

import pytest

from vm_image_import.derive import client_token, derive
from vm_image_import.errors import RejectedError
from vm_image_import.request import ImageRequest, Overrides
from vm_image_import.task import Ami, Disk, ImportTask

AMI = Ami(
    id="ami-0abcdef1234567890",
    created=datetime(2026, 11, 23, 10, 15, tzinfo=UTC),
    name="import-ami-fg4d51t0",
    description="AWS-VMImport service: Linux - Ubuntu 20.04.3 LTS - 5.4.0-96-generic",
    architecture="x86_64",
)
TASK = ImportTask(
    id="import-ami-fg4d51t0",
    status="completed",
    image_id=AMI.id,
    platform="Linux",
    architecture="x86_64",
    boot_mode="uefi",
    license_type="BYOL",
    disks=(Disk(bucket="b", key="exports/web-server-1.4.2.ova"), Disk(bucket="b", key="exports/other-9.9.9.vmdk")),
)
BARE = ImportTask(id="import-ami-fg4d51t0")
BARE_AMI = dataclasses.replace(AMI, description=None, architecture=None)


def request(task: ImportTask = TASK, ami: Ami = AMI, overrides: Overrides | None = None) -> ImageRequest:
    """Return the derived request."""
    return derive(task, ami, overrides or Overrides(), "token").request


def test_everything_is_derived_from_task_and_ami() -> None:
    """The request holds every parameter of the API, with the first disk's name and version."""
    assert request().parameters() == {
        "name": "web-server",
        "semanticVersion": "1.4.2",
        "description": "Imported from s3://b/exports/web-server-1.4.2.ova by import-ami-fg4d51t0",
        "platform": "Linux",
        "osVersion": "Ubuntu 20.04.3 LTS",
        "vmImportTaskId": "import-ami-fg4d51t0",
        "clientToken": "token",
        "tags": {
            "vm-image-import:task-id": "import-ami-fg4d51t0",
            "vm-image-import:ami-id": "ami-0abcdef1234567890",
            "vm-image-import:source": "s3://b/exports/web-server-1.4.2.ova",
            "vm-image-import:architecture": "x86_64",
            "vm-image-import:boot-mode": "uefi",
            "vm-image-import:license-type": "BYOL",
        },
    }


def test_an_import_that_tells_nothing_is_registered_all_the_same() -> None:
    """With every optional field absent the request is complete, and holds no empty value."""
    assert request(BARE, BARE_AMI).parameters() == {
        "name": "import-ami-fg4d51t0",
        "semanticVersion": "2026.11.23",
        "description": "Imported by import-ami-fg4d51t0",
        "platform": "Linux",
        "vmImportTaskId": "import-ami-fg4d51t0",
        "clientToken": "token",
        "tags": {
            "vm-image-import:task-id": "import-ami-fg4d51t0",
            "vm-image-import:ami-id": "ami-0abcdef1234567890",
        },
    }


FULL = dataclasses.replace(
    TASK,
    description="Mail gateway",
    tags={"Name": "mail gw", "Version": "v3", "OsVersion": "Debian 12", "Team": "mail", "aws:x": "y"},
)
OVERRIDES = Overrides(
    name="post office",
    semantic_version="4.5",
    description="By hand",
    platform="macOS",
    os_version="macOS 15",
    tags={"Team": "post"},
)


@pytest.mark.parametrize(
    ("task", "overrides", "field", "value"),
    [
        (FULL, OVERRIDES, "name", "post office"),
        (FULL, Overrides(), "name", "mail gw"),
        (dataclasses.replace(FULL, tags={"Name": "x"}), Overrides(), "name", "web-server"),
        (dataclasses.replace(FULL, tags={}, disks=()), Overrides(), "name", "Mail gateway"),
        (dataclasses.replace(FULL, tags={}, disks=(Disk(key="db-1.0.ova"),)), Overrides(), "name", "Mail gateway"),
        (dataclasses.replace(FULL, tags={}, disks=(), description="?"), Overrides(), "name", "import-ami-fg4d51t0"),
        (FULL, OVERRIDES, "semantic_version", "4.5.0"),
        (FULL, Overrides(), "semantic_version", "3.0.0"),
        (dataclasses.replace(FULL, tags={"Version": "nonsense"}), OVERRIDES, "semantic_version", "4.5.0"),
        (dataclasses.replace(FULL, tags={}), Overrides(), "semantic_version", "1.4.2"),
        (dataclasses.replace(FULL, tags={}, disks=()), Overrides(), "semantic_version", "2026.11.23"),
        (FULL, OVERRIDES, "description", "By hand"),
        (FULL, Overrides(), "description", "Mail gateway"),
        (dataclasses.replace(FULL, description="d" * 2000), Overrides(), "description", "d" * 1024),
        (
            dataclasses.replace(TASK, disks=(Disk(url="https://h.example/w.ova?Signature=s3cr3t"),)),
            Overrides(),
            "description",
            "Imported from https://h.example/w.ova by import-ami-fg4d51t0",
        ),
        (FULL, OVERRIDES, "platform", "macOS"),
        (dataclasses.replace(FULL, platform="WINDOWS"), Overrides(), "platform", "Windows"),
        (FULL, OVERRIDES, "os_version", "macOS 15"),
        (FULL, Overrides(), "os_version", "Debian 12"),
    ],
)
def test_the_first_source_wins(task: ImportTask, overrides: Overrides, field: str, value: str) -> None:
    """The payload goes before the task's tags, these before the file's name, and so on down the README's table."""
    assert getattr(request(task, AMI, overrides), field) == value


@pytest.mark.parametrize(
    ("told", "ami_platform", "platform"),
    [(None, "windows", "Windows"), (None, None, "Linux"), ("linux", "windows", "Linux"), ("Solaris", None, "Linux")],
)
def test_the_platform_is_one_that_the_api_knows(told: str | None, ami_platform: str | None, platform: str) -> None:
    """A task without a platform, or with one that the API does not know, takes it from the AMI."""
    ami = dataclasses.replace(AMI, platform=ami_platform)
    assert request(dataclasses.replace(TASK, platform=told), ami).platform == platform


@pytest.mark.parametrize(
    ("description", "os_version"),
    [
        ("AWS-VMImport service: Linux - Ubuntu 20.04.3 LTS - 5.4.0-96-generic", "Ubuntu 20.04.3 LTS"),
        ("AWS-VMImport service: Linux - CentOS Linux release 7.9.2009 (Core)", "CentOS Linux release 7.9.2009 (Core)"),
        ("AWS-VMImport service: Linux - Red Hat 8 - Ootpa - 4.18.0-305.el8", "Red Hat 8 - Ootpa"),
        ("AWS-VMImport service: Windows - Windows Server 2019", "Windows Server 2019"),
        ("AWS-VMImport service: Linux", None),
        ("Web server", None),
        ("", None),
        (None, None),
    ],
)
def test_the_release_is_read_from_the_ami(description: str | None, os_version: str | None) -> None:
    """The osVersion is what VM Import found out about the system, without the kernel; nothing else is taken for it."""
    assert request(TASK, dataclasses.replace(AMI, description=description)).os_version == os_version


def test_tags_are_merged() -> None:
    """Provenance goes before payload, payload before the task's tags; carriers and AWS's own tags are no image tags."""
    overrides = Overrides(tags={"Team": "post", "vm-image-import:ami-id": "forged"})
    tags = request(FULL, AMI, overrides).tags
    assert {key: value for key, value in tags.items() if not key.startswith("vm-image-import:")} == {"Team": "post"}
    assert tags["vm-image-import:ami-id"] == AMI.id


def test_tags_that_the_api_refuses_are_left_out_and_told() -> None:
    """A key outside the API's pattern, a value over 256 characters and what is over 50 tags never reach the API."""
    many = {f"t{number:02}": "x" for number in range(60)}
    task = dataclasses.replace(TASK, tags={"a&b": "x", "k" * 129: "x", "long": "x" * 257, "short": "x" * 256, **many})
    derivation = derive(task, AMI, Overrides(), "token")
    assert len(derivation.request.tags) == 50
    assert derivation.request.tags["short"] == "x" * 256
    assert {"a&b", "k" * 129, "long", "t59"} <= set(derivation.tags_left_out)
    assert len(derivation.tags_left_out) + 50 == 6 + 64


def test_the_order_of_tags_does_not_matter() -> None:
    """EC2 may list a task's tags in any order: which of too many are taken is always the same."""
    many = {f"t{number:02}": "x" for number in range(60)}
    backwards = dict(reversed(many.items()))
    assert list(request(dataclasses.replace(TASK, tags=many)).tags) == list(
        request(dataclasses.replace(TASK, tags=backwards)).tags
    )


def test_what_was_stated_and_cannot_be_used_is_rejected_at_once() -> None:
    """A stated name or version never silently becomes another one, and every problem is named."""
    with pytest.raises(RejectedError) as caught:
        request(TASK, AMI, Overrides(name="???", semantic_version="1.4.2-rc1"))
    assert len(caught.value.problems) == 2
    assert "'???'" in caught.value.problems[0]
    assert "'1.4.2-rc1'" in caught.value.problems[1]
    assert "write it like 1.4.2" in caught.value.problems[1]


@pytest.mark.parametrize("version", ["latest", "1.4.2-rc1", "1.2.3.4", "7", "1073741824.0.0", ""])
def test_a_version_tag_that_is_no_version_is_rejected(version: str) -> None:
    """It must not become a date: the highest version stays the highest for every recipe."""
    with pytest.raises(RejectedError, match="tag Version"):
        request(dataclasses.replace(TASK, tags={"Version": version}))


def test_the_client_token_is_the_imports_own() -> None:
    """One import has one token for ever, within the API's length; another import, account or Region has another."""
    token = client_token("123456789012", "us-east-1", "import-ami-fg4d51t0")
    others = {
        client_token("123456789013", "us-east-1", "import-ami-fg4d51t0"),
        client_token("123456789012", "us-east-2", "import-ami-fg4d51t0"),
        client_token("123456789012", "us-east-1", "import-ami-fg4d51t1"),
    }
    assert token == "74ec987f-f548-5332-b0ad-df546b4810f3"  # noqa: S105 no secret
    assert len(token) == 36
    assert len(others - {token}) == 3
