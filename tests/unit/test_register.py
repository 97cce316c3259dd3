"""The use case: what becomes of an import in every state in which EC2 may show it."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.conftest import Log
from tests.unit.fakes import AMI, ARN, AVAILABLE, NOW, TASK, TASK_ID, InMemoryAws, Item, version_arn
from vm_image_import.deadline import Deadline
from vm_image_import.domain.errors import ClientTokenReusedError, PermanentError, TransientError, UnknownArnError
from vm_image_import.domain.models import Ami, Build, ImportTask, Overrides
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.events import AmiAvailable
from vm_image_import.imports.ami_event import on_ami_event
from vm_image_import.imports.register import register
from vm_image_import.imports.reports import report_once
from vm_image_import.records.registration import Record, RegistrationId
from vm_image_import.report.answers import answer_of
from vm_image_import.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

RUNNING = TASK._replace(image_id=None, status="active", progress="39", status_message="converting")
FAILED = TASK._replace(image_id=None, status="deleted", status_message="ClientError: Unsupported kernel version X")
INCREMENT = Settings(version_scheme="increment")
CANCELLED = FAILED._replace(status_message="Cancelled by user")
LISTED = Build(version_arn("1.0.0", "web"), "AVAILABLE", is_import=False)
FILTER = Settings(only_tasks_tagged={"Images": "yes", "Stage": "prod"})
BUILD = Build(ARN, "AVAILABLE", is_import=True, ami_ids=(AMI.id,))
OWN = BUILD._replace(tagged_task_id=TASK_ID, tagged_ami_id=AMI.id)
LIST = "list_builds"
OTHER_ARN = version_arn("7.0.0", "base")


def test_every_trigger_makes_the_same_request() -> None:
    """An event, a manual invocation and a sweep send the same request with the same client token."""
    ways = InMemoryAws(TASK, AMI), InMemoryAws(TASK, AMI), InMemoryAws(TASK, AMI)
    outcomes = [ways[0].on_event(), ways[1].manually(), ways[2].by_sweep()]
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.REGISTERED}
    assert {outcome.image_arn for outcome in outcomes} == {ARN}
    assert ways[0].requests == ways[1].requests == ways[2].requests
    assert outcomes[0].request == ways[0].requests[0].parameters()


def test_an_import_is_registered_once() -> None:
    """Every trigger after the first success answers ALREADY_REGISTERED with the same image."""
    aws = InMemoryAws(TASK, AMI)
    aws.on_event()
    for again in (aws.on_event, aws.manually):
        outcome = again()
        assert (outcome.kind, outcome.image_arn) == (OutcomeKind.ALREADY_REGISTERED, ARN)
    assert aws.by_sweep().kind is OutcomeKind.IN_PROGRESS
    assert len(aws.requests) == 1
    assert not aws.published


def test_an_import_that_another_invocation_processes_is_in_progress() -> None:
    """Two invocations at once for one task make one image."""
    aws = InMemoryAws(TASK, AMI, in_progress={TASK_ID})
    assert aws.on_event().kind is OutcomeKind.IN_PROGRESS
    assert not aws.requests


def test_a_refused_import_is_registered_by_the_next_sweep() -> None:
    """An import that Image Builder refused is registered by a later sweep."""
    aws = InMemoryAws(TASK, AMI, import_error=PermanentError("not authorized"))
    assert aws.on_event().kind is OutcomeKind.REJECTED
    aws.import_error = None
    assert aws.by_sweep().kind is OutcomeKind.REGISTERED


def test_a_forced_import_is_registered_for_the_sweep_too() -> None:
    """An import whose first registration is forced gets one image."""
    aws = InMemoryAws(TASK, AMI)
    assert aws.manually(force=True).kind is OutcomeKind.REGISTERED
    assert aws.by_sweep().kind is OutcomeKind.IN_PROGRESS
    assert len(aws.requests) == 1


def test_a_refused_import_gives_its_version_back() -> None:
    """A version that was claimed for a refused request is free, and the corrected import gets the next one of then."""
    aws = InMemoryAws(TASK._replace(disks=()), AMI, INCREMENT, builds=[LISTED])
    aws.import_error = PermanentError("denied", "AccessDeniedException")
    assert aws.manually(Overrides(name="web")).kind is OutcomeKind.REJECTED
    assert not aws.items
    aws.import_error, aws.builds = None, [Build(version_arn("5.0.0", "web"), "AVAILABLE", is_import=False)]
    assert aws.manually(Overrides(name="web")).kind is OutcomeKind.REGISTERED
    assert aws.requests[0].semantic_version == "5.0.1"


@pytest.mark.parametrize("error", [PermanentError("denied", certain=False), TransientError("no answer")])
def test_a_request_that_may_have_arrived_keeps_its_version(error: Exception) -> None:
    """A refusal after an attempt without an answer, and a transient error, keep the version for the next attempt."""
    task = TASK._replace(tags={"Name": "web"}, disks=())
    aws = InMemoryAws(task, AMI, INCREMENT, builds=[LISTED], import_error=error)
    aws.sweep()
    assert aws.items["version web/1.0.1"].data == TASK_ID
    aws.import_error = None
    aws.by_sweep()
    assert [request.semantic_version for request in aws.requests] == ["1.0.1"]


@pytest.mark.parametrize("settings", [INCREMENT, Settings(immutable_versions=True)], ids=["increment", "immutable"])
@pytest.mark.parametrize("force", [False, True])
def test_a_refusal_after_a_lost_record_keeps_the_version(settings: Settings, *, force: bool) -> None:
    """A version whose image an earlier attempt requested and did not record goes to no other import after a refusal."""
    task = TASK if settings.immutable_versions else TASK._replace(tags={"Name": "web-server"}, disks=())
    aws = InMemoryAws(task, AMI, settings)
    aws.manually(force=force)
    # The first attempt was ended before it could record the image.
    del aws.items[TASK_ID]
    claimed = dict(aws.items)
    aws.import_error = PermanentError("denied.", "AccessDeniedException")
    outcome = aws.manually(force=force)
    assert (outcome.kind, outcome.problem) == (OutcomeKind.REJECTED, "AccessDeniedException")
    assert outcome.reason == "denied. An earlier attempt may have made the image: look for it in Image Builder."
    assert claimed.items() <= aws.items.items()


def test_a_refused_forced_import_leaves_the_version_to_the_first_image() -> None:
    """Where a forced request is refused, the version stays with the registration that has an image of it."""
    aws = InMemoryAws(TASK, AMI, Settings(immutable_versions=True))
    aws.on_event()
    before = dict(aws.items)
    aws.import_error = PermanentError("denied", "AccessDeniedException")
    outcome = aws.manually(force=True)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.REJECTED, "denied")
    assert aws.items == before


def test_a_forced_image_of_another_version_leaves_the_version_to_the_first_image() -> None:
    """Where the image of a forced request has another version, that of the first image stays claimed."""
    aws = InMemoryAws(TASK, AMI, Settings(immutable_versions=True))
    aws.on_event()
    before = aws.items["version web-server/1.4.2"]
    aws.import_error = ClientTokenReusedError("mismatch")
    aws.builds = [OWN, OWN._replace(arn=version_arn("9.0.0"))]
    assert aws.manually(force=True).image_arn == version_arn("9.0.0")
    assert aws.items["version web-server/1.4.2"] == before


def test_a_dry_run_shows_the_version_of_the_next_invocation() -> None:
    """A dry run claims no version, and shows the one that the next invocation sends."""
    aws = InMemoryAws(TASK._replace(disks=()), AMI, INCREMENT, builds=[LISTED])
    shown = aws.manually(Overrides(name="web"), dry_run=True).request
    assert not aws.items
    assert aws.manually(Overrides(name="web")).request == shown
    assert aws.requests[0].semantic_version == "1.0.1"


def test_an_invalid_tag_does_not_matter_after_the_registration() -> None:
    """A registered import stays ALREADY_REGISTERED whatever its task's tags become."""
    aws = InMemoryAws(TASK, AMI)
    aws.on_event()
    aws.task = TASK._replace(tags={"Version": "latest"})
    for again in (aws.on_event, aws.manually):
        assert (again().kind, again().image_arn) == (OutcomeKind.ALREADY_REGISTERED, ARN)
    assert not aws.published


