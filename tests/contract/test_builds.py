"""The builds that exist, on the local Image Builder with real boto3."""

import gc
import json
import tracemalloc
from collections import Counter
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from local.aws import image_builder as local_image_builder
from local.aws import vm_import
from tests.conftest import ACCOUNT, REGION, client
from tests.unit.fakes import AMI, TASK
from vm_image_import.aws.ec2 import Ec2
from vm_image_import.aws.image_builder import ImageBuilder
from vm_image_import.aws.session import CONFIG
from vm_image_import.builds import Builds
from vm_image_import.deadline import Deadline
from vm_image_import.domain.errors import TransientError
from vm_image_import.domain.models import DELETE, KEEP, NO_MARKS, SUPERSEDED, Build, Marks

ENOUGH = Deadline(lambda: 300_000)


@pytest.fixture
def task(local_aws_mode: str) -> str:
    """Give the id of an import task that completes after some steps."""
    assert local_aws_mode
    s3 = client("s3")
    s3.create_bucket(Bucket="exports")
    s3.put_object(Bucket="exports", Key="k.ova", Body=b"disk")
    answer = client("ec2").import_image(DiskContainers=[{"UserBucket": {"S3Bucket": "exports", "S3Key": "k.ova"}}])
    return str(answer["ImportTaskId"])


def register(task: str, name: str, *semantic_versions: str, tags: dict[str, str] | None = None) -> None:
    """Register images of one task."""
    for version in semantic_versions:
        client("imagebuilder").import_vm_image(
            name=name,
            semanticVersion=version,
            platform="Linux",
            vmImportTaskId=task,
            clientToken=f"{name}{version}",
            **({"tags": tags} if tags else {}),
        )


def complete() -> None:
    """Advance all imports and images to their end."""
    for _ in range(10):
        vm_import.advance(ACCOUNT, REGION)
        local_image_builder.advance(ACCOUNT, REGION)


def listed(deadline: Deadline = ENOUGH) -> tuple[list[Build], Counter[str]]:
    """Return the builds that the adapter finds and how often it called what."""
    calls: Counter[str] = Counter()
    image_builder = boto3.client("imagebuilder", config=CONFIG)
    image_builder.meta.events.register("before-call.imagebuilder.*", lambda model, **_: calls.update([model.name]))
    return [*ImageBuilder(image_builder).list_builds(deadline)], calls


def test_a_page_has_a_hundred_builds(task: str) -> None:
    """101 builds cost two calls, and the highest version is found on any page and in any state."""
    register(task, "Web Server", *(f"1.0.{patch}" for patch in range(101, 0, -1)))
    builds, calls = listed()
    assert Builds(builds, ACCOUNT).highest_version("web-server") == "1.0.101"
    assert Builds(builds, ACCOUNT).highest_version("web") is None
    assert calls == Counter(ListImageBuildVersions=2)


def test_the_list_ends_in_time(task: str) -> None:
    """Where the invocation has no time for the next page, listing ends with a transient error."""
    register(task, "web", *(f"1.0.{patch}" for patch in range(101)))
    with pytest.raises(TransientError, match="more builds"):
        listed(Deadline(lambda: 0))


def test_a_complete_list_needs_no_more_time(task: str) -> None:
    """The builds of the last page are listed, however little time is left after it."""
    register(task, "web", "1.0.0")
    assert len(listed(Deadline(lambda: 0))[0]) == 1


def test_the_build_of_an_import_is_found_by_its_ami(task: str) -> None:
    """An available build of the task's AMI is the image of the import, with or without tags."""
    register(task, "web", "1.0.0")
    complete()
    (ami,) = client("ec2").describe_images(Owners=["self"])["Images"]
    builds = Builds(listed()[0], ACCOUNT)
    found = builds.find(TASK._replace(id=task), AMI._replace(id=ami["ImageId"]), recorded=())
    assert found
    assert (found.arn.rpartition("image/")[2], found.status, found.is_import) == ("web/1.0.0/1", "AVAILABLE", True)
    assert builds.newest("web", besides="") == found
    assert builds.newest("web", besides=found.arn) is None
    assert builds.find(TASK, AMI, recorded=()) is None


