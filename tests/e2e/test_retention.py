"""Retention by name: the marks of the deployed function, and what the lifecycle policy of the stack then deletes."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from local.assembly import synthesize
from local.aws import iam, image_builder, policies, vm_import
from local.aws.local_aws import ACCOUNT, LocalAws
from local.verify import doctor
from local.verify.account import Account
from local.verify.deployment import find
from tests.conftest import PARAMETERS, REGION
from tests.e2e.conftest import (
    Notifications,
    age_records,
    builds,
    finish_imports,
    invoke,
    physical_id,
    replace_policy,
    start_import,
)

pytestmark = pytest.mark.acceptance

SUPERSEDED, DELETE, KEEP = (f"vm-image-import:{name}" for name in ("superseded", "delete", "keep"))
CONFIGURATION = {
    "keepVersions": 2,
    "deleteAfterDays": 30,
    "tagAmis": True,
    "parameterPrefix": PARAMETERS,
    "versionScheme": "increment",
}
STACK = "VmImageImport"


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    """Give a local AWS with the app deployed to it that deletes superseded images after 30 days."""
    with LocalAws() as aws:
        aws.deploy(synthesize(CONFIGURATION), STACK)
        yield aws


@pytest.fixture
def policy_role(aws: LocalAws) -> str:
    """Give the ARN of the lifecycle policy's role."""
    name = physical_id(aws, "AWS::IAM::Role", "Retention")
    return str(aws.client("iam").get_role(RoleName=name)["Role"]["Arn"])


def import_versions(aws: LocalAws, name: str, *versions: str) -> None:
    """Import one version after the other."""
    for version in versions:
        start_import(aws, f"exports/{name}.ova", Name=name, Version=version)
        finish_imports(aws)


def pass_days(aws: LocalAws, days: int) -> None:
    """Let so many days pass, and sweep on the last one only."""
    age_records(aws, timedelta(days=days))
    for image in image_builder.backends[ACCOUNT][REGION].builds():
        image.created = (datetime.fromisoformat(image.created) - timedelta(days=days)).isoformat()
        for key, value in image.tags.items():
            if key in {SUPERSEDED, DELETE} and value[:2] == "20":
                image.tags[key] = str(datetime.fromisoformat(value).date() - timedelta(days=days))
    aws.fire_schedules()


def marks(aws: LocalAws, name: str) -> dict[str, set[str]]:
    """Return the marks of each version and build of a name that has some, as the last parts of their keys."""
    found = {
        image["version"]: {key.rpartition(":")[2] for key in image["tags"] if key in {SUPERSEDED, DELETE}}
        for image in builds(aws, name)
    }
    return {version: keys for version, keys in found.items() if keys}


def versions(aws: LocalAws, name: str) -> list[str]:
    """Return the versions of a name that exist."""
    return sorted(image["version"] for image in builds(aws, name))


def tag(aws: LocalAws, name: str, version: str, **tags: str) -> None:
    """Tag an image as an operator does."""
    (arn,) = (image["arn"] for image in builds(aws, name) if image["version"] == version)
    aws.client("imagebuilder").tag_resource(
        resourceArn=arn, tags={f"vm-image-import:{key}": value for key, value in tags.items()}
    )


def set_status(name: str, version: str, status: str) -> None:
    """Set the state of an image."""
    for image in image_builder.backends[ACCOUNT][REGION].builds():
        if f"/{name}/{version}" in image.arn:
            image.state = {"status": status}


def ami_ids(aws: LocalAws) -> set[str]:
    """Return the AMIs of the account."""
    return {ami["ImageId"] for ami in aws.client("ec2").describe_images(Owners=["self"])["Images"]}


def ami_of(aws: LocalAws, name: str, version: str) -> str:
    """Return the AMI of an image."""
    (image,) = (image for image in builds(aws, name) if image["version"] == version)
    return str(image["outputResources"]["amis"][0]["image"])