def test_a_rejection_is_reported_once_and_can_be_fixed() -> None:
    """A rejection is one notification and costs sweeps no call; a corrected tag is registered by the next sweep."""
    aws = InMemoryAws(TASK._replace(tags={"Version": "latest"}), AMI)
    outcomes = [aws.on_event(), aws.on_event()]
    assert [(outcome.kind, outcome.is_new) for outcome in outcomes] == [
        (OutcomeKind.REJECTED, True),
        (OutcomeKind.REJECTED, False),
    ]
    aws.calls.clear()
    assert aws.sweep().outcomes == []
    assert aws.calls == []
    assert [notification.outcome for notification in aws.published] == ["REJECTED"]
    aws.task = TASK._replace(tags={"Version": "2.0"})
    assert aws.by_sweep().kind is OutcomeKind.REGISTERED
    assert aws.requests[0].semantic_version == "2.0.0"


def test_a_failed_import_is_reported_once() -> None:
    """A failed import is one notification, with EC2's status message and the remedy; a cancelled import is none."""
    aws = InMemoryAws(FAILED)
    outcome = aws.by_sweep()
    assert (outcome.kind, outcome.is_new) == (OutcomeKind.IMPORT_FAILED, True)
    assert aws.sweep().outcomes == []
    (notification,) = aws.published
    assert "ClientError: Unsupported kernel version X" in notification.message
    assert "Install a kernel that VM Import supports" in notification.message
    cancelled = InMemoryAws(CANCELLED)
    assert cancelled.manually().kind is OutcomeKind.IMPORT_CANCELLED
    assert cancelled.sweep().outcomes == []
    assert not cancelled.published


def test_a_dry_run_of_the_sweep_changes_nothing() -> None:
    """A dry run of the sweep registers, records and publishes nothing."""
    aws = InMemoryAws(TASK, AMI)
    assert aws.by_sweep(dry_run=True).kind is OutcomeKind.DRY_RUN
    aws.task = FAILED
    assert aws.by_sweep(dry_run=True).kind is OutcomeKind.IMPORT_FAILED
    assert not aws.requests
    assert not aws.published
    assert not aws.items


def test_the_ami_is_the_one_that_the_task_names() -> None:
    """A manual invocation finds the AMI by the id in the task, whatever the AMI's name is."""
    aws = InMemoryAws(TASK, AMI._replace(name="renamed"))
    assert aws.manually().kind is OutcomeKind.REGISTERED
    assert aws.calls[:4] == [f"find_task {TASK_ID}", f"find_ami {AMI.id}", LIST, f"import_vm_image {TASK_ID}"]


def test_an_event_costs_seven_calls_up_to_the_record() -> None:
    """An event reads the AMI, the task and its record, lists the builds, and claims, requests and records the image."""
    aws = InMemoryAws(TASK, AMI)
    aws.on_event()
    calls = [f"find_ami {AMI.id}", f"find_task {TASK_ID}", LIST, f"import_vm_image {TASK_ID}"]
    assert aws.calls == [*calls, f"find_image {ARN}"]
    assert (aws.reads, aws.writes) == (1, 1)


@pytest.mark.parametrize("name", [None, "web-server", "import-ami-short", "my-import-ami-0123456789abcdef0"])
def test_an_ami_that_is_no_import_is_ignored_after_one_call(name: str | None) -> None:
    """An AMI that is not named like an import task costs one call."""
    aws = InMemoryAws(TASK, AMI._replace(name=name))
    assert aws.on_event().kind is OutcomeKind.IGNORED
    assert aws.calls == [f"find_ami {AMI.id}"]


def test_a_fresh_ami_that_ec2_does_not_show_is_read_again() -> None:
    """An AMI that EC2 does not show within a minute of its event is read again for moments, and is no error then."""
    late = InMemoryAws(TASK, ami_after_sleep=AMI)
    assert late.on_event(age=timedelta(seconds=59)).kind is OutcomeKind.REGISTERED
    assert late.slept == 5
    gone = InMemoryAws(TASK)
    assert gone.on_event(age=timedelta(seconds=59)).kind is OutcomeKind.IGNORED
    assert gone.slept == 10


def test_an_ami_that_ec2_still_shows_as_pending_is_a_transient_error() -> None:
    """An available AMI that EC2 shows as pending is tried again."""
    aws = InMemoryAws(TASK, AMI._replace(state="pending"))
    with pytest.raises(TransientError):
        aws.on_event(age=timedelta(hours=1))
    assert not aws.requests


def test_an_ami_that_is_gone_is_ignored() -> None:
    """An AMI that EC2 does not show a minute after its event is ignored."""
    outcome = InMemoryAws(TASK).on_event(age=timedelta(minutes=1))
    assert outcome.kind is OutcomeKind.IGNORED
    assert AMI.id in (outcome.reason or "")


def test_an_ami_that_is_gone_for_an_hour_is_reported() -> None:
    """An import whose AMI EC2 does not show is reported once, an hour after its first sweep."""
    aws = InMemoryAws(TASK)
    aws.sweep()
    assert not aws.published
    aws.age = timedelta(hours=1)
    aws.sweep()
    aws.sweep()
    assert aws.outcomes_published() == ["REJECTED"]
    assert "it was deregistered" in aws.published[0].message


@pytest.mark.parametrize(
    ("ami", "age", "action"),
    [
        (None, timedelta(hours=1), "Else import the VM again. If the AMI is restored, the next sweep registers it."),
        (AMI._replace(state="failed"), timedelta(0), "Import the VM again."),
        (AMI._replace(state="error"), timedelta(0), "Import the VM again."),
        (AMI._replace(state="invalid"), timedelta(0), "Import the VM again."),
        (AMI._replace(state="disabled"), timedelta(0), f"aws ec2 enable-image --image-id {AMI.id}"),
    ],
    ids=["gone", "failed", "error", "invalid", "disabled"],
)
def test_a_rejection_for_the_ami_says_what_helps(ami: Ami | None, age: timedelta, action: str) -> None:
    """A rejection for the state of the AMI says what to do with the AMI or the VM, and not to fix tags."""
    aws = InMemoryAws(TASK, ami)
    aws.sweep()
    aws.age = age
    aws.sweep()
    (message,) = (each.message for each in aws.published)
    assert (action in message, "Fix the import task's tags" in message) == (True, False)


def test_a_disabled_ami_is_reported_and_registered_when_it_is_enabled() -> None:
    """A disabled AMI is rejected and reported once; the sweep after it is enabled registers it."""
    aws = InMemoryAws(TASK, AMI._replace(state="disabled"))
    assert aws.on_event().kind is OutcomeKind.REJECTED
    aws.sweep()
    assert aws.outcomes_published() == ["REJECTED"]
    aws.ami = AMI
    aws.sweep()
    assert len(aws.requests) == 1


