"""Tagging the AMI of an import and its snapshots."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.unit.fakes import AMI, ARN, REGISTERED, TASK, TASK_ID, InMemoryAws
from vm_image_import import observability
from vm_image_import.derive import tags
from vm_image_import.errors import PermanentError, TransientError
from vm_image_import.idempotency.records import IdempotencyKey, Registration, RegistrationId, parse_registration
from vm_image_import.models import Image, OutcomeKind
from vm_image_import.settings import Settings

SNAPSHOTS = ("snap-1", "snap-2")
DISKS = replace(AMI, snapshot_ids=SNAPSHOTS)
ALL = (AMI.id, *SNAPSHOTS)
SETTINGS = Settings(tag_amis=True)
RECORD = Registration(ARN, AMI.id).to_json()
TAGGED = IdempotencyKey("tagged", TASK_ID)


@pytest.fixture(autouse=True)
def _no_metrics_left() -> Iterator[None]:
    """Begin and end without metrics that nothing flushes."""
    observability.metrics.clear_metrics()
    yield
    observability.metrics.clear_metrics()


def aws_with(**changes: object) -> InMemoryAws:
    """Return AWS with a completed import of two disks, and tagging switched on."""
    return InMemoryAws(**{"task": TASK, "ami": DISKS, "settings": SETTINGS, **changes})  # type: ignore[arg-type]


def registered(**changes: object) -> InMemoryAws:
    """Return AWS with an import that is registered and whose AMI is not tagged, and with its image deleted."""
    records = {REGISTERED: RECORD, IdempotencyKey("terminal", ARN): "DELETED"}
    return aws_with(records=records, **changes)


def record(aws: InMemoryAws) -> Registration:
    """Return the record of the registration."""
    return parse_registration(RegistrationId(TASK_ID), aws.records[REGISTERED])


@pytest.mark.parametrize(
    ("settings", "task_tags", "added"),
    [
        ({}, {"Name": "Web", "Team": "shop"}, {}),
        ({"ami_tag_keys": ["Team", "Cost"]}, {"Team": "shop", "Other": "x"}, {"Team": "shop"}),
        ({"ami_tag_keys": ["Name", "vm-image-import:task-id"]}, {"Name": "x", "vm-image-import:task-id": "x"}, {}),
        ({"ami_tag_keys": ["Team"], "tags": {"Team": "web", "A": "b"}}, {"Team": "shop"}, {"Team": "shop", "A": "b"}),
        ({"tags": {"CreatedBy": "EC2 Image Builder"}}, {}, {}),
        ({"ami_tag_keys": ["CreatedBy"]}, {"CreatedBy": "EC2 Image Builder"}, {}),
        ({"tags": {"k" * 128: "too long for EC2", "k" * 127: "v"}}, {}, {"k" * 127: "v"}),
    ],
    ids=["none", "listed", "own names", "listed before configured", "CreatedBy", "CreatedBy listed", "long keys"],
)
def test_the_tags_of_an_ami(settings: dict[str, object], task_tags: dict[str, str], added: dict[str, str]) -> None:
    """An AMI gets name, version, provenance, the image, the configured tags, and the listed ones of the task."""
    configured = replace(SETTINGS, **settings)  # type: ignore[arg-type]
    assert tags.of_ami(replace(TASK, tags=task_tags), AMI, ARN, configured) == {
        "Name": "web-server 1.4.2",
        "vm-image-import:task-id": TASK_ID,
        "vm-image-import:ami-id": AMI.id,
        "vm-image-import:source": "s3://b/web-server-1.4.2.ova",
        "vm-image-import:image": ARN,
        **added,
    }


def test_nothing_is_tagged_by_default() -> None:
    """Without `tagAmis`, neither an event nor a sweep reads or creates a tag."""
    aws = registered(settings=Settings())
    aws.sweep()
    aws.records.clear()
    assert aws.on_event().tagged == ()
    assert [call for call in aws.calls if "tags" in call] == []


def test_a_registration_tags_the_ami_and_its_snapshots() -> None:
    """A registration tags all of them at once, records and answers it; the next sweep has nothing to do."""
    aws = aws_with()
    outcome = aws.on_event()
    assert (outcome.kind, outcome.tagged) == (OutcomeKind.REGISTERED, ALL)
    assert [call for call in aws.calls if "tags" in call] == [
        f"find_tags {' '.join(ALL)}",
        f"create_tags {' '.join(ALL)}",
    ]
    assert {aws.tags[id_]["Name"] for id_ in ALL} == {"web-server 1.4.2"}
    assert record(aws).tagged
    aws.records[IdempotencyKey("terminal", ARN)] = "DELETED"
    aws.calls.clear()
    aws.sweep()
    assert aws.calls == []


@pytest.mark.parametrize(
    "error", [PermanentError("denied", "UnauthorizedOperation"), TransientError("slow down"), KeyError("unforeseen")]
)
@pytest.mark.parametrize("call", [" ".join(ALL)])
def test_a_failure_does_not_stop_the_registration(error: Exception, call: str) -> None:
    """Where the AMI cannot be tagged, the image is registered and recorded as not tagged, without a notification."""
    aws = aws_with(errors={call: error})
    outcome = aws.on_event()
    assert (outcome.kind, outcome.tagged) == (OutcomeKind.REGISTERED, ())
    assert aws.published == []
    assert not record(aws).tagged


def test_a_sweep_without_time_leaves_the_tags_to_the_next_one() -> None:
    """A registration near the timeout does not tag; the next sweep does."""
    aws = aws_with(calls_in_time=2)
    aws.sweep()
    assert not record(aws).tagged
    assert aws.tags == {}
    aws.calls_in_time = 100
    aws.sweep()
    assert {*aws.tags} == {*ALL}


def test_a_tag_that_is_there_stays() -> None:
    """A tag keeps its value, on the AMI or on one snapshot, and the others are added."""
    aws = aws_with(tags={"snap-1": {"Name": "mine"}})
    aws.on_event()
    assert {id_: aws.tags[id_]["Name"] for id_ in ALL} == {
        AMI.id: "web-server 1.4.2",
        "snap-1": "mine",
        "snap-2": "web-server 1.4.2",
    }
    assert {aws.tags[id_]["vm-image-import:image"] for id_ in ALL} == {ARN}


@pytest.mark.parametrize(("there", "added"), [(45, 5), (47, 3), (50, 0)])
def test_no_more_tags_than_fit(there: int, added: int) -> None:
    """A resource gets as many of its tags as it has room for; AWS's own tags do not count."""
    full = {f"k{number}": "" for number in range(there)} | {"aws:created": "x"}
    aws = aws_with(tags={AMI.id: full})
    aws.on_event()
    assert [*aws.tags[AMI.id]][len(full) :] == [
        *("Name", "vm-image-import:task-id", "vm-image-import:ami-id", "vm-image-import:source"),
        "vm-image-import:image",
    ][:added]