def snapshots_of(aws: LocalAws, ami_id: str) -> list[str]:
    """Return the snapshots of an AMI."""
    (ami,) = aws.client("ec2").describe_images(ImageIds=[ami_id])["Images"]
    return [disk["Ebs"]["SnapshotId"] for disk in ami["BlockDeviceMappings"]]


def snapshot_ids(aws: LocalAws) -> set[str]:
    """Return the snapshots of the account."""
    return {each["SnapshotId"] for each in aws.client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]}


def test_a_superseded_image_is_marked_announced_and_deleted(aws: LocalAws, notifications: Notifications) -> None:
    """A superseded image is announced a week before, and goes with its AMI and snapshots 30 days after its mark."""
    import_versions(aws, "whole", "1.10.0", "1.9.0", "2.0.0")
    ami = ami_of(aws, "whole", "1.9.0/1")
    snapshots = snapshots_of(aws, ami)
    pass_days(aws, 1)
    assert marks(aws, "whole") == {"1.9.0/1": {"superseded"}}
    pass_days(aws, 22)
    assert marks(aws, "whole") == {"1.9.0/1": {"superseded"}}
    assert not notifications.about("whole/1.9.0/1 (")
    pass_days(aws, 1)
    due = (datetime.now(UTC) + timedelta(days=7)).date()
    ((outcome, subject, text),) = notifications.about(f"whole/1.9.0/1 ({ami})")
    assert (outcome, subject) == ("RETENTION", "Deletion of superseded images")
    assert f"whole/1.9.0/1 ({ami}): from {due} on." in text
    aws.run_lifecycle_policies()
    assert len(versions(aws, "whole")) == 3
    pass_days(aws, 7)
    assert {action.status for action in aws.run_lifecycle_policies()} == {"SUCCESS"}
    assert versions(aws, "whole") == ["1.10.0/1", "2.0.0/1"]
    assert ami not in ami_ids(aws)
    assert not {*snapshots} & snapshot_ids(aws)
    aws.fire_schedules()
    assert marks(aws, "whole") == {}


def test_the_dry_run_shows_what_is_deleted_and_when(aws: LocalAws) -> None:
    """A dry run of the sweep names each superseded image with its day, and marks nothing."""
    import_versions(aws, "shown", "1.0.0", "2.0.0", "3.0.0")
    answer = invoke(aws, {"action": "sweep", "dryRun": True})
    (result,) = (each for each in answer["results"] if "/shown/" in each.get("imageArn", ""))
    due = (datetime.now(UTC) + timedelta(days=30)).date()
    assert (result["outcome"], result["imageArn"][-7:]) == ("RETENTION", "1.0.0/1")
    assert result["reason"] == f"The next pass marks it as superseded. It may be deleted from {due} on."
    assert marks(aws, "shown") == {}