@pytest.mark.parametrize(
    ("task", "ami"),
    [
        (TASK, AMI._replace(source_image_id="ami-0fedcba9876543210")),
        (None, AMI),
        (TASK._replace(image_id="ami-0fedcba9876543210"), AMI),
    ],
    ids=["copy", "task unknown here", "another AMI's task"],
)
def test_an_ami_that_only_looks_like_an_import_is_ignored(task: ImportTask | None, ami: Ami) -> None:
    """A copy, an AMI of an unknown task, and another AMI than the task's are ignored."""
    aws = InMemoryAws(task, ami)
    outcome = aws.on_event()
    assert outcome.kind is OutcomeKind.IGNORED
    assert outcome.import_task_id == TASK_ID
    assert outcome.reason
    assert not aws.requests


@pytest.mark.parametrize(
    ("status", "image_id", "kind"),
    [
        ("active", AMI.id, OutcomeKind.REGISTERED),
        ("converting", AMI.id, OutcomeKind.REGISTERED),
        (None, AMI.id, OutcomeKind.REGISTERED),
        ("completed", AMI.id, OutcomeKind.REGISTERED),
        ("completed", None, OutcomeKind.IN_PROGRESS),
        (None, None, OutcomeKind.IN_PROGRESS),
        ("active", None, OutcomeKind.IN_PROGRESS),
        ("converting", None, OutcomeKind.IN_PROGRESS),
    ],
)
def test_the_ami_of_a_running_task_is_the_one_that_it_names(
    status: str | None, image_id: str | None, kind: OutcomeKind
) -> None:
    """An available AMI with the name of a task is registered only where the task names it."""
    aws = InMemoryAws(TASK._replace(status=status, image_id=image_id), AMI)
    outcome = aws.on_event()
    assert (outcome.kind, outcome.import_task_id) == (kind, TASK_ID)
    assert bool(outcome.reason) is (kind is OutcomeKind.IN_PROGRESS)
    aws.manually()
    assert bool(aws.requests) is (kind is OutcomeKind.REGISTERED)


def test_the_event_of_an_import_that_is_about_to_complete_waits() -> None:
    """Where an AMI is available before its task names it, the same event registers it within two minutes."""
    aws = InMemoryAws(RUNNING, AMI, task_after_sleep=TASK)
    assert aws.on_event().kind is OutcomeKind.REGISTERED
    assert aws.slept == 5
    never = InMemoryAws(RUNNING, AMI)
    assert never.on_event().kind is OutcomeKind.IN_PROGRESS
    assert never.slept == 120
    assert not never.requests


@pytest.mark.parametrize(
    ("ami", "settings", "age"),
    [
        (AMI._replace(source_image_id="ami-0fedcba9876543210"), Settings(), timedelta(0)),
        (AMI, FILTER, timedelta(0)),
        (AMI, Settings(), timedelta(minutes=15)),
        (AMI._replace(created=None), Settings(), timedelta(0)),
    ],
    ids=["copy", "excluded", "old", "without a date"],
)
def test_only_a_fresh_ami_of_an_import_is_waited_for(ami: Ami, settings: Settings, age: timedelta) -> None:
    """An event waits only for the task of an AMI of the last minutes that no configuration excludes."""
    aws = InMemoryAws(RUNNING, ami, settings)
    aws.on_event(age)
    assert aws.slept == 0


def test_an_ami_of_another_account_is_ignored() -> None:
    """An AMI that another account shares is ignored, although it has the name of an import task."""
    aws = InMemoryAws(TASK, AMI._replace(owner_id="210987654321"))
    assert aws.on_event().kind is OutcomeKind.IGNORED
    assert not aws.requests


@pytest.mark.parametrize("age", [timedelta(days=-30), timedelta(days=40_000), timedelta(minutes=-2)])
def test_the_time_of_a_forged_event_changes_nothing(age: timedelta) -> None:
    """An AMI that EC2 does not show is ignored where the time of its event is far from now."""
    assert InMemoryAws(TASK).on_event(age=age).kind is OutcomeKind.IGNORED


def test_a_filtered_ami_is_ignored_before_it_is_available() -> None:
    """OnlyTasksTagged excludes a task whose AMI EC2 still shows as pending, without an error."""
    aws = InMemoryAws(TASK, AMI._replace(state="pending"), FILTER)
    assert aws.on_event().kind is OutcomeKind.IGNORED


def test_rejections_differ_by_their_kind() -> None:
    """A new kind of rejection is reported, the same one is not, and an earlier one that comes back is."""
    aws = InMemoryAws(TASK, AMI)
    codes = ("AccessDenied", "AccessDenied", "", "AccessDenied", "ServiceQuotaExceeded")
    new = []
    for number, code in enumerate(codes):
        aws.import_error = PermanentError(f"refused (request {number})", code)
        aws.age += timedelta(hours=1)
        new.append(aws.by_sweep().is_new)
    assert new == [True, False, True, True, True]
    assert aws.outcomes_published() == ["REJECTED"] * 4


def test_alternating_mistakes_are_reported_once_an_hour() -> None:
    """Whoever changes what is wrong with a task again and again causes at most one notification an hour."""
    wrong = [{"Version": "latest"}, {"Name": "?"}]
    aws = InMemoryAws(TASK, AMI)
    for number in range(12):
        aws.task = TASK._replace(tags=wrong[number % 2])
        aws.sweep()
        aws.on_event(age=aws.age)
        aws.age += timedelta(minutes=10)
    assert aws.outcomes_published() == ["REJECTED"] * 2
    aws.task, aws.age = FAILED, aws.age + timedelta(minutes=1)
    assert aws.by_sweep().is_new


def test_a_failed_import_is_reported_once_whoever_asks() -> None:
    """A manual invocation for a failed import reports it once, and the sweep and later invocations do not again."""
    aws = InMemoryAws(FAILED)
    assert [aws.manually().is_new, aws.manually().is_new] == [True, False]
    assert aws.writes == 1
    assert aws.sweep().outcomes == []
    assert aws.outcomes_published() == ["IMPORT_FAILED"]


@pytest.mark.parametrize("builds", [[], [BUILD]], ids=["no image", "an image of another user"])
def test_an_unreadable_record_is_rejected(builds: list[Build]) -> None:
    """An import whose record cannot be read is not registered or adopted, and the reason says what to delete."""
    aws = InMemoryAws(TASK, AMI, items={TASK_ID: Item("?")}, builds=builds)
    outcomes = [aws.manually(dry_run=dry_run, force=force) for dry_run in (True, False) for force in (True, False)]
    for outcome in (aws.on_event(), *outcomes):
        assert outcome.kind is OutcomeKind.REJECTED
        assert "the item with this id" in (outcome.reason or "")
        assert TASK_ID in (outcome.reason or "")
    assert not aws.requests
    assert aws.items[TASK_ID].data == "?"
    assert "Fix the import task's tags" not in aws.published[0].message


@pytest.mark.parametrize("builds", [[], [OWN]], ids=["requested", "adopted"])
def test_what_was_recorded_meanwhile_counts(builds: list[Build]) -> None:
    """An import that another invocation registers between the read and the claim gets no image and keeps its record."""
    aws = InMemoryAws(TASK, AMI, builds=builds)
    aws.put_registration(results={"follow": "AVAILABLE"})
    items = dict(aws.items)
    outcome, record, _ = register(TASK, AMI, RegistrationId(TASK_ID), Record(), aws.invocation())
    assert (outcome.kind, record) == (OutcomeKind.ALREADY_REGISTERED, aws.record())
    assert (aws.items, aws.requests) == (items, [])
    aws.items[TASK_ID] = Item("?")
    outcome, *_ = register(TASK, AMI, RegistrationId(TASK_ID), Record(), aws.invocation())
    assert (outcome.kind, aws.items[TASK_ID].data) == (OutcomeKind.REJECTED, "?")
    assert not aws.requests


