"""Tagging the AMI of an available image, and its snapshots."""

import pytest

from tests.unit.fakes import AMI, ARN, AVAILABLE, TASK, TASK_ID, InMemoryAws, version_arn
from vm_image_import.derive import tags
from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.errors import PermanentError
from vm_image_import.domain.outcomes import OutcomeKind
from vm_image_import.report.log import metrics
from vm_image_import.settings import Settings

SNAPSHOTS = ("snap-1", "snap-2")
DISKS = AMI._replace(snapshot_ids=SNAPSHOTS)
ALL = (AMI.id, *SNAPSHOTS)
SETTINGS = Settings(tag_amis=True)


def registered(arn: str = ARN, **changes: object) -> InMemoryAws:
    """Return AWS with a registered import of two disks, whose image is available, and tagging switched on."""
    defaults = {"task": TASK, "ami": DISKS, "image": AVAILABLE, "settings": SETTINGS}
    aws = InMemoryAws(**{**defaults, **changes})  # type: ignore[arg-type]
    aws.put_registration(arn=arn)
    return aws


@pytest.mark.parametrize(
    ("settings", "task_tags", "added"),
    [
        ({}, {"Name": "Web", "Team": "shop"}, {}),
        ({"ami_tag_keys": ["Team", "Cost"]}, {"Team": "shop", "Other": "x"}, {"Team": "shop"}),
        ({"ami_tag_keys": ["Name", "vm-image-import:task-id"]}, {"Name": "x", "vm-image-import:task-id": "x"}, {}),
        ({"ami_tag_keys": ["Team"], "tags": {"Team": "web", "A": "b"}}, {"Team": "shop"}, {"Team": "web", "A": "b"}),
        ({"ami_tag_keys": ["team"], "tags": {"Team": "web"}}, {"team": "shop"}, {"Team": "web"}),
        ({"tags": {"CreatedBy": "EC2 Image Builder"}}, {}, {}),
        ({"ami_tag_keys": ["CreatedBy"]}, {"CreatedBy": "EC2 Image Builder"}, {}),
        ({"tags": {"k" * 128: "too long for EC2", "k" * 127: "v"}}, {}, {"k" * 127: "v"}),
    ],
    ids=["none", "listed", "own names", "configured", "another case", "CreatedBy", "CreatedBy listed", "long keys"],
)
def test_the_tags_of_an_ami(settings: dict[str, object], task_tags: dict[str, str], added: dict[str, str]) -> None:
    """An AMI gets name, version, provenance, the image, the configured tags, and the listed ones of the task."""
    configured = SETTINGS._replace(**settings)  # type: ignore[arg-type]
    assert tags.of_ami(TASK._replace(tags=task_tags), AMI, BuildArn.parse(ARN), configured) == {
        "Name": "web-server 1.4.2",
        "vm-image-import:task-id": TASK_ID,
        "vm-image-import:ami-id": AMI.id,
        "vm-image-import:source": "s3://b/web-server-1.4.2.ova",
        "vm-image-import:image": ARN,
        **added,
    }


def test_nothing_is_tagged_by_default() -> None:
    """Without `tagAmis`, no tag is read or created."""
    aws = registered(settings=Settings())
    assert aws.on_image_event().tagged == []
    assert [call for call in aws.calls if "tags" in call] == []


def test_an_available_image_has_its_ami_tagged() -> None:
    """The AMI and its snapshots are tagged before the notification, which names them, and once."""
    aws = registered()
    outcome = aws.on_image_event()
    assert (outcome.kind, outcome.tagged) == (OutcomeKind.IMAGE_AVAILABLE, [*ALL])
    assert [call for call in aws.calls if "create_tags" in call] == [f"create_tags {' '.join(ALL)}"]
    assert {aws.tags[id_]["Name"] for id_ in ALL} == {"web-server 1.4.2"}
    assert f"Tagged: {', '.join(ALL)}" in aws.published[0].message
    aws.calls.clear()
    aws.sweep()
    assert aws.calls == []


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "DELETED", "PENDING"])
def test_an_image_that_is_not_available_is_not_tagged(status: str) -> None:
    """The AMI of an image that failed, was deleted, or is in progress, gets no tag."""
    aws = registered(image=AVAILABLE._replace(status=status))
    aws.on_image_event()
    assert aws.tags == {}


def test_a_tag_of_others_stays() -> None:
    """A tag that another user set keeps its value, on the AMI or on one snapshot, and the others are added."""
    aws = registered(tags={"snap-1": {"Name": "mine"}})
    aws.on_image_event()
    assert {id_: aws.tags[id_]["Name"] for id_ in ALL} == {
        AMI.id: "web-server 1.4.2",
        "snap-1": "mine",
        "snap-2": "web-server 1.4.2",
    }
    assert aws.registration().results["tag"] == f"{AMI.id} snap-2"
    assert {aws.tags[id_]["vm-image-import:image"] for id_ in ALL} == {ARN}


