"""Finding the highest version of an image, on the local Image Builder."""

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
def task(mode: str) -> str:
    """Give an import task that completes after some steps."""
    assert mode
    s3 = client("s3")
    s3.create_bucket(Bucket="exports")
    s3.put_object(Bucket="exports", Key="k.ova", Body=b"disk")
    answer = client("ec2").import_image(DiskContainers=[{"UserBucket": {"S3Bucket": "exports", "S3Key": "k.ova"}}])
    return str(answer["ImportTaskId"])


def register(task: str, name: str, *semantic_versions: str) -> None:
    """Register images of one task, as somebody else may have done."""
    for version in semantic_versions:
        client("imagebuilder").import_vm_image(
            name=name, semanticVersion=version, platform="Linux", vmImportTaskId=task, clientToken=f"{name}{version}"
        )


def complete() -> None:
    """Let imports and images come to their end."""
    for _ in range(10):
        vm_import.advance(ACCOUNT, REGION)
        local_image_builder.advance(ACCOUNT, REGION)


def found(name: str = "web-server") -> tuple[set[str], Counter[str]]:
    """Return the versions that the adapter finds and how often it called what."""
    calls: Counter[str] = Counter()
    image_builder = boto3.client("imagebuilder", config=CONFIG)
    image_builder.meta.events.register("before-call.imagebuilder.*", lambda model, **_: calls.update([model.name]))
    return set(ImageBuilder(image_builder).versions(ARN, name)), calls


def test_an_unknown_name_has_no_versions(task: str) -> None:
    """The first import of a name is 1.0.0."""
    register(task, "other", "7.0.0")
    assert found() == (set(), Counter(GetImage=1, ListImages=1))


def test_available_versions_are_found_however_the_name_is_written(task: str) -> None:
    """Names that differ in case, spaces or underscores are one image, whoever made its versions."""
    register(task, "Web Server", "1.2.9")
    register(task, "WEB_server", "1.10.0")
    complete()
    assert versions.after(found()[0]) == "1.10.1"


@pytest.mark.parametrize("name", ["Web Server", "web-server"])
def test_versions_on_their_way_are_found(task: str, name: str) -> None:
    """An image that is not AVAILABLE yet has its version all the same."""
    register(task, "web-server", "3.0.0")
    complete()
    register(task, name, "3.0.1")
    assert versions.after(found(name)[0]) == "3.0.2"


def test_many_versions_cost_a_page_each(task: str) -> None:
    """Pages hold 25 versions, and the highest may be on any of them."""
    register(task, "web-server", *(f"1.0.{patch}" for patch in range(60, 0, -1)))
    highest, calls = found()
    assert versions.after(highest) == "1.0.61"
    assert calls == Counter(GetImage=1, ListImages=3)


def test_the_number_of_calls_is_bounded(task: str) -> None:
    """A name with very many versions costs eleven calls at most; the highest AVAILABLE one is found by the first."""
    register(task, "web-server", "2.0.0", *(f"1.0.{patch}" for patch in range(300)))
    complete()
    highest, calls = found()
    assert versions.after(highest) == "2.0.1"
    assert sum(calls.values()) == 11