@pytest.mark.parametrize(
    "meanwhile",
    [
        {"items": {TASK_ID: Item(reported="REJECTED Denied")}},
        {"items": {TASK_ID: Item(Record(first_seen={"rejection reported": NOW}).to_json(), "REJECTED Quota")}},
        {"in_progress": {TASK_ID}},
    ],
    ids=["the same", "another rejection", "in progress"],
)
def test_what_was_reported_meanwhile_is_not_new(meanwhile: dict[str, Any]) -> None:
    """What another invocation reports between the read and the claim is not published again, and not called new."""
    aws = InMemoryAws(**meanwhile)
    before = dict(aws.items)
    outcome = Outcome(OutcomeKind.REJECTED, TASK_ID, problem="Denied")
    assert not report_once(outcome, RegistrationId(TASK_ID), Record(), aws.invocation()).is_new
    assert (aws.items, aws.published) == (before, [])


def test_an_import_that_was_registered_meanwhile_is_not_reported() -> None:
    """What was wrong with an import before another invocation registered it is not published."""
    aws = InMemoryAws()
    aws.put_registration()
    before = dict(aws.items)
    outcome = Outcome(OutcomeKind.REJECTED, TASK_ID)
    assert not report_once(outcome, RegistrationId(TASK_ID), Record(), aws.invocation()).is_new
    assert (aws.items, aws.published) == (before, [])


def test_an_import_is_registered_at_most_fifty_times() -> None:
    """After 50 registrations, of which `force` made 49, `force` is refused with what to do instead."""
    aws = InMemoryAws(TASK, AMI)
    aws.on_event()
    for number in range(49):
        assert aws.manually(request_id=f"request-{number}", force=True).kind is OutcomeKind.REGISTERED
    outcome = aws.manually(request_id="request-50", force=True)
    assert outcome.kind is OutcomeKind.REJECTED
    assert "Import the VM again" in (outcome.reason or "")
    assert len(aws.requests) == 50


def test_an_ami_without_a_creation_date_needs_a_stated_version() -> None:
    """Where EC2 shows no creation date, the version schemes of the date reject the import."""
    aws = InMemoryAws(TASK._replace(disks=()), AMI._replace(created=None))
    assert aws.by_sweep().kind is OutcomeKind.REJECTED
    aws.task = TASK._replace(tags={"Version": "1.0"})
    assert aws.by_sweep().kind is OutcomeKind.REGISTERED


@pytest.mark.parametrize(
    ("task", "ami", "kind", "reason"),
    [
        (None, None, OutcomeKind.NOT_FOUND, "7 days"),
        (RUNNING, None, OutcomeKind.IN_PROGRESS, "converting, 39 %"),
        (ImportTask(TASK_ID), None, OutcomeKind.IN_PROGRESS, "still running"),
        (TASK, AMI._replace(state="pending"), OutcomeKind.IN_PROGRESS, "still running"),
        (TASK, AMI._replace(state="failed"), OutcomeKind.REJECTED, "is failed"),
        (TASK, AMI._replace(source_image_id="ami-0fedcba9876543210"), OutcomeKind.IGNORED, "a copy of ami-0fedcba9"),
        (TASK, None, OutcomeKind.IGNORED, "gone, or ask again"),
        (TASK._replace(image_id=None), None, OutcomeKind.IGNORED, "gone, or ask again"),
        (FAILED, None, OutcomeKind.IMPORT_FAILED, "ClientError: Unsupported kernel version X"),
        (FAILED._replace(status_message=None), None, OutcomeKind.IMPORT_FAILED, "no reason"),
        (CANCELLED._replace(status="deleting", status_message=None), None, OutcomeKind.IN_PROGRESS, "being deleted"),
        (CANCELLED, None, OutcomeKind.IMPORT_CANCELLED, "Cancelled by user"),
    ],
    ids=[
        "unknown",
        "active",
        "bare",
        "AMI pending",
        "AMI failed",
        "AMI copied",
        "AMI gone",
        "AMI never named",
        "failed",
        "no message",
        "deleting",
        "cancelled",
    ],
)
def test_a_task_without_an_available_ami_is_answered(
    task: ImportTask | None, ami: Ami | None, kind: OutcomeKind, reason: str
) -> None:
    """A manual invocation for a task without an available AMI answers its state, with EC2's own message."""
    aws = InMemoryAws(task, ami)
    outcome = aws.manually()
    assert outcome.kind is kind
    assert outcome.import_task_id == TASK_ID
    assert reason in (outcome.reason or "")
    assert not aws.requests


def test_a_dry_run_shows_the_request_and_changes_nothing() -> None:
    """A dry run answers exactly the request that the next invocation sends."""
    aws = InMemoryAws(TASK, AMI)
    outcome = aws.manually(Overrides(name="post office"), dry_run=True)
    assert outcome.kind is OutcomeKind.DRY_RUN
    assert not aws.requests
    assert not aws.items
    assert aws.manually(Overrides(name="post office")).request == outcome.request
    assert aws.requests[0].name == "post office"


def test_an_invalid_version_tag_is_rejected() -> None:
    """An import with a version tag that is no version is not registered."""
    aws = InMemoryAws(TASK._replace(tags={"Version": "latest"}), AMI)
    outcome = aws.on_event()
    assert outcome.kind is OutcomeKind.REJECTED
    assert "'latest'" in (outcome.reason or "")
    assert not aws.requests


def test_a_refusal_is_an_outcome() -> None:
    """A refusal of Image Builder is REJECTED, with the request and Image Builder's own message."""
    outcome = InMemoryAws(TASK, AMI, import_error=PermanentError("not authorized")).on_event()
    assert (outcome.kind, outcome.reason) == (OutcomeKind.REJECTED, "not authorized")
    assert outcome.request


@pytest.mark.parametrize("status", ["PENDING", "AVAILABLE", "DEPRECATED"])
def test_a_reused_client_token_finds_the_image(status: str) -> None:
    """The image of an invocation that was ended before it could record it is found by its tags."""
    aws = InMemoryAws(TASK, AMI)
    aws.import_error = ClientTokenReusedError("mismatch")
    aws.builds_after_request = [OWN._replace(status=status)]
    outcome = aws.on_event()
    assert (outcome.kind, outcome.image_arn) == (OutcomeKind.REGISTERED, ARN)
    assert aws.manually().kind is OutcomeKind.ALREADY_REGISTERED


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "DELETED"])
def test_a_reused_client_token_finds_a_failed_image_when_every_image_is_listed(status: str) -> None:
    """An image that failed or was deleted may be an older one: for five minutes the import waits for another one."""
    older = OWN._replace(status=status)
    for another in ([], [OWN._replace(arn=version_arn("1.4.3"))]):
        aws = InMemoryAws(TASK, AMI, builds=[older], import_error=ClientTokenReusedError("mismatch"))
        assert aws.by_sweep().kind is OutcomeKind.IN_PROGRESS
        aws.builds += another
        aws.age = timedelta(minutes=5)
        assert aws.by_sweep().image_arn == (another or [older])[0].arn