@pytest.mark.parametrize(("missing", "left"), [({"snap-1"}, (AMI.id, "snap-2")), ({AMI.id}, SNAPSHOTS), ({*ALL}, ())])
def test_what_is_gone_is_no_failure(missing: set[str], left: tuple[str, ...]) -> None:
    """A registration leaves the tags to the sweep where something is not there; the sweep tags what is there."""
    aws = aws_with(gone=missing)
    assert aws.on_event().tagged == ()
    aws.records[IdempotencyKey("terminal", ARN)] = "DELETED"
    (outcome,) = aws.sweep().outcomes
    assert (outcome.kind, outcome.tagged) == (OutcomeKind.ALREADY_REGISTERED, left)
    assert aws.sweep().outcomes == []


def test_an_ami_that_is_gone_needs_no_tags() -> None:
    """The sweep ends where the AMI of a registered image was deregistered."""
    aws = registered(ami=None)
    (outcome,) = aws.sweep().outcomes
    assert (outcome.kind, outcome.tagged) == (OutcomeKind.ALREADY_REGISTERED, ())
    assert aws.sweep().outcomes == []


def test_a_refused_permission_is_one_notification() -> None:
    """What cannot be tagged is reported once for each kind of problem, and tagged when it is fixed."""
    aws = registered(errors={" ".join(ALL): PermanentError("denied 1", "UnauthorizedOperation")})
    first = aws.sweep()
    assert [(outcome.kind, outcome.is_new) for outcome in first.outcomes] == [(OutcomeKind.AMI_NOT_TAGGED, True)]
    aws.errors = {" ".join(ALL): PermanentError("denied 2", "UnauthorizedOperation")}
    assert [outcome.is_new for outcome in aws.sweep().outcomes] == [False]
    aws.errors = {" ".join(ALL): PermanentError("too many", "TagLimitExceeded")}
    assert [outcome.is_new for outcome in aws.sweep().outcomes] == [True]
    assert aws.outcomes_published() == ["AMI_NOT_TAGGED"] * 2
    aws.errors = {}
    assert [outcome.tagged for outcome in aws.sweep().outcomes] == [ALL]
    assert aws.sweep().outcomes == []


def test_a_transient_error_is_a_problem_of_the_sweep() -> None:
    """A transient error is no notification, and the next sweep tags."""
    aws = registered(errors={" ".join(ALL): TransientError("slow down")})
    result = aws.sweep()
    assert result.problems == [f"{TASK_ID}: slow down"]
    assert aws.outcomes_published() == []
    aws.errors = {}
    aws.sweep()
    assert TAGGED in aws.records


def test_another_invocation_is_tagging() -> None:
    """A sweep leaves the tags to the invocation that has claimed them."""
    aws = registered(in_progress={TAGGED})
    assert aws.sweep().outcomes == []
    assert aws.tags == {}


def test_tags_that_another_sweep_has_added_are_not_added_again() -> None:
    """A sweep that finds the operation completed after it listed it does nothing."""
    aws = registered()
    aws.records[TAGGED] = AMI.id
    aws.sweep()
    assert aws.calls == []


def test_an_observing_sweep_tags_nothing() -> None:
    """With `observe`, a sweep tags nothing; an import that is registered manually is tagged."""
    aws = registered(settings=replace(SETTINGS, observe=True))
    aws.sweep()
    assert aws.tags == {}
    aws.records.clear()
    assert aws.manually().tagged == ALL


def test_a_forced_registration_leaves_the_tags_of_the_first() -> None:
    """The second image of an AMI does not change the tags that the first one gave it."""
    aws = aws_with(image=Image(ARN, status="PENDING"))
    aws.on_event()
    before = {id_: {**each} for id_, each in aws.tags.items()}
    assert aws.manually(None, "request-2", force=True).kind is OutcomeKind.REGISTERED
    assert aws.tags == before


def test_only_what_is_tagged_is_counted() -> None:
    """The metric counts AMIs to which a tag was added, and not those that had all of them."""
    aws = aws_with()
    for request_id, force in (("a", False), ("b", True), ("c", True)):
        assert aws.manually(None, request_id, force=force).kind is OutcomeKind.REGISTERED
    assert observability.metrics.metric_set["AmisTagged"]["Value"] == [1.0]
