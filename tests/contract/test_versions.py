"""Finding versions and builds of images, on the local Image Builder."""

from collections import Counter

import boto3
import pytest

from local.aws import image_builder as local_image_builder
from local.aws import vm_import
from tests.conftest import ACCOUNT, REGION, client
from vm_image_import.aws import CONFIG, ImageBuilder
from vm_image_import.derive import versions

ARN = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image/web-server/x.x.x"


@pytest.fixture
def task(local_aws_mode: str) -> str:
    """Give the id of an import task that completes after some steps."""
    assert local_aws_mode
    s3 = client("s3")
    s3.create_bucket(Bucket="exports")
    s3.put_object(Bucket="exports", Key="k.ova", Body=b"disk")
    answer = client("ec2").import_image(DiskContainers=[{"UserBucket": {"S3Bucket": "exports", "S3Key": "k.ova"}}])
    return str(answer["ImportTaskId"])


def register(task: str, name: str, *semantic_versions: str) -> None:
    """Register images of one task."""
    for version in semantic_versions:
        client("imagebuilder").import_vm_image(
            name=name, semanticVersion=version, platform="Linux", vmImportTaskId=task, clientToken=f"{name}{version}"
        )


def complete() -> None:
    """Advance all imports and images to their end."""
    for _ in range(10):
        vm_import.advance(ACCOUNT, REGION)
        local_image_builder.advance(ACCOUNT, REGION)


def found(name: str = "web-server") -> tuple[set[str], Counter[str]]:
    """Return the versions that the adapter finds and how often it called what."""
    calls: Counter[str] = Counter()
    image_builder = boto3.client("imagebuilder", config=CONFIG)
    image_builder.meta.events.register("before-call.imagebuilder.*", lambda model, **_: calls.update([model.name]))
    return set(ImageBuilder(image_builder).list_versions(ARN, name)), calls


def test_an_unknown_name_has_no_versions(task: str) -> None:
    """A name without images has no versions."""
    register(task, "other", "7.0.0")
    assert found() == (set(), Counter(GetImage=1, ListImages=1))


def test_available_versions_are_found_however_the_name_is_written(task: str) -> None:
    """Available versions are found under every spelling of the name."""
    register(task, "Web Server", "1.2.9")
    register(task, "WEB_server", "1.10.0")
    complete()
    assert versions.after(found()[0]) == "1.10.1"


@pytest.mark.parametrize("name", ["Web Server", "web-server"])
def test_versions_that_are_not_available_are_found(task: str, name: str) -> None:
    """The version of an image that is not AVAILABLE yet is found."""
    register(task, "web-server", "3.0.0")
    complete()
    register(task, name, "3.0.1")
    assert versions.after(found(name)[0]) == "3.0.2"


def test_many_versions_cost_a_page_each(task: str) -> None:
    """The highest version is found on any page; a page holds 25."""
    register(task, "web-server", *(f"1.0.{patch}" for patch in range(60, 0, -1)))
    highest, calls = found()
    assert versions.after(highest) == "1.0.61"
    assert calls == Counter(GetImage=1, ListImages=3)


def test_the_number_of_calls_is_bounded(task: str) -> None:
    """A name with many versions costs eleven calls, and its highest AVAILABLE version is found."""
    register(task, "web-server", "2.0.0", *(f"1.0.{patch}" for patch in range(300)))
    complete()
    highest, calls = found()
    assert versions.after(highest) == "2.0.1"
    assert sum(calls.values()) == 11


def test_the_builds_of_imports_are_found_by_their_tags(task: str) -> None:
    """The builds with the tags of an import task and its AMI are returned by task, oldest first, on any page."""
    tags = {"vm-image-import:task-id": task, "vm-image-import:ami-id": "ami-0"}
    for number in range(30):
        client("imagebuilder").import_vm_image(
            name="other",
            semanticVersion=f"1.0.{number}",
            platform="Linux",
            vmImportTaskId=task,
            clientToken=f"{number}",
        )
    for number in range(2):
        client("imagebuilder").import_vm_image(
            name="web",
            semanticVersion="1.0.0",
            platform="Linux",
            vmImportTaskId=task,
            clientToken=f"w{number}",
            tags=tags,
        )
    found = ImageBuilder(boto3.client("imagebuilder", config=CONFIG)).list_import_builds()
    arn = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image/web/1.0.0"
    assert found == {task: [ImportBuild(f"{arn}/1", "ami-0"), ImportBuild(f"{arn}/2", "ami-0")]}


def test_a_build_with_another_ami_is_not_of_the_import(task: str) -> None:
    """A build whose AMI is not the one in its tag, as after a copy of the tags, is left out."""
    complete()
    tags = {"vm-image-import:task-id": task, "vm-image-import:ami-id": "ami-0"}
    client("imagebuilder").import_vm_image(
        name="web", semanticVersion="1.0.0", platform="Linux", vmImportTaskId=task, clientToken="w", tags=tags
    )
    complete()
    assert ImageBuilder(boto3.client("imagebuilder", config=CONFIG)).list_import_builds() == {}