@pytest.mark.parametrize("force", [False, True])
def test_an_image_whose_arn_is_unknown_is_requested_once(log: Log, *, force: bool) -> None:
    """An image with an ARN of an unknown form is not recorded or requested again; it is found where it is listed."""
    aws = InMemoryAws(TASK, AMI, import_error=UnknownArnError("'a' is no ARN"))
    assert aws.manually(force=force).kind is OutcomeKind.IN_PROGRESS
    assert [entry["reason"] for entry in log() if entry["level"] == "ERROR"] == ["'a' is no ARN"]
    aws.import_error = None
    aws.age = timedelta(minutes=5)
    for _ in range(3):
        assert aws.manually(force=force).kind is OutcomeKind.IMAGE_NOT_FOUND
    assert aws.outcomes_published() == ["IMAGE_NOT_FOUND"]
    assert [aws.calls.count(f"import_vm_image {TASK_ID}"), aws.requests] == [1, []]
    aws.builds = [OWN]
    assert aws.by_sweep().image_arn == aws.registration().arn == ARN


def test_an_image_whose_arn_is_unknown_may_be_listed_with_another_one() -> None:
    """An image that is listed with the tags of its import is recorded, although the answer had an unknown ARN."""
    error = UnknownArnError("'a' is no ARN")
    outcome = InMemoryAws(TASK, AMI, import_error=error, builds_after_request=[OWN]).on_event()
    assert (outcome.kind, outcome.image_arn) == (OutcomeKind.REGISTERED, ARN)


def test_every_image_is_listed_five_minutes_after_the_answer() -> None:
    """The five minutes in which an image may not be listed begin with Image Builder's answer, not with the sweep."""
    aws = InMemoryAws(TASK, AMI, import_error=ClientTokenReusedError("mismatch"), elapsed=timedelta(seconds=200))
    aws.sweep()
    aws.elapsed = timedelta(0)
    kinds = []
    for seconds in (499, 500):
        aws.age = timedelta(seconds=seconds)
        kinds.append(aws.by_sweep().kind)
    assert kinds == [OutcomeKind.IN_PROGRESS, OutcomeKind.IMAGE_NOT_FOUND]


def test_of_several_requested_builds_the_first_usable_one_is_recorded() -> None:
    """Of several builds with the tags of a request, the lowest one that did not fail is recorded."""
    aws = InMemoryAws(TASK, AMI, import_error=ClientTokenReusedError("mismatch"))
    usable = [OWN._replace(arn=version_arn("1.4.2", build=number)) for number in (10, 9)]
    aws.builds_after_request = [OWN._replace(status="FAILED"), *usable]
    assert aws.on_event().image_arn == version_arn("1.4.2", build=9)


def test_tags_alone_recover_no_image() -> None:
    """A build that shows no AMI is not recorded for the import that its tags name: anybody may set them."""
    aws = InMemoryAws(TASK, AMI, import_error=ClientTokenReusedError("mismatch"), age=timedelta(days=2))
    aws.builds = [OWN._replace(status="PENDING", ami_ids=(), arn=OTHER_ARN)]
    assert aws.by_sweep().kind is OutcomeKind.IN_PROGRESS
    aws.age += timedelta(minutes=5)
    assert aws.by_sweep().kind is OutcomeKind.IMAGE_NOT_FOUND
    assert not aws.record().registration


def test_a_reused_client_token_finds_the_image_of_its_own_registration() -> None:
    """A forced invocation finds the image that no other registration of the task has recorded."""
    aws = InMemoryAws(TASK, AMI)
    aws.on_event()
    aws.import_error = ClientTokenReusedError("mismatch")
    aws.builds = [OWN, OWN._replace(arn=version_arn("1.4.2", build=2))]
    outcome = aws.manually(force=True)
    assert (outcome.kind, outcome.image_arn) == (OutcomeKind.REGISTERED, version_arn("1.4.2", build=2))


def test_an_image_that_is_not_found_asks_for_action() -> None:
    """Where no image has the tag of an import that Image Builder knows, this is one notification, without "force"."""
    aws = InMemoryAws(TASK, AMI, import_error=ClientTokenReusedError("mismatch"), age=timedelta(hours=1))
    assert aws.by_sweep().kind is OutcomeKind.IN_PROGRESS
    aws.age += timedelta(minutes=6)
    outcomes = [aws.by_sweep(), aws.by_sweep(), aws.manually()]
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.IMAGE_NOT_FOUND] * 3
    assert [outcome.is_new for outcome in outcomes] == [True, False, False]
    (notification,) = aws.published
    assert notification.outcome == "IMAGE_NOT_FOUND"
    assert 'Do not write "force"' in notification.message
    aws.builds = [OWN]
    assert aws.by_sweep().image_arn == ARN


@pytest.mark.parametrize("age", [timedelta(0), timedelta(hours=1), timedelta(days=6)])
def test_an_image_that_is_not_listed_yet_is_in_progress(age: timedelta) -> None:
    """Image Builder's lists are up to two minutes old, and the image may be new however old the import is."""
    aws = InMemoryAws(TASK, AMI, import_error=ClientTokenReusedError("mismatch"), age=age)
    assert aws.by_sweep().kind is OutcomeKind.IN_PROGRESS
    aws.age += timedelta(minutes=2)
    assert aws.manually().kind is OutcomeKind.IN_PROGRESS
    assert not aws.published
    assert not aws.record().registration
    aws.builds = [OWN]
    assert aws.by_sweep().image_arn == ARN


@pytest.mark.parametrize("age", [timedelta(0), timedelta(hours=1), timedelta(days=6)])
@pytest.mark.parametrize(
    "build",
    [BUILD, OWN, BUILD._replace(tagged_task_id="import-ami-00000000")],
    ids=["of another user", "of an earlier deployment", "tagged with another task"],
)
@pytest.mark.parametrize("trigger", ["event", "sweep", "manual", "dry run"])
def test_an_import_that_has_an_image_gets_no_second_one(trigger: str, build: Build, age: timedelta) -> None:
    """An imported build of exactly the task's AMI is adopted by every trigger, whatever the age of the AMI is."""
    aws = InMemoryAws(TASK, AMI, builds=[build], age=age)
    triggers: dict[str, Callable[[], Outcome]] = {
        "event": aws.on_event,
        "sweep": aws.by_sweep,
        "manual": aws.manually,
        "dry run": partial(aws.manually, dry_run=True),
    }
    outcome = triggers[trigger]()
    assert (outcome.kind, outcome.image_arn) == (OutcomeKind.ALREADY_REGISTERED, ARN)
    assert not aws.requests
    assert bool(aws.items) is (trigger != "dry run")
    if aws.items:
        assert aws.registration().adopted


@pytest.mark.parametrize(
    "build",
    [
        BUILD._replace(ami_ids=("ami-0fedcba9876543210",)),
        BUILD._replace(ami_ids=(AMI.id, "ami-0fedcba9876543210")),
        BUILD._replace(arn=ARN.replace("123456789012", "210987654321")),
        BUILD._replace(is_import=False),
        BUILD._replace(status="FAILED"),
        BUILD._replace(status="CANCELLED"),
        BUILD._replace(status="DELETED"),
        OWN._replace(is_import=False, ami_ids=()),
        OWN._replace(ami_ids=("ami-0fedcba9876543210",)),
        OWN._replace(status="FAILED", ami_ids=()),
        BUILD._replace(arn="arn:aws:imagebuilder:us-east-1:123456789012:image/x"),
    ],
    ids=[
        *("another AMI", "two AMIs", "another account", "a pipeline's", "failed", "cancelled", "deleted"),
        *("tags alone", "tags and another AMI", "tags of a failed one", "no build version"),
    ],
)
def test_a_build_of_another_import_is_not_adopted(build: Build) -> None:
    """Only an imported build of this AMI that is not failed counts as the image of an import, whatever its tags are."""
    aws = InMemoryAws(TASK, AMI, builds=[build])
    assert aws.on_event().kind is OutcomeKind.REGISTERED
    assert len(aws.requests) == 1