@pytest.mark.parametrize(
    ("before", "name", "image"),
    [
        (version_arn("1.4.2", build=1), "web-server 1.4.2", "new"),
        (version_arn("9.9.9", "wrong"), "web-server 1.4.2", "new"),
        (version_arn("1.4.2", build=3), "web-server 1.4.2", "old"),
        ("no ARN", None, "old"),
    ],
    ids=["an older build", "another name", "a newer build", "a value of others"],
)
def test_values_of_an_earlier_image_are_replaced(before: str, name: str | None, image: str) -> None:
    """The tags that an earlier image of the AMI gave it are replaced, and those of a newer build stay."""
    own = version_arn("1.4.2", build=2)
    earlier = {"vm-image-import:image": before, "vm-image-import:task-id": TASK_ID}
    if name:
        earlier["Name"] = f"{BuildArn.parse(before).name} {BuildArn.parse(before).version}"
    aws = registered(arn=own, ami=AMI, tags={AMI.id: dict(earlier)})
    aws.on_image_event(own)
    assert aws.tags[AMI.id]["vm-image-import:image"] == (own if image == "new" else before)
    assert aws.tags[AMI.id].get("Name") == "web-server 1.4.2"


def test_a_renamed_import_keeps_its_new_name() -> None:
    """The steps of the first registration, run late, do not take back the tags of a forced one with another name."""
    aws = registered()
    renamed = version_arn("1.4.2", "database")
    aws.put_registration(f"{TASK_ID} 1", arn=renamed)
    for arn in (renamed, ARN):
        aws.on_image_event(arn)
    assert {aws.tags[id_]["Name"] for id_ in ALL} == {"database 1.4.2"}
    assert {aws.tags[id_]["vm-image-import:image"] for id_ in ALL} == {renamed}


def test_an_import_that_is_renamed_later_gets_its_new_name() -> None:
    """A forced registration with another name replaces the tags that the first one gave the AMI and its snapshots."""
    aws = registered()
    aws.on_image_event()
    renamed = version_arn("1.4.2", "database")
    aws.put_registration(f"{TASK_ID} 1", arn=renamed)
    aws.on_image_event(renamed)
    assert {aws.tags[id_]["Name"] for id_ in ALL} == {"database 1.4.2"}
    assert {aws.tags[id_]["vm-image-import:image"] for id_ in ALL} == {renamed}


def test_a_changed_name_stays_when_the_image_is_replaced() -> None:
    """A name that another user gave the AMI meanwhile is not replaced with the image."""
    own = version_arn("1.4.2", build=2)
    aws = registered(arn=own, ami=AMI, tags={AMI.id: {"vm-image-import:image": ARN, "Name": "mine"}})
    aws.on_image_event(own)
    assert (aws.tags[AMI.id]["Name"], aws.tags[AMI.id]["vm-image-import:image"]) == ("mine", own)


@pytest.mark.parametrize(("there", "added"), [(45, 5), (47, 3), (50, 0)])
def test_no_more_tags_than_fit(there: int, added: int) -> None:
    """A resource gets as many of its tags as it has room for; AWS's own tags do not count."""
    full = {f"k{number}": "" for number in range(there)} | {"aws:created": "x"}
    aws = registered(ami=AMI, tags={AMI.id: full})
    aws.on_image_event()
    assert [*aws.tags[AMI.id]][len(full) :] == [
        *("Name", "vm-image-import:image", "vm-image-import:task-id", "vm-image-import:ami-id"),
        "vm-image-import:source",
    ][:added]


@pytest.mark.parametrize(
    ("missing", "left"), [({"snap-1"}, [AMI.id, "snap-2"]), ({AMI.id}, [*SNAPSHOTS]), ({*ALL}, [])]
)
def test_what_is_gone_is_no_failure(missing: set[str], left: list[str]) -> None:
    """What does not exist is left out, and the rest is tagged."""
    aws = registered(gone=missing)
    outcome = aws.on_image_event()
    assert (outcome.kind, outcome.tagged) == (OutcomeKind.IMAGE_AVAILABLE, left)
    assert aws.sweep().outcomes == []


def test_a_refused_permission_is_reported_and_tried_again() -> None:
    """What cannot be tagged is reported once for each kind of problem, and tagged when it is fixed."""
    call = " ".join(ALL)
    aws = registered(errors={call: PermanentError("denied 1", "UnauthorizedOperation")})
    aws.on_image_event()
    assert [(outcome.kind, outcome.is_new) for outcome in aws.outcomes] == [
        (OutcomeKind.FOLLOW_UP_FAILED, True),
        (OutcomeKind.IMAGE_AVAILABLE, True),
    ]
    aws.errors = {call: PermanentError("denied 2", "UnauthorizedOperation")}
    assert [outcome.is_new for outcome in aws.sweep().outcomes] == [False]
    aws.errors = {}
    assert [outcome.tagged for outcome in aws.sweep().outcomes] == [[*ALL]]
    assert aws.sweep().outcomes == []


def test_only_what_is_tagged_is_counted() -> None:
    """The metric counts AMIs to which a tag was added, and not those that had all of them."""
    aws = registered()
    aws.on_image_event()
    aws.put_registration(results={"follow": "AVAILABLE", "notify": "IMAGE_AVAILABLE"})
    aws.sweep()
    assert aws.registration().results["tag"] == " ".join(ALL)
    assert metrics.metric_set["AmisTagged"]["Value"] == [1.0]


def test_an_ami_of_many_disks_is_tagged() -> None:
    """An invocation of five minutes has time to tag the AMI of any number of disks."""
    disks = tuple(f"snap-{number}" for number in range(40))
    aws = registered(ami=AMI._replace(snapshot_ids=disks))
    aws.sweep()
    assert aws.tags.keys() == {AMI.id, *disks}
