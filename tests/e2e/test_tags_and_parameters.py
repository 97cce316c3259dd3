"""`tagAmis` and `parameterPrefix`, with the deployed template and the bundled artefact."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from local.aws import iam, image_builder, supplements
from local.aws.local_aws import ACCOUNT, LocalAws
from tests.conftest import PARAMETERS, REGION
from tests.e2e.conftest import (
    UBUNTU,
    Notifications,
    age_records,
    finish_imports,
    finish_imports_without_events,
    golden_event,
    invoke,
    replace_policy,
    start_import,
)

SWEEP = {"action": "sweep"}
OWN_SERVICES = ("dynamodb", "ec2", "imagebuilder", "sns", "ssm")


@pytest.fixture(scope="module")
def aws(configured_assembly: Path) -> Iterator[LocalAws]:
    """Give a local AWS with the app deployed to it, with tags and parameters switched on."""
    with LocalAws() as aws:
        aws.deploy(configured_assembly, f"VmImageImport-{REGION}")
        yield aws


def imported(aws: LocalAws, task: str) -> list[str]:
    """Return the ids of the AMI and of the snapshots that an import has made, with the snapshots of all disks."""
    (found,) = aws.client("ec2").describe_import_image_tasks(ImportTaskIds=[task])["ImportImageTasks"]
    return [found["ImageId"], *(disk["SnapshotId"] for disk in found["SnapshotDetails"])]


def tags(aws: LocalAws, id_: str) -> dict[str, str]:
    """Return the tags of an AMI or a snapshot."""
    answer = aws.client("ec2").describe_tags(Filters=[{"Name": "resource-id", "Values": [id_]}])
    return {tag["Key"]: tag["Value"] for tag in answer["Tags"]}


def parameter(aws: LocalAws, name: str) -> str | None:
    """Return the value of the parameter of an image's name, or None, as it is after the check of Systems Manager."""
    supplements.check_parameters(ACCOUNT, REGION)
    ssm = aws.client("ssm")
    try:
        found = ssm.get_parameter(Name=f"{PARAMETERS}/{name}")["Parameter"]
    except ssm.exceptions.ParameterNotFound:
        return None
    assert (found["Type"], found["DataType"]) == ("String", "aws:ec2:image")
    return str(found["Value"])


def without(policy: Sequence[Mapping[str, Any]], sid: str) -> list[Mapping[str, Any]]:
    """Return a policy without one statement."""
    return [statement for statement in policy if statement["Sid"] != sid]


def results(answer: Mapping[str, Any], task: str) -> list[str]:
    """Return the outcomes of one task in the answer of a sweep."""
    return [result["outcome"] for result in answer["results"] if result.get("importTaskId") == task]


def test_an_import_is_tagged_and_found_by_its_events(aws: LocalAws, notifications: Notifications) -> None:
    """The events tag the AMI and the snapshots of all disks, and write the parameter, which the notification names."""
    task = aws.import_vm("exports", ["both-1.4.2-disk1.vmdk", "both-1.4.2-disk2.vmdk"], UBUNTU, {"Team": "a", "X": "y"})
    finish_imports(aws)
    ami, *snapshots = imported(aws, task)
    assert len(snapshots) == 2
    for id_ in (ami, *snapshots):
        found = tags(aws, id_)
        assert (found["Name"], found["Team"]) == ("both 1.4.2", "a")
        assert found["vm-image-import:image"].endswith(":image/both/1.4.2/1")
        assert found["vm-image-import:task-id"] == task
        assert not {"X", "CreatedBy"} & found.keys()
    assert parameter(aws, "both") == ami
    ((_, _, text),) = notifications.about(task)
    assert f"Parameter: {PARAMETERS}/both" in text
    for id_ in (ami, *snapshots):
        assert id_ in text
    # The first one reads the parameter back.
    invoke(aws, SWEEP)
    assert results(invoke(aws, SWEEP), task) == []


def test_a_lost_event_is_made_up_for_by_sweeps(aws: LocalAws) -> None:
    """Without an event, sweeps tag the AMI and write the parameter, and then have nothing left to do."""
    task = start_import(aws, "exports/lost-1.0.ova")
    finish_imports_without_events(aws)
    aws.fire_schedules()
    finish_imports_without_events(aws)
    aws.fire_schedules()
    ami, snapshot = imported(aws, task)
    assert tags(aws, ami)["Name"] == tags(aws, snapshot)["Name"] == "lost 1.0.0"
    assert parameter(aws, "lost") == ami
    invoke(aws, SWEEP)
    assert results(invoke(aws, SWEEP), task) == []


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("sid", "name", "step"),
    [("ReadTags", "unread", "tag"), ("TagAmis", "untagged", "tag"), ("WriteParameters", "unwritten", "parameter")],
)
def test_a_refused_permission_does_not_stop_anything(  # noqa: PLR0913, PLR0917 - fixtures
    aws: LocalAws,
    role: str,
    policy: list[dict[str, Any]],
    notifications: Notifications,
    sid: str,
    name: str,
    step: str,
) -> None:
    """Without a permission, the import is registered and available; the problem is reported once, and can be fixed."""
    replace_policy(aws, role, without(policy, sid))
    try:
        task = start_import(aws, f"exports/{name}-1.0.ova")
        finish_imports(aws)
        for _ in range(3):
            answer = invoke(aws, SWEEP)
            steps = [each.get("step") for each in answer["results"] if each.get("importTaskId") == task]
            assert step in steps
    finally:
        replace_policy(aws, role, policy)
    assert [kind for kind, _, _ in notifications.about(f"{name}/1.0.0/1")] == ["FOLLOW_UP_FAILED", "IMAGE_AVAILABLE"]
    for _ in range(2):
        invoke(aws, SWEEP)
    ami, snapshot = imported(aws, task)
    assert tags(aws, ami)["Name"] == tags(aws, snapshot)["Name"] == f"{name} 1.0.0"
    assert parameter(aws, name) == ami
    assert results(invoke(aws, SWEEP), task) == []