def test_of_several_builds_the_available_one_is_adopted() -> None:
    """Of several builds of an import, an available one is adopted before one in progress."""
    available = OWN._replace(arn=version_arn("1.4.2", build=3))
    builds = [
        OWN._replace(status="FAILED"),
        OWN._replace(arn=version_arn("1.4.2", build=2), status="TESTING"),
        available,
    ]
    aws = InMemoryAws(TASK, AMI, builds=builds)
    assert aws.by_sweep().image_arn == available.arn


def test_the_build_of_this_system_is_adopted_before_that_of_another_user() -> None:
    """Of several available builds of an import, the one with the tags is adopted, whatever the names are."""
    aws = InMemoryAws(TASK, AMI, builds=[BUILD._replace(arn=OTHER_ARN.replace("7.0.0", "0.1.0")), OWN])
    assert aws.by_sweep().image_arn == OWN.arn


@pytest.mark.parametrize(
    ("build", "age", "waits"),
    [
        (BUILD, timedelta(0), True),
        (BUILD, timedelta(minutes=29), True),
        (BUILD, timedelta(minutes=30), False),
        (OWN, timedelta(minutes=30), True),
        (OWN, timedelta(hours=23), True),
        (OWN, timedelta(days=1), False),
        (OWN._replace(tagged_task_id="import-ami-00000000"), timedelta(0), False),
        (BUILD._replace(status="FAILED"), timedelta(0), False),
        (BUILD._replace(is_import=False), timedelta(0), False),
    ],
)
def test_a_build_that_shows_no_ami_makes_an_import_wait(build: Build, age: timedelta, waits: bool) -> None:  # noqa: FBT001 - a case of the table
    """While an imported build may still turn out to be this import's, nothing is requested, for a bounded time."""
    aws = InMemoryAws(TASK, AMI, builds=[build._replace(status="PENDING", ami_ids=())], age=age)
    if build.status == "FAILED":
        aws.builds = [build._replace(ami_ids=())]
    assert aws.on_event().kind is (OutcomeKind.IN_PROGRESS if waits else OutcomeKind.REGISTERED)
    assert len(aws.requests) == (0 if waits else 1)


def test_builds_that_cannot_be_listed_stop_the_registration() -> None:
    """Where Image Builder does not list the builds, nothing is requested."""
    for error in (TransientError("throttled"), PermanentError("denied", "AccessDeniedException")):
        aws = InMemoryAws(TASK, AMI, builds_error=error)
        with pytest.raises(type(error)):
            aws.on_event()
        assert not aws.requests


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        (Overrides(), ""),
        (Overrides(name="Web_Server", semantic_version="1.04.2"), ""),
        (Overrides(name="Web/Server"), ""),
        (Overrides(name="other"), "name"),
        (Overrides(semantic_version="9.9.9"), "semanticVersion"),
        (Overrides(description="d", platform="Linux", os_version="o", tags={"a": "b"}), "description, platform"),
    ],
)
def test_what_a_payload_states_beside_an_adopted_image_is_refused(overrides: Overrides, refused: str) -> None:
    """A payload that states another image than the one that exists is refused, by a dry run and by a run alike."""
    for dry_run in (True, False):
        aws = InMemoryAws(TASK, AMI, builds=[OWN])
        outcome = aws.manually(overrides, dry_run=dry_run)
        assert outcome.kind is (OutcomeKind.REJECTED if refused else OutcomeKind.ALREADY_REGISTERED)
        assert refused in (outcome.reason or "")
        assert not aws.requests
        assert bool(aws.items) is not (dry_run or bool(refused))


def test_a_repeated_payload_is_already_registered() -> None:
    """The payload of a registration can be repeated; another name or version is refused."""
    aws = InMemoryAws(TASK, AMI)
    stated = Overrides(name="web server", semantic_version="1.4.2", description="d", tags={"a": "b"})
    assert aws.manually(stated).kind is OutcomeKind.REGISTERED
    assert aws.manually(stated).kind is OutcomeKind.ALREADY_REGISTERED
    assert aws.manually(stated._replace(semantic_version="1.4.3")).kind is OutcomeKind.REJECTED


def test_an_ami_that_is_gone_is_rejected_after_an_hour() -> None:
    """An AMI that EC2 does not show for an hour is one notification, and costs later sweeps one look and no outcome."""
    aws = InMemoryAws(TASK, age=timedelta(days=1))
    assert aws.by_sweep().kind is OutcomeKind.IGNORED
    aws.age += timedelta(minutes=59)
    assert aws.by_sweep().kind is OutcomeKind.IGNORED
    assert not aws.published
    aws.age += timedelta(minutes=1)
    outcome = aws.by_sweep()
    assert (outcome.kind, outcome.is_new) == (OutcomeKind.REJECTED, True)
    assert "ami_name" in aws.published[0].message
    aws.calls.clear()
    assert aws.sweep().outcomes == []
    assert aws.calls == [f"find_available {AMI.id}"]


def test_force_makes_another_build_where_a_record_was_lost() -> None:
    """A forced invocation whose client token has an image that is recorded already makes one more image."""
    aws = InMemoryAws(TASK, AMI)
    aws.on_event()
    aws.manually(request_id="run-1", force=True)
    second = ARN[:-1] + "2"
    aws.items.clear()
    aws.builds = [Build(second, "AVAILABLE", is_import=True, ami_ids=(AMI.id,), tagged_task_id=TASK_ID)]
    outcome = aws.manually(request_id="run-2", force=True)
    assert (outcome.kind, outcome.image_arn) == (OutcomeKind.REGISTERED, ARN[:-1] + "3")
    assert [each.subject for each in aws.published].count(f"Image available: {second}") <= 1


def test_force_makes_another_build_once() -> None:
    """Each forced invocation makes one image; Lambda's retries of it make none, although an attempt failed."""
    aws = InMemoryAws(TASK, AMI)
    aws.manually(request_id="request-0")
    aws.import_error = TransientError("the run was ended")
    with pytest.raises(TransientError):
        aws.manually(force=True)
    aws.import_error = None
    outcomes = [aws.manually(request_id=request_id, force=True).kind for request_id in ("run-2", "run-2", "run-3")]
    assert outcomes == [OutcomeKind.REGISTERED, OutcomeKind.ALREADY_REGISTERED, OutcomeKind.REGISTERED]
    tokens = [request.client_token for request in aws.requests]
    assert len(set(tokens)) == 3
    assert {len(token) for token in tokens} == {36}


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"Images": "yes", "Stage": "prod", "Team": "web"}, OutcomeKind.REGISTERED),
        ({"Images": "yes"}, OutcomeKind.IGNORED),
        ({"Images": "yes", "Stage": "test"}, OutcomeKind.IGNORED),
        ({}, OutcomeKind.IGNORED),
    ],
    ids=["all", "one missing", "another value", "none"],
)
def test_tasks_without_the_configured_tags_are_ignored(tags: dict[str, str], kind: OutcomeKind) -> None:
    """OnlyTasksTagged excludes tasks from events and sweeps, and not from manual invocations."""
    aws = InMemoryAws(TASK._replace(tags=tags), AMI, settings=FILTER)
    outcome = aws.on_event()
    assert outcome.kind is kind
    assert outcome.import_task_id == TASK_ID
    aws.calls.clear()
    aws.sweep()
    assert bool(aws.calls) is (kind is OutcomeKind.REGISTERED)
    assert aws.manually(force=True).kind is OutcomeKind.REGISTERED