def test_a_build_in_progress_is_decided_later(task: str) -> None:
    """A build that shows no AMI yet is waited for by the import that its tags name, and is nobody's."""
    tags = {"vm-image-import:task-id": task, "vm-image-import:ami-id": AMI.id}
    register(task, "web", "1.0.0", tags=tags)
    builds, own = Builds(listed()[0], ACCOUNT), TASK._replace(id=task)
    assert builds.find(own, AMI, recorded=()) is None
    assert builds.is_undecided(own, AMI, untagged=False)
    assert not builds.is_undecided(TASK, AMI, untagged=True)
    assert builds.find_requested(own, AMI, recorded=()) is None


def test_a_listed_build_takes_little_memory() -> None:
    """Of each build only what is needed is kept: less than 1 kB, of an answer of 8 kB."""
    pages, client = 10, boto3.client("imagebuilder", config=CONFIG)
    tokens = iter([*({"nextToken": str(page)} for page in range(1, pages)), {}])

    def answer(params: dict[str, Any], **_: object) -> tuple[Any, dict[str, object]]:
        page = int(json.loads(params["body"]).get("nextToken", 0))
        return SimpleNamespace(status_code=200), {"imageSummaryList": summaries(page), **next(tokens)}

    client.meta.events.register("before-call.imagebuilder.ListImageBuildVersions", answer)
    tracemalloc.start()
    builds = Builds(ImageBuilder(client).list_builds(ENOUGH), ACCOUNT)
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert builds.highest_version("web") == f"1.{pages - 1}.99"
    assert used < pages * 100 * 1_000


def summaries(page: int) -> list[dict[str, object]]:
    """Return a page of 100 builds with long tags, as Image Builder answers it."""
    return [
        {
            "arn": f"arn:aws:imagebuilder:us-east-1:123456789012:image/web/1.{page}.{number}/1",
            "state": {"status": "AVAILABLE"},
            "buildType": "IMPORT",
            "tags": {f"key-{place}": "v" * 250 for place in range(30)},
            "outputResources": {"amis": [{"region": REGION, "image": f"ami-{page}{number:03}"}]},
        }
        for number in range(100)
    ]


def test_marks_are_written_listed_and_removed(task: str) -> None:
    """The marks of a build are read from its tags; to tag or untag a build that does not exist is no error."""
    register(task, "web", "1.0.0")
    adapter = ImageBuilder(boto3.client("imagebuilder", config=CONFIG))
    arn = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image/web/1.0.0/1"
    assert [build.marks for build in listed()[0]] == [NO_MARKS]
    assert adapter.tag(arn, {SUPERSEDED: "2026-11-23", DELETE: "yes", KEEP: "", "Team": "web"})
    assert [build.marks for build in listed()[0]] == [Marks("2026-11-23", "yes", is_kept=True)]
    assert adapter.untag(arn, [DELETE, KEEP])
    assert [build.marks for build in listed()[0]] == [Marks("2026-11-23")]
    assert not adapter.tag(f"{arn}1", {DELETE: "yes"})
    assert not adapter.untag(f"{arn}1", [DELETE])


def available(ids: list[str], deadline: Deadline = ENOUGH) -> tuple[set[str], Counter[str]]:
    """Return those AMIs that the adapter finds available and how often it called what."""
    calls: Counter[str] = Counter()
    ec2 = boto3.client("ec2", config=CONFIG)
    ec2.meta.events.register("before-call.ec2.*", lambda model, **_: calls.update([model.name]))
    return Ec2(ec2).find_available(ids, deadline), calls


@pytest.mark.usefixtures("task")
def test_available_amis_are_found_two_hundred_a_call() -> None:
    """401 AMIs cost three calls; those that do not exist are no error and not available."""
    complete()
    (ami,) = client("ec2").describe_images(Owners=["self"])["Images"]
    missing = [f"ami-{number:017x}" for number in range(400)]
    found, calls = available([*missing, ami["ImageId"]])
    assert (found, calls) == ({ami["ImageId"]}, Counter(DescribeImages=3))
    client("ec2").deregister_image(ImageId=ami["ImageId"])
    assert available([ami["ImageId"]])[0] == set()
    assert available([]) == (set(), Counter())


@pytest.mark.usefixtures("task")
def test_amis_are_looked_for_in_time() -> None:
    """One call is made in any case; where there is no time for more that are needed, the look is a transient error."""
    late = Deadline(lambda: 150_000)
    ids = [f"ami-{number:017x}" for number in range(201)]
    assert available(ids[:200], late) == (set(), Counter(DescribeImages=1))
    with pytest.raises(TransientError, match="No time was left"):
        available(ids, late)