def test_an_image_that_is_deprecated_meanwhile_does_not_win(aws: LocalAws) -> None:
    """An image that is deprecated before the next sweep looks at it leaves the parameter to the version before it."""
    first = start_import(aws, "exports/withdrawn-1.0.ova")
    finish_imports(aws)
    start_import(aws, "exports/withdrawn-2.0.ova")
    finish_imports_without_events(aws)
    aws.fire_schedules()
    finish_imports_without_events(aws)
    (image,) = (each for each in images() if "/withdrawn/2.0.0/" in each.arn)
    image.state = {"status": "DEPRECATED"}
    for _ in range(2):
        aws.fire_schedules()
    assert parameter(aws, "withdrawn") == imported(aws, first)[0]


def test_an_image_that_is_deprecated_after_it_was_found_loses(aws: LocalAws) -> None:
    """The sweep that reads a written parameter back puts the version before a deprecated one into it."""
    first = start_import(aws, "exports/recalled-1.0.ova")
    finish_imports(aws)
    start_import(aws, "exports/recalled-2.0.ova")
    finish_imports(aws)
    (image,) = (each for each in images() if "/recalled/2.0.0/" in each.arn)
    image.state = {"status": "DISABLED"}
    for _ in range(2):
        aws.fire_schedules()
    assert parameter(aws, "recalled") == imported(aws, first)[0]


def test_an_ami_that_is_gone_is_reported_once(aws: LocalAws, notifications: Notifications) -> None:
    """Where the newest AMI of a name was deregistered, the parameter is not written, and one notification says why."""
    task = start_import(aws, "exports/vanished-1.0.ova")
    finish_imports(aws)
    aws.client("ssm").delete_parameter(Name=f"{PARAMETERS}/vanished")
    aws.client("ec2").deregister_image(ImageId=imported(aws, task)[0])
    # Until then EC2 may show the AMI later.
    age_records(aws, timedelta(hours=1))
    for _ in range(3):
        aws.fire_schedules()
    assert [kind for kind, _, _ in notifications.about("vanished/1.0.0/1")] == ["IMAGE_AVAILABLE", "FOLLOW_UP_FAILED"]
    assert parameter(aws, "vanished") is None


def test_what_tags_and_parameters_cost(aws: LocalAws) -> None:
    """Tags and the parameter cost nothing before the image is available; then they cost the calls of their steps."""
    # What other imports have left to do.
    finish_imports_without_events(aws)
    for _ in range(4):
        aws.fire_schedules()
    task = start_import(aws, "exports/counted-1.0.ova")
    finish_imports_without_events(aws)
    ami = imported(aws, task)[0]
    image = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image/counted/1.0.0/1"
    detail = {"ImageId": ami, "State": "available"}
    # `increment` takes the version, and the last one follows the image.
    assert len(calls(aws, golden_event("ami-available", detail=detail))) == 7 + 2
    finish_imports_without_events(aws)
    assert calls(aws, golden_event("image-available", resources=[image])) == [
        *("imagebuilder:GetImage", "dynamodb:BatchGetItem", "imagebuilder:GetImage"),
        # Tag the AMI and its snapshot.
        *("ec2:DescribeImages", "ec2:DescribeTags", "dynamodb:UpdateItem", "ec2:DescribeTags", "ec2:CreateTags"),
        "dynamodb:UpdateItem",
        # Write the parameter.
        *("imagebuilder:ListImageBuildVersions", "ssm:GetParameter", "imagebuilder:GetImage", "dynamodb:UpdateItem"),
        *("ssm:GetParameter", "ssm:PutParameter", "dynamodb:UpdateItem"),
        # Notify.
        *("dynamodb:UpdateItem", "sns:Publish", "dynamodb:UpdateItem"),
    ]
    assert parameter(aws, "counted") == ami
    reading_back, idle = Counter(calls(aws, SWEEP)), Counter(calls(aws, SWEEP))
    # Other imports with steps left may need the list of builds, too.
    del reading_back["imagebuilder:ListImageBuildVersions"]
    # The image, the parameter, and the record of the result.
    assert reading_back - idle == Counter({"imagebuilder:GetImage": 1, "ssm:GetParameter": 1, "dynamodb:UpdateItem": 2})


def calls(aws: LocalAws, payload: object) -> list[str]:
    """Return the function's own calls of an invocation, each by the first action that it needs."""
    before = len(iam.authorizations())
    assert "errorType" not in invoke(aws, payload)
    actions = [call.requests[0].action for call in iam.authorizations()[before:]]
    return [action for action in actions if action.partition(":")[0] in OWN_SERVICES]


def images() -> list[image_builder.Image]:
    """Return all images."""
    return image_builder.backends[ACCOUNT][REGION].builds()