def test_increment_uses_the_versions_of_the_name() -> None:
    """The next version follows the highest one of the name; retries use the one that was claimed."""
    task = TASK._replace(tags={"Name": "Web_Server"}, disks=())
    builds = [
        Build(version_arn(version), status, is_import=False)
        for version, status in (("1.4.9", "AVAILABLE"), ("1.10.2", "FAILED"), ("1.4.2", "PENDING"))
    ]
    aws = InMemoryAws(
        task, AMI, INCREMENT, builds=[*builds, Build(version_arn("9.0.0", "web"), "AVAILABLE", is_import=False)]
    )
    aws.on_event()
    assert aws.requests[0].semantic_version == "1.10.3"
    # The invocation was ended before it could record the image, which the list does not show yet.
    del aws.items[TASK_ID]
    aws.on_event()
    assert aws.requests[1] == aws.requests[0]


def test_increment_avoids_stated_versions() -> None:
    """A version that a tag or a file name states is taken, although Image Builder does not list it yet."""
    aws = InMemoryAws(TASK._replace(tags={"Name": "web", "Version": "1.0.1"}), AMI, INCREMENT, builds=[LISTED])
    aws.on_event()
    other = "import-ami-second00"
    aws.task = TASK._replace(id=other, image_id="ami-2", tags={"Name": "web"}, disks=())
    aws.ami = AMI._replace(id="ami-2", name=other)
    aws.on_event(image_id="ami-2")
    assert [request.semantic_version for request in aws.requests] == ["1.0.1", "1.0.2"]


@pytest.mark.parametrize("listed", [[], [BUILD._replace(ami_ids=("ami-9",))]], ids=["not listed", "listed"])
@pytest.mark.parametrize("in_progress", [False, True])
def test_a_stated_version_that_increment_has_given_is_a_warning(listed: list[Build], *, in_progress: bool) -> None:
    """With `increment`, a stated version that another import has is one warning, also before its image is listed."""
    first = TASK._replace(id="import-ami-00000002", image_id="ami-9")
    aws = InMemoryAws(TASK, AMI, INCREMENT, other_task=first, builds=listed)
    key = "version web-server/1.4.2"
    aws.items[key] = Item(first.id)
    if in_progress:
        aws.in_progress.add(first.id)
    outcome = aws.on_event()
    assert outcome.kind is OutcomeKind.REGISTERED
    other = ARN if listed else first.id
    assert outcome.warnings == [f"This is another build of version 1.4.2, which another import has: {other}."]
    assert aws.items[key].data == first.id


def test_a_stated_version_that_no_import_has_any_more_is_no_warning() -> None:
    """With `increment`, the version of an import that can get no image is taken over without a warning."""
    aws = InMemoryAws(TASK, AMI, INCREMENT, items={"version web-server/1.4.2": Item("import-ami-00000002")})
    assert not aws.on_event().warnings
    assert aws.items["version web-server/1.4.2"].data == TASK_ID
    aws.image = AVAILABLE
    assert not aws.manually(force=True).warnings


def test_a_version_of_another_hand_is_rejected() -> None:
    """An import whose version was claimed by another hand is rejected with the item to delete."""
    aws = InMemoryAws(TASK, AMI, INCREMENT, items={"version web-server/1.4.2": Item("note of an operator")})
    outcome = aws.by_sweep()
    assert (outcome.kind, outcome.problem) == (OutcomeKind.REJECTED, "InvalidRecordError")
    assert "'version web-server/1.4.2' cannot be read" in (outcome.reason or "")


def test_a_transient_error_is_raised() -> None:
    """A transient error leaves the function, so that Lambda tries again."""
    with pytest.raises(TransientError):
        InMemoryAws(TASK, AMI, import_error=TransientError("throttled")).on_event()


def test_an_answer_has_only_the_keys_that_apply() -> None:
    """An answer has no key without a value."""
    assert answer_of(Outcome(OutcomeKind.IGNORED, reason="r")) == {"outcome": "IGNORED", "reason": "r"}
    assert answer_of(Outcome(OutcomeKind.REGISTERED, "t", "a", {"name": "n"})) == {
        "outcome": "REGISTERED",
        "importTaskId": "t",
        "imageArn": "a",
        "request": {"name": "n"},
    }


def test_a_dry_run_of_a_registered_import_says_so() -> None:
    """A dry run of a registered import answers ALREADY_REGISTERED, and with `force` the request of the next build."""
    aws = InMemoryAws(TASK, AMI)
    aws.on_event()
    outcome = aws.manually(dry_run=True)
    assert (outcome.kind, outcome.image_arn, outcome.request) == (OutcomeKind.ALREADY_REGISTERED, ARN, None)
    assert aws.manually(dry_run=True, force=True).kind is OutcomeKind.DRY_RUN
    assert len(aws.requests) == 1


def test_observing_registers_nothing_and_reports_once() -> None:
    """With `observe`, events and sweeps report once what they would register; a manual invocation registers."""
    aws = InMemoryAws(TASK, AMI, Settings(observe=True))
    outcomes = [aws.on_event(), aws.by_sweep(), aws.by_sweep()]
    assert [(outcome.kind, outcome.is_new) for outcome in outcomes] == [
        (OutcomeKind.DRY_RUN, True),
        (OutcomeKind.DRY_RUN, False),
        (OutcomeKind.DRY_RUN, False),
    ]
    assert aws.outcomes_published() == ["DRY_RUN"]
    assert "It would be web-server 1.4.2." in aws.published[0].message
    assert not aws.requests
    aws.task = FAILED
    assert aws.by_sweep().is_new
    aws.task = TASK
    assert aws.manually().kind is OutcomeKind.REGISTERED


def test_observing_follows_the_image_that_exists() -> None:
    """With `observe`, an image that exists is recorded and reported once, and its AMI is not tagged."""
    settings = Settings(observe=True, tag_amis=True, parameter_prefix="/p")
    aws = InMemoryAws(TASK, AMI, settings, builds=[OWN], image=AVAILABLE)
    kinds = [[outcome.kind for outcome in aws.sweep().outcomes] for _ in range(2)]
    assert kinds == [[OutcomeKind.ALREADY_REGISTERED, OutcomeKind.IMAGE_AVAILABLE], []]
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE"]
    assert not aws.requests
    assert {*aws.registration().results} == {"follow", "notify"}


def test_observing_reports_an_ami_that_is_gone() -> None:
    """With `observe`, an import whose AMI was deregistered is reported once."""
    aws = InMemoryAws(TASK, None, Settings(observe=True))
    aws.sweep()
    aws.age += timedelta(hours=1)
    kinds = [[outcome.kind for outcome in aws.sweep().outcomes] for _ in range(2)]
    assert kinds == [[OutcomeKind.REJECTED], []]
    assert aws.outcomes_published() == ["REJECTED"]


@pytest.mark.parametrize("overrides", [Overrides(), Overrides(name="mine", semantic_version="9.0.0")])
def test_force_makes_another_image_beside_that_of_another_user(overrides: Overrides) -> None:
    """A forced invocation records the image of another user, and registers the import once more."""
    aws = InMemoryAws(TASK, AMI, builds=[BUILD], image=AVAILABLE)
    shown = aws.manually(overrides, dry_run=True, force=True)
    assert (shown.kind, aws.items) == (OutcomeKind.DRY_RUN, {})
    assert aws.manually(overrides, force=True).kind is OutcomeKind.REGISTERED
    assert aws.registration().adopted
    assert aws.registration().arn == BUILD.arn
    assert not aws.registration(f"{TASK_ID} 1").adopted