def test_the_verification_shows_what_is_deleted_and_when(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make verify CHECK=deployment` shows of each superseded image since when it is, and when it may be deleted."""
    import_versions(aws, "examined", "1.0.0", "2.0.0", "3.0.0")
    pass_days(aws, 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint_url)
    account, now = (
        Account(boto3.Session(aws_access_key_id=aws.access_key, aws_secret_access_key="-")),
        datetime.now(UTC),
    )
    rows = doctor.images(account, find(account, STACK), now)
    due = (now + timedelta(days=30)).date()
    assert {row.version: row.retention for row in rows if row.name == "examined"} == {
        "3.0.0/1": "",
        "2.0.0/1": "",
        "1.0.0/1": f"It is superseded since {now.date()}. It may be deleted from {due} on.",
    }


def test_a_pass_is_made_once_a_day(aws: LocalAws) -> None:
    """What is imported after the pass of the day is marked on the next day."""
    aws.fire_schedules()
    import_versions(aws, "daily", "1.0.0", "2.0.0", "3.0.0")
    aws.fire_schedules()
    assert marks(aws, "daily") == {}
    pass_days(aws, 1)
    assert marks(aws, "daily") == {"1.0.0/1": {"superseded"}}


def test_each_name_keeps_its_own_versions(aws: LocalAws) -> None:
    """Versions of one name supersede none of another, also where `increment` gives them."""
    import_versions(aws, "stated", "1.0.0", "2.0.0", "3.0.0")
    import_versions(aws, "fewer", "8.0.0", "9.0.0")
    for _ in range(3):
        start_import(aws, "exports/counted.ova")
        finish_imports(aws)
    pass_days(aws, 1)
    assert versions(aws, "counted") == ["1.0.0/1", "1.0.1/1", "1.0.2/1"]
    assert marks(aws, "stated") == marks(aws, "counted") == {"1.0.0/1": {"superseded"}}
    assert marks(aws, "fewer") == {}


def test_older_builds_of_a_kept_version_go_with_their_own_ami_only(aws: LocalAws) -> None:
    """An older build is superseded, unless it has the AMI of a build that stays, as after "force"."""
    import_versions(aws, "built", "1.0.0", "1.0.0")
    task = start_import(aws, "exports/built.ova", Name="forced", Version="1.0.0")
    finish_imports(aws)
    assert invoke(aws, {"importTaskId": task, "force": True})["outcome"] == "REGISTERED"
    finish_imports(aws)
    pass_days(aws, 1)
    assert len(builds(aws, "forced")) == 2
    assert (marks(aws, "built"), marks(aws, "forced")) == ({"1.0.0/1": {"superseded"}}, {})


def test_a_deprecated_or_deleted_newest_version(aws: LocalAws) -> None:
    """A deprecated newest version is not marked and supersedes nothing; without the newest one a mark is removed."""
    import_versions(aws, "newest", "1.0.0", "2.0.0", "3.0.0")
    pass_days(aws, 1)
    assert marks(aws, "newest") == {"1.0.0/1": {"superseded"}}
    set_status("newest", "3.0.0", "DEPRECATED")
    pass_days(aws, 1)
    assert marks(aws, "newest") == {}
    set_status("newest", "3.0.0", "AVAILABLE")
    pass_days(aws, 1)
    assert marks(aws, "newest") == {"1.0.0/1": {"superseded"}}
    backend = image_builder.backends[ACCOUNT][REGION]
    backend.images = {arn: image for arn, image in backend.images.items() if "/newest/3.0.0/" not in arn}
    pass_days(aws, 1)
    assert marks(aws, "newest") == {}


@pytest.mark.parametrize("kept_by", ["tag", "parameter"])
def test_a_pinned_image_stays(aws: LocalAws, kept_by: str) -> None:
    """An image with the tag `vm-image-import:keep`, and one whose AMI the parameter names, loses its marks."""
    name = f"pinned-{kept_by}"
    import_versions(aws, name, "1.0.0", "2.0.0", "3.0.0")
    pass_days(aws, 1)
    assert marks(aws, name) == {"1.0.0/1": {"superseded"}}
    if kept_by == "tag":
        tag(aws, name, "1.0.0/1", keep="for the audit")
    else:
        ami = ami_of(aws, name, "1.0.0/1")
        aws.client("ssm").put_parameter(Name=f"{PARAMETERS}/{name}", Value=ami, Overwrite=True)
    pass_days(aws, 40)
    assert marks(aws, name) == {}


def test_marks_that_were_removed_are_set_anew(aws: LocalAws) -> None:
    """A mark that an operator removes is set with the new day, so that the time of the image begins again."""
    import_versions(aws, "removed", "1.0.0", "2.0.0", "3.0.0")
    pass_days(aws, 1)
    pass_days(aws, 25)
    assert marks(aws, "removed") == {"1.0.0/1": {"superseded", "delete"}}
    (arn,) = (image["arn"] for image in builds(aws, "removed") if image["version"] == "1.0.0/1")
    aws.client("imagebuilder").untag_resource(resourceArn=arn, tagKeys=[SUPERSEDED])
    pass_days(aws, 7)
    aws.run_lifecycle_policies()
    (image,) = (image for image in builds(aws, "removed") if image["version"] == "1.0.0/1")
    assert image["tags"].get(SUPERSEDED) == str(datetime.now(UTC).date())
    assert DELETE not in image["tags"]


def test_a_tag_of_others_is_removed_and_reported(aws: LocalAws, notifications: Notifications) -> None:
    """The tag for the deletion of an image that is not superseded is removed by the next pass and reported."""
    import_versions(aws, "forged", "1.0.0", "2.0.0")
    tag(aws, "forged", "2.0.0/1", superseded="2020-01-01", delete="yes")
    pass_days(aws, 1)
    assert marks(aws, "forged") == {}
    assert [outcome for outcome, *_ in notifications.about("forged/2.0.0/1 (ami")] == ["RETENTION"]


@pytest.mark.parametrize(("why", "stays"), [("launched 29", True), ("launched 31", False), ("tagged", True)])
def test_an_ami_in_use_stays(aws: LocalAws, why: str, *, stays: bool) -> None:
    """The policy leaves an AMI that was launched in the last 30 days, and one with the tag `vm-image-import:keep`."""
    name = f"used-{why.replace(' ', '-')}"
    import_versions(aws, name, "1.0.0", "2.0.0", "3.0.0")
    ami = ami_of(aws, name, "1.0.0/1")
    ec2 = vm_import.backends[ACCOUNT][REGION].ec2
    days = why.partition(" ")[2]
    if days:
        vars(ec2.amis[ami])["last_launched"] = datetime.now(UTC) - timedelta(days=int(days))
    else:
        ec2.create_tags([ami], {KEEP: "yes"})
    pass_days(aws, 1)
    pass_days(aws, 30)
    pass_days(aws, 7)
    left = ("SKIPPED", ami) in {(action.status, action.resource) for action in aws.run_lifecycle_policies()}
    assert left == stays == (ami in ami_ids(aws))


@pytest.mark.parametrize(
    "action",
    [
        *("tag:GetResources", "ec2:DescribeImages", "imagebuilder:DeleteImage", "ec2:DescribeImageAttribute"),
        *("ec2:DeregisterImage", "ec2:DeleteSnapshot"),
    ],
)
def test_the_policy_needs_each_of_its_rights(aws: LocalAws, policy_role: str, action: str) -> None:
    """Without one of its actions the policy's execution has failed, and the failure names the action."""
    name = f"denied-{action.rpartition(':')[2].lower()}"
    import_versions(aws, name, "1.0.0", "2.0.0", "3.0.0")
    pass_days(aws, 1)
    pass_days(aws, 30)
    pass_days(aws, 7)
    statements = [dict(each) for each in iam.role_statements(policy_role)]
    rest = [{**each, "Action": [one for one in _list(each["Action"]) if one != action]} for each in statements]
    replace_policy(aws, policy_role, [each for each in rest if each["Action"]])
    try:
        failed = [each for each in aws.run_lifecycle_policies() if each.status == "FAILED"]
    finally:
        replace_policy(aws, policy_role, statements)
    assert failed
    assert all(f"to perform: {action} on" in each.reason for each in failed)
    aws.run_lifecycle_policies()


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_the_policy_deletes_nothing_else(policy_role: str) -> None:
    """The role of the policy cannot delete what lacks the tags of this system, or has the tag `keep`."""
    statements = iam.role_statements(policy_role)
    made = {"aws:ResourceTag/vm-image-import:task-id": "import-ami-0123456789"}
    owner = {"ec2:Owner": ACCOUNT}
    due = {**made, "aws:ResourceTag/vm-image-import:delete": "yes"}
    image = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image/web/1.0.0/1"
    allowed = {
        "imagebuilder:DeleteImage": (image, due),
        "ec2:DeregisterImage": (f"arn:aws:ec2:{REGION}::image/ami-1", {**owner, **made}),
        "ec2:DeleteSnapshot": (f"arn:aws:ec2:{REGION}::snapshot/snap-1", {**owner, **made}),
    }
    for action, (resource, context) in allowed.items():
        assert policies.allows(statements, policies.AuthorizationRequest(action, resource, context))
        kept = {**context, "aws:ResourceTag/vm-image-import:keep": "yes"}
        fewer = [{key: value for key, value in context.items() if key != left} for left in context]
        other = [{**context, key: "other"} for key in context]
        for wrong in (kept, *fewer, *other):
            assert not policies.allows(statements, policies.AuthorizationRequest(action, resource, wrong)), (
                action,
                wrong,
            )
    assert {action for each in statements for action in _list(each["Action"])} == {
        *allowed,
        *("ec2:DescribeImages", "ec2:DescribeImageAttribute", "tag:GetResources"),
    }


def test_the_function_deletes_nothing(role: str) -> None:
    """The role of the function may not delete anything of Image Builder or EC2, and removes its two marks only."""
    statements = iam.role_statements(role)
    granted = {action for each in statements for action in _list(each["Action"])}
    assert {action for action in granted if "Delete" in action or "Untag" in action or "Deregister" in action} == {
        "dynamodb:DeleteItem",
        "imagebuilder:UntagResource",
    }
    arn = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image/web/1.0.0/1"
    own = {"aws:ResourceTag/vm-image-import:task-id": "import-ami-0123456789"}
    for keys, tags, is_allowed in (
        ([SUPERSEDED, DELETE], own, True),
        ([DELETE], own, True),
        ([DELETE, KEEP], own, False),
        ([KEEP], own, False),
        (["Team"], own, False),
        ([DELETE], {}, False),
        ([DELETE], {"aws:ResourceTag/vm-image-import:task-id": "another"}, False),
    ):
        request = policies.AuthorizationRequest("imagebuilder:UntagResource", arn, {"aws:TagKeys": keys, **tags})
        assert policies.allows(statements, request) == is_allowed, request


def test_a_denied_mark_is_reported_once_and_tried_again(aws: LocalAws, role: str, notifications: Notifications) -> None:
    """Without the right to tag, one notification names the right; with it, the next sweep marks the image."""
    import_versions(aws, "denied", "1.0.0", "2.0.0", "3.0.0")
    statements = [dict(each) for each in iam.role_statements(role)]
    replace_policy(aws, role, [each for each in statements if each["Sid"] != "TagImages"])
    try:
        pass_days(aws, 1)
        for _ in range(3):
            aws.fire_schedules()
    finally:
        replace_policy(aws, role, statements)
    # It is about the first image that AWS refused, which may be another test's.
    reported = [text for outcome, _, text in notifications.about("/") if outcome == "RETENTION_FAILED"]
    assert len(reported) == 1
    assert "imagebuilder:TagResource" in reported[0]
    assert marks(aws, "denied") == {}
    aws.fire_schedules()
    assert marks(aws, "denied") == {"1.0.0/1": {"superseded"}}


def test_another_number_of_versions_applies_with_the_next_sweep(aws: LocalAws) -> None:
    """With a raised number marks are removed, with a lowered one set; without one nothing changes any more."""
    import_versions(aws, "number", "1.0.0", "2.0.0", "3.0.0")
    pass_days(aws, 1)
    function, lambda_ = physical_id(aws, "AWS::Lambda::Function"), aws.client("lambda")
    variables = lambda_.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    found: dict[str, Any] = {}
    try:
        for number in ("3", "1", "null"):
            changed = {**variables, "KEEP_VERSIONS": number}
            lambda_.update_function_configuration(FunctionName=function, Environment={"Variables": changed})
            aws.fire_schedules()
            found[number] = marks(aws, "number")
    finally:
        lambda_.update_function_configuration(FunctionName=function, Environment={"Variables": variables})
    marked = {version: {"superseded"} for version in ("1.0.0/1", "2.0.0/1")}
    assert found == {"3": {}, "1": marked, "null": marked}
    assert json.dumps(CONFIGURATION["keepVersions"]) == variables["KEEP_VERSIONS"]
