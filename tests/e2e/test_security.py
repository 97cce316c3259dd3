"""The rows of SECURITY.md's table on the deployed artefact, with the controls off, as by default, and on."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.aws import image_builder, policies
from local.aws.local_aws import ACCOUNT, LocalAws
from local.aws.policies import AuthorizationRequest
from tests.conftest import PARAMETERS, REGION
from tests.e2e.conftest import (
    UBUNTU,
    Notifications,
    builds,
    finish_imports,
    finish_imports_without_events,
    golden_event,
    invoke,
    log_entries,
    physical_id,
    start_import,
)
from vm_image_import.domain.models import DELETE, KEEP
from vm_image_import.domain.retention import YES
from vm_image_import.domain.text import without_secrets
from vm_image_import.imports import retention

pytestmark = pytest.mark.acceptance

SWEEP = {"action": "sweep"}
IMAGES = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image"


@pytest.fixture(scope="module", params=["off", "on"])
def aws(request: pytest.FixtureRequest) -> Iterator[LocalAws]:
    """Give a local AWS with the app deployed to it, with its controls off, then on."""
    assembly = request.getfixturevalue("assembly" if request.param == "off" else "controlled_assembly")
    with LocalAws() as aws:
        aws.deploy(assembly, "VmImageImport")
        yield aws


@pytest.fixture
def on(request: pytest.FixtureRequest) -> bool:
    """Give whether the controls are on."""
    return bool(request.node.callspec.params["aws"] == "on")


def begun(aws: LocalAws, key: str, **tags: str) -> str:
    """Start the import of a VM of the team, and return the id of its task."""
    return start_import(aws, key, UBUNTU, Owner="a", **tags)


def imported(aws: LocalAws, key: str, **tags: str) -> str:
    """Import a VM of the team, until everything has ended, and return the id of its task."""
    task = begun(aws, key, **tags)
    finish_imports(aws)
    return task


def ami_of(aws: LocalAws, task: str) -> str:
    """Return the AMI that a task names."""
    (found,) = aws.client("ec2").describe_import_image_tasks(ImportTaskIds=[task])["ImportImageTasks"]
    return str(found["ImageId"])


def request_image(aws: LocalAws, task: str, name: str, **tags: str) -> None:
    """Ask Image Builder for the image of a task, as another user."""
    aws.client("imagebuilder").import_vm_image(
        name=name,
        semanticVersion="1.0.0",
        platform="Linux",
        vmImportTaskId=task,
        clientToken=name,
        **({"tags": tags} if tags else {}),
    )


def names_of(aws: LocalAws, task: str) -> list[str]:
    """Return the names of the images of a task."""
    return [image["name"] for image in aws.images() if image.get("tags", {}).get("vm-image-import:task-id") == task]


def kinds(notifications: Notifications, about: str) -> list[str]:
    """Return the outcomes of the notifications about something."""
    return [kind for kind, _, _ in notifications.about(about)]


def test_name_of_another_owner(aws: LocalAws, policy: list[dict[str, Any]], *, on: bool) -> None:
    """A tag gives an import the name of another owner; `allowedNames` rejects it, and the role cannot register it."""
    task = imported(aws, "exports/x.ova", Name="Web_Server", Version="1.0")
    assert names_of(aws, task) == ([] if on else ["Web_Server"])
    for name, allowed in (("team-a-web", True), ("web-server", not on), ("team-b-web", not on)):
        for action in ("ImportVmImage", "TagResource"):
            resource = AuthorizationRequest(f"imagebuilder:{action}", f"{IMAGES}/{name}/1.0.0")
            assert policies.allows(policy, resource) is allowed


def test_name_of_a_file(aws: LocalAws, *, on: bool) -> None:
    """A file's key gives name and version, past a condition on the request's tags; `namesFrom` rejects it."""
    task = imported(aws, "exports/team-a-file-1073741823.0.0.ova")
    assert names_of(aws, task) == ([] if on else ["team-a-file"])


def test_tag_in_another_case(aws: LocalAws, *, on: bool) -> None:
    """A tag in another case passes IAM's condition, and the file decides; `namesFrom` rejects it."""
    task = imported(aws, "exports/team-a-case-1.0.ova", name="team-a-other", Version="1.0")
    assert names_of(aws, task) == ([] if on else ["team-a-case"])