def test_a_forced_invocation_that_lambda_repeats_makes_one_image() -> None:
    """The second attempt of a forced invocation that recorded the image of another user finds its own image."""
    aws = InMemoryAws(TASK, AMI, builds=[BUILD], image=AVAILABLE)
    assert aws.manually(force=True).kind is OutcomeKind.REGISTERED
    assert aws.manually(force=True).kind is OutcomeKind.ALREADY_REGISTERED
    assert len(aws.requests) == 1


def test_force_waits_for_an_image_that_another_user_may_have_requested() -> None:
    """While Image Builder shows an imported build without an output, a forced invocation is IN_PROGRESS."""
    aws = InMemoryAws(TASK, AMI, builds=[BUILD._replace(ami_ids=())])
    assert aws.manually(force=True).kind is OutcomeKind.IN_PROGRESS
    assert not aws.requests


def test_a_registration_has_no_time_left() -> None:
    """An import is not begun where the invocation has no time to record it."""
    aws = InMemoryAws(TASK, AMI, calls_in_time=0)
    assert aws.on_event().kind is OutcomeKind.IN_PROGRESS
    assert not aws.requests


def test_an_image_is_not_requested_where_its_version_took_the_time() -> None:
    """An image is requested only while there is time to record it, however long it took to claim its version."""
    aws = InMemoryAws(TASK._replace(disks=()), AMI, INCREMENT)
    deadline = Deadline(lambda: 0 if f"version {TASK_ID}/1.0.0" in aws.items else 300_000)
    invocation = replace(aws.invocation(), deadline=deadline)
    outcome = next(on_ami_event(AmiAvailable(AMI.id, NOW), invocation))
    assert outcome.kind is OutcomeKind.IN_PROGRESS
    assert not aws.requests
    assert f"version {TASK_ID}/1.0.0" not in aws.items
    assert aws.on_event().kind is OutcomeKind.REGISTERED


@pytest.mark.parametrize("settings", [INCREMENT, Settings(immutable_versions=True)], ids=["increment", "immutable"])
def test_without_time_for_a_request_no_version_is_claimed(settings: Settings) -> None:
    """An attempt that has no time to request the image leaves no claim, so that a later refusal is certain."""
    aws = InMemoryAws(TASK._replace(tags={"Version": "1.0.0"}), AMI, settings, calls_in_time=1)
    assert aws.on_event().kind is OutcomeKind.IN_PROGRESS
    assert [id_ for id_ in aws.items if id_.startswith("version")] == []
    aws.calls_in_time, aws.import_error = 1000, PermanentError("denied", "AccessDeniedException")
    assert aws.on_event().reason == "denied"


def test_what_follows_does_not_change_the_outcome(log: Log) -> None:
    """An error of a step is logged, and the import is answered as registered."""
    aws = InMemoryAws(TASK, AMI, errors={ARN: KeyError("unforeseen")})
    assert aws.on_event().kind is OutcomeKind.REGISTERED
    assert aws.registration().arn == ARN
    *_, last = [entry for entry in log() if entry["level"] == "ERROR"]
    assert last["message"] == "The import is registered. The next sweep repeats the steps that failed"


def test_a_request_is_logged_with_its_id(log: Log) -> None:
    """The log has the ARN of a requested image, and the id of the request for the support of AWS."""
    InMemoryAws(TASK, AMI).on_event()
    (entry,) = [entry for entry in log() if entry["message"] == "Requested the image"]
    assert (entry["imageArn"], entry["requestId"]) == (ARN, "request-id")


def test_a_tag_in_another_case_is_a_warning() -> None:
    """A tag whose key differs in its case from one that states a part is named in answer and notification."""
    aws = InMemoryAws(TASK._replace(tags={"version": "9.9.9"}), AMI)
    (warning,) = aws.on_event().warnings
    assert warning == "The tag 'version' is not Version: it states nothing."
    aws.image = AVAILABLE
    aws.sweep()
    assert warning in aws.published[-1].message


@pytest.mark.parametrize("force", [False, True])
def test_a_manual_invocation_that_was_not_carried_out_says_what_to_do(*, force: bool) -> None:
    """Sweeps do not know a payload, so an invocation that has to wait says to invoke the function again."""
    aws = InMemoryAws(TASK, AMI, calls_in_time=0)
    outcome = aws.manually(Overrides(name="payroll"), force=force)
    assert (outcome.kind, aws.requests) == (OutcomeKind.IN_PROGRESS, [])
    assert (outcome.reason or "").endswith("Invoke the function with this payload again: a sweep does not know it.")
    aws.calls_in_time, aws.in_progress = 1000, {TASK_ID, f"{TASK_ID} 1"}
    assert "Invoke the function with this payload again" in (aws.manually(Overrides(name="payroll")).reason or "")
    # What states nothing is what a sweep does.
    assert "again" not in (aws.manually().reason or "")


@pytest.mark.parametrize(
    ("overrides", "kind", "reason"),
    [
        (Overrides(name="payroll"), OutcomeKind.REJECTED, "so name of the payload cannot be used"),
        (Overrides(semantic_version="9.9.9"), OutcomeKind.REJECTED, "so semanticVersion of the payload cannot be used"),
        (Overrides(platform="Windows"), OutcomeKind.REGISTERED, "The values of that request apply."),
    ],
)
def test_a_payload_that_differs_from_an_earlier_request_says_so(
    overrides: Overrides, kind: OutcomeKind, reason: str
) -> None:
    """Where an earlier, unrecorded request has made the image, it is recorded, and a payload that differs is told."""
    error = ClientTokenReusedError("reused", "IdempotentParameterMismatchException")
    build = Build(ARN, "AVAILABLE", is_import=True, ami_ids=(AMI.id,), tagged_task_id=TASK_ID, tagged_ami_id=AMI.id)
    aws = InMemoryAws(TASK, AMI, import_error=error, builds_after_request=[build])
    outcome = aws.manually(overrides)
    assert (outcome.kind, aws.registration().arn) == (kind, ARN)
    assert reason in (outcome.reason or "")


@pytest.mark.parametrize("overrides", [Overrides(name="payroll"), Overrides(semantic_version="9.9.9")])
def test_the_answer_to_an_earlier_request_is_no_answer_to_another_one(overrides: Overrides) -> None:
    """Where Image Builder answers the image of an earlier request to another one, it is recorded and rejected."""
    aws = InMemoryAws(TASK, AMI)
    aws.on_event()
    aws.items.clear()
    aws.builds = []
    outcome = aws.manually(overrides)
    assert (outcome.kind, outcome.request) == (OutcomeKind.REJECTED, None)
    assert aws.registration().arn == ARN


def test_an_image_that_a_forced_invocation_cannot_find_is_reported_once() -> None:
    """IMAGE_NOT_FOUND of a forced registration is published once, although the import has another image."""
    aws = InMemoryAws(TASK, AMI)
    aws.on_event()
    aws.import_error = ClientTokenReusedError("reused", "IdempotentParameterMismatchException")
    for minutes in (60, 75, 90):
        aws.age = timedelta(minutes=minutes)
        aws.manually(request_id=f"run-{minutes}", force=True)
    assert aws.outcomes_published() == ["IMAGE_NOT_FOUND"]