def test_published_version(aws: LocalAws, notifications: Notifications, *, on: bool) -> None:
    """An import makes another build of a version, which is a warning; `immutableVersions` rejects it."""
    first, second = (imported(aws, "exports/x.ova", Name="team-a-twice", Version="1.0") for _ in range(2))
    assert len(builds(aws, "team-a-twice")) == (1 if on else 2)
    assert kinds(notifications, first) == ["IMAGE_AVAILABLE"]
    ((kind, _, text),) = notifications.about(second)
    assert kind == ("REJECTED" if on else "IMAGE_AVAILABLE")
    assert f"{IMAGES}/team-a-twice/1.0.0/1" in text


def test_high_version(aws: LocalAws, notifications: Notifications) -> None:
    """A high version stays the highest for ever; nothing prevents it, and the notification warns."""
    imported(aws, "exports/x.ova", Name="team-a-high", Version="1.0")
    task = imported(aws, "exports/x.ova", Name="team-a-high", Version="1073741823.0.0")
    ((_, _, text),) = notifications.about(task)
    assert "The version jumps from 1.0.0 to 1073741823.0.0" in text


def test_name_that_looks_alike(aws: LocalAws, notifications: Notifications) -> None:
    """A name that only becomes another one in the ARN is one image with it; the notification warns."""
    imported(aws, "exports/x.ova", Name="team-a-look", Version="1.0")
    task = imported(aws, "exports/x.ova", Name="team-a@look", Version="1.1")
    ((_, _, text),) = notifications.about(task)
    assert "The name 'team-a@look' becomes team-a-look" in text


def test_tags_that_authorise(aws: LocalAws, *, on: bool) -> None:
    """A task's tags reach its image, but `CreatedBy`; configured tags and `imageTagKeys` prevent it."""
    given = {"Team": "finance", "team": "x", "Other": "x", "Cost": "7", "CreatedBy": "EC2 Image Builder"}
    task = imported(aws, "exports/x.ova", Name="team-a-tags", Version="1.0", **given)
    (image,) = builds(aws, "team-a-tags")
    found = {key: value for key, value in image["tags"].items() if not key.startswith("vm-image-import:")}
    expected = {"Owner": "a", "Team": "finance", "team": "x", "Other": "x", "Cost": "7"}
    assert found == ({"Team": "a", "Cost": "7"} if on else expected)
    of_ami = aws.client("ec2").describe_tags(Filters=[{"Name": "resource-id", "Values": [ami_of(aws, task)]}])["Tags"]
    assert {tag["Key"] for tag in of_ami if ":" not in tag["Key"]} == ({"Name", "Team", "Cost"} if on else set())


def test_selection(aws: LocalAws, *, on: bool) -> None:
    """A task without the tags of `onlyTasksTagged` is ignored, but anybody who may tag it can add them."""
    task = start_import(aws, "exports/x.ova", Name="team-a-selected", Version="1.0")
    finish_imports(aws)
    assert names_of(aws, task) == ([] if on else ["team-a-selected"])
    aws.client("ec2").create_tags(Resources=[task], Tags=[{"Key": "Owner", "Value": "a"}])
    aws.fire_schedules()
    assert names_of(aws, task) == ["team-a-selected"]


def test_invocation(aws: LocalAws, *, on: bool) -> None:
    """A payload gives any task any name; `namesFrom` and `allowedNames` reject it."""
    task = begun(aws, "exports/x.ova", Name="team-a-invoked", Version="1.0")
    finish_imports_without_events(aws)
    answer = invoke(aws, {"importTaskId": task, "name": "web-invoked"})
    assert answer["outcome"] == ("REJECTED" if on else "REGISTERED")
    assert names_of(aws, task) == ([] if on else ["web-invoked"])


def test_copied_tags(aws: LocalAws) -> None:
    """An image with the tags of somebody's import is never taken for the image of that import."""
    victim = begun(aws, "exports/x.ova", Name="team-a-victim", Version="1.0")
    attacker = start_import(aws, "exports/y.ova", Name="team-a-attacker", Version="1.0")
    finish_imports_without_events(aws)
    copied = {"vm-image-import:task-id": victim, "vm-image-import:ami-id": ami_of(aws, victim)}
    request_image(aws, attacker, "forged", **copied)
    finish_imports_without_events(aws)
    aws.fire_schedules()
    assert len(builds(aws, "team-a-victim")) == 1


def test_import_that_another_user_registers(aws: LocalAws, notifications: Notifications, *, on: bool) -> None:
    """Whoever may call Image Builder names an import first; the notification says so, and no parameter gets its AMI."""
    task = begun(aws, "exports/x.ova", Name="team-a-first", Version="1.0")
    finish_imports_without_events(aws)
    request_image(aws, task, "taken")
    finish_imports(aws)
    for _ in range(2):
        aws.fire_schedules()
    assert not builds(aws, "team-a-first")
    texts = [text for _, _, text in notifications.about(task)]
    assert any("another user registered the import" in text for text in texts)
    assert any("matches none of team-a-*" in text for text in texts) is on
    assert not aws.client("ssm").get_parameters(Names=[f"{PARAMETERS}/taken"])["Parameters"]


def test_ami_with_the_name_of_a_task(aws: LocalAws) -> None:
    """An AMI with the name of a running task is not taken for the AMI of that task."""
    task = begun(aws, "exports/x.ova", Name="team-a-named", Version="1.0")
    forged = aws.client("ec2").register_image(Name=task)["ImageId"]
    event = golden_event("ami-available", detail={"ImageId": forged, "State": "available"})
    assert invoke(aws, event)["outcome"] in {"IGNORED", "IN_PROGRESS"}
    finish_imports(aws)
    aws.fire_schedules()
    (image,) = builds(aws, "team-a-named")
    assert image["tags"]["vm-image-import:ami-id"] == ami_of(aws, task) != forged


def test_parameter_of_others(aws: LocalAws, notifications: Notifications, *, on: bool) -> None:
    """A parameter that another user has made is not overwritten; one notification says so."""
    name = f"{PARAMETERS}/team-a-parameter"
    aws.client("ssm").put_parameter(Name=name, Value="theirs", Type="String")
    task = imported(aws, "exports/x.ova", Name="team-a-parameter", Version="1.0")
    aws.fire_schedules()
    assert aws.client("ssm").get_parameter(Name=name)["Parameter"]["Value"] == "theirs"
    assert sorted(kinds(notifications, task)) == [*(["FOLLOW_UP_FAILED"] if on else []), "IMAGE_AVAILABLE"]


def test_flood(aws: LocalAws, notifications: Notifications) -> None:
    """Whoever tags a task with one mistake after the other causes one notification an hour."""
    task = begun(aws, "exports/x.ova", Name="team-a-flood", Version="latest")
    finish_imports(aws)
    for name in ("?", "team-a-flood", "??"):
        aws.client("ec2").create_tags(Resources=[task], Tags=[{"Key": "Name", "Value": name}])
        aws.fire_schedules()
    assert kinds(notifications, task) == ["REJECTED"]


def test_alarm(aws: LocalAws) -> None:
    """AMIs that are registered and deregistered at once are no errors, so that no alarm rings."""
    for number in range(3):
        event = golden_event("ami-available", detail={"ImageId": f"ami-{number:017}", "State": "available"})
        assert invoke(aws, event)["outcome"] == "IGNORED"


def test_tag_that_deletes(aws: LocalAws, notifications: Notifications, *, on: bool) -> None:
    """A tag has an import deleted, where `deleteAfterDays` is on; the daily pass removes it, and `keep` prevents it."""
    imported(aws, "exports/x.ova", Name="team-a-tagged", Version="1.0")
    (image,) = (each for each in image_builder.backends[ACCOUNT][REGION].builds() if "/team-a-tagged/" in each.arn)
    image.tags |= {DELETE: YES}
    table, key = physical_id(aws, "AWS::DynamoDB::Table"), {"id": {"S": retention.RECORD}}
    aws.client("dynamodb").delete_item(TableName=table, Key=key)
    invoke(aws, SWEEP)
    assert (DELETE in image.tags) is not on
    assert kinds(notifications, "team-a-tagged/1.0.0/1 (ami-") == (["RETENTION"] if on else [])
    # Where the policy is faster than the pass.
    image.created = "2026-01-01T00:00:00.000Z"
    for tags, deleted in (({DELETE: YES, KEEP: YES}, False), ({DELETE: YES}, on)):
        image.tags = {**{name: value for name, value in image.tags.items() if name != KEEP}, **tags}
        assert bool(aws.run_lifecycle_policies()) is deleted
        assert bool(builds(aws, "team-a-tagged")) is not deleted


def test_secrets(aws: LocalAws, notifications: Notifications) -> None:
    """The signature of a presigned URL in a status message is in no notification and not in the log."""
    message = "ClientError: Cannot read https://user:s3cr3t@h.example/web.ova?X-Amz-Signature=s3cr3t"
    task = start_import(aws, "exports/x.ova", {"status-message": message}, Owner="a", Name="x", Version="1.0")
    finish_imports(aws)
    aws.fire_schedules()
    ((kind, _, text),) = notifications.about(task)
    assert kind == "IMPORT_FAILED"
    assert f"EC2 says: {without_secrets(message)}" in text
    assert "s3cr3t" not in text + json.dumps(log_entries(task))
