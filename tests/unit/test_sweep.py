"""The sweep: what it does, what it costs, and what stops it."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.conftest import Log
from tests.unit.fakes import (
    AMI,
    AVAILABLE,
    NOW,
    PENDING,
    SWEEP,
    TASK,
    TASK_ID,
    InMemoryAws,
    Item,
    version_arn,
)
from vm_image_import.domain.errors import PermanentError, SweepError, TransientError
from vm_image_import.domain.models import Build, ImportTask
from vm_image_import.domain.outcomes import Outcome, OutcomeKind, SweepResult
from vm_image_import.domain.remedies import find_remedy
from vm_image_import.imports.reports import note_first_seen
from vm_image_import.records.registration import Record, RegistrationId, Unverified, parse_record
from vm_image_import.report import log as observability
from vm_image_import.report.answers import answer_of_sweep
from vm_image_import.settings import Settings

ENDED = {"follow": "AVAILABLE", "notify": "IMAGE_AVAILABLE"}
UNVERIFIED = {"unverified": {"parameter": Unverified(AMI.id, NOW)}}
FILTER = Settings(only_tasks_tagged={"Images": "yes"})


def metrics() -> dict[str, float]:
    """Return the metrics of sweeps so far, by name."""
    recorded: dict[str, Any] = observability.metrics.metric_set
    return {name: sum(metric["Value"]) for name, metric in recorded.items() if "Sweep" in name}


def tasks(how_many: int) -> list[ImportTask]:
    """Return completed tasks, whose AMI is gone."""
    ids = [f"ami-{number:08}" for number in range(how_many)]
    return [ImportTask(f"import-{id_}", status="completed", image_id=id_) for id_ in ids]


def tasks_asked_for(aws: InMemoryAws) -> list[str]:
    """Return the ids of the tasks whose AMI was asked for."""
    return [f"import-{call.partition(' ')[2]}" for call in aws.calls if call.startswith("find_ami")]


def test_a_task_without_a_record_is_registered() -> None:
    """A completed task that has no record is registered, and its image is looked at."""
    aws = InMemoryAws(TASK, AMI)
    result = aws.sweep()
    assert [outcome.kind for outcome in result.outcomes] == [OutcomeKind.REGISTERED, OutcomeKind.IN_PROGRESS]
    assert result.reason is None
    assert len(aws.requests) == 1


def test_what_is_done_costs_one_read_a_page() -> None:
    """Reported images, failures and rejections, cancelled and excluded imports cost no call but one read of a page."""
    available, *_ = tasks(1)
    failed = ImportTask("import-ami-failed00", status="deleted", status_message="ClientError")
    rejected = TASK._replace(id="import-ami-rejected", tags={"Version": "latest", "Images": "yes"})
    aws = InMemoryAws(
        settings=FILTER,
        pages=[
            [available, failed._replace(tags={"Images": "yes"}), rejected],
            [
                failed._replace(id="import-ami-cancel00", status_message="Cancelled by user", tags={"Images": "yes"}),
                ImportTask("import-ami-deleting", status="deleting", tags={"Images": "yes"}),
                *(task._replace(id=f"{task.id}x") for task in tasks(100)),
                failed._replace(id="import-ami-excluded"),
                ImportTask("import-ami-active00", status="active"),
            ],
        ],
    )
    aws.put_registration(available.id, results=ENDED)
    aws.put(Record(reported="IMPORT_FAILED"), failed.id, is_open=False)
    aws.put(Record(reported="REJECTED tag Version"), rejected.id, is_open=False)
    aws.items[available.id] = aws.items[available.id]._replace(is_open=False)
    assert aws.sweep().outcomes == []
    # Two pages, and what is open.
    assert (aws.reads, aws.calls, aws.writes) == (4, [], 1)
    assert aws.consistent_reads == 0


@pytest.mark.parametrize(
    ("task", "settings", "reported"),
    [
        (TASK, FILTER, ""),
        (TASK, Settings(), "REJECTED AMI gone"),
        (TASK._replace(tags={"Version": "latest"}), Settings(), "REJECTED tag Version"),
    ],
    ids=["excluded", "AMI gone", "rejected"],
)
def test_thousands_with_nothing_to_do_cost_their_pages(
    task: ImportTask, settings: Settings, reported: str, log: Log
) -> None:
    """5,000 imports that are excluded, or whose rejection was reported, cost no line and at most one call a page."""
    many = [task._replace(id=f"import-ami-{number:08}") for number in range(5000)]
    aws = InMemoryAws(settings=settings, pages=[many[first : first + 100] for first in range(0, 5000, 100)])
    if reported:
        for each in many:
            aws.put(Record(reported=reported), each.id, is_open=False)
    assert aws.sweep().outcomes == []
    # The pages, and what is open: its ids, and their records. The claim of the sweep.
    assert (aws.reads, aws.writes) == (50 + 2, 1)
    # An AMI may come back.
    assert aws.calls == [f"find_available {AMI.id}"] * (50 if reported.endswith("gone") else 0)
    assert [line["message"] for line in log()] == ["Swept"]


def test_a_refused_import_costs_each_sweep_one_try() -> None:
    """An import that Image Builder refuses is requested once by each sweep, and reported once."""
    aws = InMemoryAws(TASK, AMI, import_error=PermanentError("denied", "AccessDeniedException"))
    # Within an hour, no second rejection is reported.
    for aws.age in map(timedelta, (1, 2, 3)):
        aws.calls.clear()
        aws.sweep()
        assert aws.calls == [f"find_ami {AMI.id}", "list_builds", f"import_vm_image {TASK_ID}"]
    assert aws.outcomes_published() == ["REJECTED"]


def test_a_registered_image_is_followed_to_its_last_state() -> None:
    """An image whose state is the last one is not looked at again."""
    aws = InMemoryAws(TASK, AMI, image=PENDING)
    aws.put_registration()
    assert [outcome.kind for outcome in aws.sweep().outcomes] == [OutcomeKind.IN_PROGRESS]
    aws.image = AVAILABLE
    assert [outcome.kind for outcome in aws.sweep().outcomes] == [OutcomeKind.IMAGE_AVAILABLE]
    assert aws.sweep().outcomes == []


def test_forced_registrations_are_handled_like_the_first() -> None:
    """Every registration of a task is followed and reported."""
    aws = InMemoryAws(TASK, AMI, image=AVAILABLE)
    aws.put_registration(results=ENDED)
    for number in (1, 2):
        aws.put_registration(f"{TASK_ID} {number}", arn=version_arn("1.4.2", build=number + 1))
    aws.sweep()
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE"] * 2
    assert {each.message.partition("parentImage: ")[2].splitlines()[0][-1] for each in aws.published} == {"2", "3"}


def test_an_image_is_followed_although_its_import_failed_afterwards() -> None:
    """The image of a task that fails after its registration is followed and reported."""
    failed = TASK._replace(status="deleted", image_id=None, status_message="ClientError: x")
    aws = InMemoryAws(failed, image=AVAILABLE._replace(status="FAILED"))
    aws.put_registration()
    aws.sweep()
    assert aws.outcomes_published() == ["IMAGE_FAILED"]
    aws.calls.clear()
    aws.sweep()
    assert aws.calls == []


def test_an_excluded_import_that_was_registered_manually_keeps_its_steps() -> None:
    """OnlyTasksTagged keeps no registered import from being followed."""
    aws = InMemoryAws(TASK, AMI, FILTER, image=PENDING)
    aws.manually()
    aws.image = AVAILABLE
    assert aws.by_sweep().kind is OutcomeKind.IMAGE_AVAILABLE


def test_an_import_that_hangs_is_reported_once() -> None:
    """A task that is active for more than 12 hours is one notification; when it completes, it is registered."""
    active = TASK._replace(status="active", image_id=None, status_message="converting", progress="39")
    aws = InMemoryAws(active, AMI)
    assert aws.sweep().outcomes == []
    aws.age = timedelta(hours=12)
    assert aws.sweep().outcomes == []
    aws.age += timedelta(seconds=1)
    (outcome,) = aws.sweep().outcomes
    assert (outcome.kind, outcome.is_new) == (OutcomeKind.IMPORT_HANGS, True)
    assert aws.sweep().outcomes == []
    assert "converting, 39 %" in aws.published[0].message
    assert f"cancel-import-task --import-task-id {TASK_ID}" in aws.published[0].message
    aws.task = TASK
    assert aws.by_sweep().kind is OutcomeKind.REGISTERED


def test_an_active_import_that_another_invocation_processes_is_no_problem() -> None:
    """Where another invocation has the claim of a running import, a later sweep notes that it is active."""
    aws = InMemoryAws(TASK._replace(status="active", image_id=None), in_progress={TASK_ID})
    assert aws.sweep().problems == []
    aws.in_progress.clear()
    aws.sweep()
    assert aws.record().first_seen == {"active": NOW}


def test_what_is_noted_of_a_task_does_not_close_its_registration() -> None:
    """A registration that another invocation records between the read and the claim keeps its steps."""
    aws = InMemoryAws()
    before, invocation = aws.record(), aws.invocation()
    aws.put_registration()
    note_first_seen("active", RegistrationId(TASK_ID), before, invocation)
    assert aws.items[TASK_ID].is_open
    assert not aws.record().first_seen


def test_an_excluded_import_does_not_hang() -> None:
    """A task that the configuration excludes is not noted and not reported."""
    aws = InMemoryAws(TASK._replace(status="active", image_id=None), settings=FILTER)
    for aws.age in (timedelta(0), timedelta(days=1)):
        assert aws.sweep().outcomes == []
    assert SWEEP not in aws.items
    assert aws.items == {}


def test_a_sweep_that_begins_while_another_one_runs_ends_at_once(log: Log) -> None:
    """Two sweeps at once are one; a dry run is not kept from running."""
    aws = InMemoryAws(TASK, AMI, in_progress={SWEEP})
    result = aws.sweep()
    assert (result.outcomes, result.reason) == ([], "Another sweep is running.")
    assert [entry["reason"] for entry in log()] == [result.reason]
    assert aws.calls == []
    assert aws.by_sweep(dry_run=True).kind is OutcomeKind.DRY_RUN


def test_listing_costs_no_read_for_each_registration() -> None:
    """Where an option is turned on later for thousands of images, the time of a sweep is not spent on listing them."""
    many = tasks(100)
    aws = InMemoryAws(pages=[many], settings=Settings(tag_amis=True), calls_in_time=0)
    for task in many:
        aws.put_registration(task.id, results=ENDED)
        aws.items[task.id] = aws.items[task.id]._replace(is_open=False)
    assert aws.sweep().reason
    # The page, and what is open: its ids, and their records.
    assert aws.reads == 3


def test_an_open_forced_registration_is_followed_once_a_sweep() -> None:
    """A forced registration is looked at once, although its task and the index of what is open both lead to it."""
    aws = InMemoryAws(TASK, AMI, Settings(tag_amis=True), image=PENDING)
    aws.put_registration(results={"follow": "FAILED", "notify": "IMAGE_FAILED", "tag": ""})
    aws.put_registration(f"{TASK_ID} 1", arn=version_arn("1.4.2", build=2))
    assert [outcome.kind for outcome in aws.sweep().outcomes] == [OutcomeKind.IN_PROGRESS]


RENAMED = version_arn("1.4.2", "database")
BASE = "/imagebuilder/base"
TAG, PARAMETER = Settings(tag_amis=True), Settings(parameter_prefix=BASE)


def renamed(settings: Settings) -> InMemoryAws:
    """Return AWS with a renamed import whose steps had ended before the options of the settings were turned on."""
    builds = [Build(RENAMED, "AVAILABLE", is_import=True, ami_ids=(AMI.id,))]
    aws = InMemoryAws(TASK, AMI, settings, image=AVAILABLE, builds=builds, parameters={f"{BASE}/web-server": AMI.id})
    aws.put_registration(results=ENDED)
    aws.items[TASK_ID] = aws.items[TASK_ID]._replace(is_open=False)
    aws.put_registration(f"{TASK_ID} 1", arn=RENAMED, results=ENDED)
    return aws


def assert_all_is_done(aws: InMemoryAws) -> None:
    """Check that the next sweeps do what the options ask of the forced registration."""
    for _ in range(3):
        aws.sweep()
    if aws.settings.tag_amis:
        assert aws.tags[AMI.id]["Name"] == "database 1.4.2"
    if aws.settings.parameter_prefix:
        assert aws.parameters[f"{BASE}/database"] == AMI.id
    assert not aws.items[TASK_ID].is_open
    assert aws.sweep().outcomes == []


@pytest.mark.parametrize("before", [Settings(), Settings(observe=True, tag_amis=True, parameter_prefix=BASE)])
@pytest.mark.parametrize("settings", [TAG, PARAMETER], ids=["tag", "parameter"])
def test_an_option_that_is_turned_on_later_applies_to_a_forced_registration(
    settings: Settings, before: Settings
) -> None:
    """An option that was off, or without effect, while an import was renamed applies to the renamed image later."""
    aws = renamed(before)
    done = {**ENDED, "tag": AMI.id, "parameter": f"{BASE}/web-server"}
    aws.put_registration(results=done)
    aws.items[TASK_ID] = aws.items[TASK_ID]._replace(is_open=False)
    aws.put_registration(f"{TASK_ID} 1", arn=RENAMED)
    for _ in range(3):
        aws.sweep()
    assert aws.registration(f"{TASK_ID} 1").results == ENDED
    aws.settings = settings
    assert_all_is_done(aws)


def test_a_forced_registration_is_closed_when_every_step_has_ended() -> None:
    """A forced registration for which no option is left is looked at no more."""
    aws = renamed(Settings(tag_amis=True, parameter_prefix=BASE))
    for _ in range(3):
        aws.sweep()
    assert not any(item.is_open for item in aws.items.values())


@pytest.mark.parametrize("settings", [TAG, PARAMETER], ids=["tag", "parameter"])
@pytest.mark.parametrize("calls", range(12))
def test_a_forced_registration_for_which_there_is_no_time_is_reached_later(settings: Settings, calls: int) -> None:
    """Wherever the time of a sweep ends, later ones do what an option asks of a forced registration."""
    aws = renamed(settings)
    aws.calls_in_time = calls
    aws.sweep()
    aws.calls_in_time = 1000
    assert_all_is_done(aws)


def test_a_forced_registration_whose_step_fails_delays_nothing() -> None:
    """While a step of a forced registration fails, the first registration is followed; later sweeps try again."""
    aws = renamed(PARAMETER)
    aws.put_registration()
    aws.parameters.clear()
    aws.errors[f"{BASE}/database"] = TransientError("503")
    assert aws.sweep().problems == [f"{TASK_ID} 1: 503"]
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE"]
    assert aws.parameters == {f"{BASE}/web-server": AMI.id}
    aws.errors.clear()
    assert_all_is_done(aws)


def test_a_forced_registration_is_followed_when_ec2_lists_the_task_no_more() -> None:
    """What is left of a forced registration is done after EC2's 7 days, too."""
    aws = renamed(PARAMETER)
    aws.pages = [[]]
    assert_all_is_done(aws)


def test_an_ami_that_comes_back_is_registered() -> None:
    """An import whose AMI was reported as gone is registered by the next sweep that finds the AMI."""
    aws = InMemoryAws(TASK, None)
    for aws.age in (timedelta(), timedelta(hours=1), timedelta(hours=2)):
        aws.sweep()
    assert (aws.outcomes_published(), aws.requests) == (["REJECTED"], [])
    aws.ami = AMI
    aws.sweep()
    assert len(aws.requests) == 1


@pytest.mark.parametrize(
    ("task", "settings"), [(TASK, FILTER), (TASK._replace(status="deleting"), Settings())], ids=["excluded", "deleting"]
)
def test_an_ami_that_comes_back_registers_no_other_task(task: ImportTask, settings: Settings) -> None:
    """An excluded task, and one that is being deleted, are not looked at, although their AMI was reported as gone."""
    aws = InMemoryAws(task, AMI, settings)
    aws.put(Record(reported="REJECTED AMI gone"), is_open=False)
    assert aws.sweep().outcomes == []
    assert (aws.calls, aws.requests) == ([], [])


def test_a_refused_look_at_amis_that_are_gone_hides_nothing() -> None:
    """Where EC2 refuses to show the AMIs that are gone, it is one problem, and the page's other tasks are processed."""
    gone, other = tasks(2)
    aws = InMemoryAws(pages=[[gone, other]], errors={gone.image_id or "": PermanentError("Denied.")})
    aws.put(Record(reported="REJECTED AMI gone"), gone.id, is_open=False)
    assert aws.sweep().problems == [f"{gone.id} and 1 more: Denied."]
    assert tasks_asked_for(aws) == [other.id]


def test_nothing_new_costs_one_read_a_page() -> None:
    """A page of tasks with nothing to do reads their records once."""
    many = tasks(1000)
    aws = InMemoryAws(pages=[many[:500], many[500:]])
    for task in many:
        aws.put_registration(task.id, results=ENDED)
        aws.items[task.id] = aws.items[task.id]._replace(is_open=False)
    aws.sweep()
    # The pages, and what is open: its ids, and their records.
    assert (aws.reads, aws.calls) == (4, [])


def test_one_bad_task_does_not_stop_the_others() -> None:
    """Every problem is in the result, with its task; the other tasks are processed, and the sweep is complete."""
    bad = ["ami-00000001", "ami-00000002"]
    aws = InMemoryAws(pages=[tasks(4)], errors={id_: TransientError("throttled") for id_ in bad})
    result = aws.sweep()
    assert sorted(result.problems) == [f"import-{id_}: throttled" for id_ in bad]
    assert len(tasks_asked_for(aws)) == 4
    assert result.reason is None
    assert metrics() == {"SweepProblems": 2.0, "SweepsCompleted": 1.0}


def test_a_page_that_cannot_be_listed_is_an_error() -> None:
    """Where EC2 does not list all tasks, those that it has listed are processed, and the sweep fails."""
    errors: dict[str, Exception] = {"ami-00000001": TransientError("throttled")}
    aws = InMemoryAws(pages=[tasks(2), PermanentError("denied")], errors=errors)
    with pytest.raises(SweepError, match="denied"):
        aws.sweep()
    assert len(tasks_asked_for(aws)) == 2
    assert metrics() == {"SweepProblems": 1.0}


@pytest.mark.parametrize(
    "record",
    [
        *("?", "[]", "1", '{"registration": 1}', '{"registration": {}}', '{"firstSeen": {"active": "yesterday"}}'),
        '{"registration": {"arn": "a", "ami_id": "b", "time": "2026-11-23T10:15:00+00:00", "task": {"id": "c"}}}',
        '{"firstSeen": {"active": "2026-11-23T10:15:00"}}',
        *("[" * 100_000, '{"registration": ' * 100_000),
    ],
)
def test_an_unreadable_record_is_one_problem(record: str) -> None:
    """A record that cannot be read is one problem that names its task; the other tasks of its page are processed."""
    bad, good = tasks(2)
    aws = InMemoryAws(pages=[[bad, good]], items={bad.id: Item(record)})
    (problem,) = aws.sweep().problems
    assert problem.startswith(f"{bad.id}: ")
    assert tasks_asked_for(aws) == [good.id]


def test_what_a_later_version_adds_is_ignored() -> None:
    """What a later version of the function adds to a registration does not make it unreadable."""
    aws = InMemoryAws()
    aws.put_registration(TASK_ID, **UNVERIFIED)
    found = json.loads(aws.items[TASK_ID].data or "")
    registration = found["registration"]
    registration["unverified"]["parameter"] += ["more", {}]
    for added in (registration, registration["task"], registration["task"]["disks"][0]):
        added["later"] = ["more"]
    record = parse_record(TASK_ID, json.dumps(found), "")
    assert record == aws.record()
    assert record.readable().registration


@pytest.mark.parametrize(
    ("id_", "what_follows"),
    [
        (TASK_ID, "from the idempotency table. The next sweep then looks for the image in Image Builder."),
        (f"{TASK_ID} 3", "The image stays in Image Builder: no sweep looks for the image of a forced registration."),
        ("version web/1.0.0", "table. The version is then free, unless Image Builder lists an image of it."),
        ("retention", "delete the item with this id from the idempotency table."),
    ],
)
def test_an_unreadable_record_says_what_follows_its_deletion(id_: str, what_follows: str) -> None:
    """The error of a record that cannot be read says what follows when its item is deleted."""
    assert str(parse_record(id_, "?", "").unreadable).endswith(what_follows)


def test_every_unreadable_record_is_logged(log: Log) -> None:
    """The log names each record that cannot be read, also that of a task that EC2 does not list any more."""
    listed, unlisted = (task.id for task in tasks(2))
    aws = InMemoryAws(pages=[tasks(1)], items={listed: Item("?", is_open=True), unlisted: Item("?", is_open=True)})
    assert len(aws.sweep().problems) == 2
    assert [entry["importTaskId"] for entry in log() if entry["level"] == "ERROR"] == [listed, unlisted]


@pytest.mark.parametrize("id_", ["note of an operator", f"{TASK_ID} 1 2"])
def test_an_item_that_is_no_registration_is_one_problem(id_: str) -> None:
    """An open item whose id is none of a registration is one problem that names it; the other ones are processed."""
    aws = InMemoryAws(ami=AMI, image=AVAILABLE, items={id_: Item(is_open=True)})
    aws.put_registration()
    (problem,) = aws.sweep().problems
    assert problem.startswith(f"{id_}: The record {id_!r} cannot be read (")
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE"]


@pytest.mark.parametrize("member", ["time", "unverified"])
def test_a_time_without_a_time_zone_cannot_be_read(member: str) -> None:
    """A registration with a time without a time zone is a record that cannot be read."""
    aws = InMemoryAws()
    aws.put_registration()
    found = json.loads(aws.items[TASK_ID].data or "")
    time = "2026-11-23T10:15:00"
    found["registration"][member] = {"parameter": [AMI.id, time]} if member == "unverified" else time
    assert parse_record(TASK_ID, json.dumps(found), "").unreadable


@pytest.mark.parametrize("value", [None, 7, False, [7], {"x": 7}])
def test_a_wrong_type_in_a_registration_is_one_problem(value: object) -> None:
    """A registration in which something has a wrong type cannot be read, or its steps run; others are processed."""
    bad, good = (task.id for task in tasks(2))
    settings = Settings(tag_amis=True, ami_tag_keys=("Team",), parameter_prefix="/base")
    aws = InMemoryAws(TASK)
    aws.put_registration(bad, sources={"name": "tag"}, warnings=["w"], problems={"tag": "p"}, **UNVERIFIED)
    registration = json.loads(aws.items[bad].data or "")["registration"]
    for changed in changes(registration, value):
        aws = InMemoryAws(ami=AMI, settings=settings, image=AVAILABLE, pages=[[]])
        aws.put_registration(good)
        aws.items[bad] = Item(json.dumps({"registration": changed}), is_open=True)
        unreadable = f"{bad}: The record '{bad}' cannot be read ("
        assert all(problem.startswith(unreadable) for problem in aws.sweep().problems), changed
        assert any(good in each.message for each in aws.published), changed


def changes(found: object, value: object) -> Iterator[object]:
    """Yield JSON with each of its parts replaced by a value."""
    yield value
    if isinstance(found, dict):
        for key in found:
            yield from ({**found, key: changed} for changed in changes(found[key], value))
    if isinstance(found, list):
        for place, each in enumerate(found):
            yield from ([*found[:place], changed, *found[place + 1 :]] for changed in changes(each, value))


def test_a_record_of_a_later_version_is_read() -> None:
    """A field that a later version of the function adds to a record is ignored."""
    aws = InMemoryAws()
    aws.put_registration()
    found = json.loads(aws.items[TASK_ID].data or "")
    found["later"] = found["registration"]["later"] = found["registration"]["task"]["later"] = 1
    found["registration"]["task"]["disks"][0]["later"] = 1
    assert parse_record(TASK_ID, json.dumps(found), "").registration == aws.registration()


@pytest.mark.parametrize("page", [[TASK], []], ids=["listed", "not listed any more"])
def test_a_dry_run_runs_no_steps(page: list[ImportTask]) -> None:
    """A dry run of a sweep leaves a registration alone whose image is available and not reported or tagged."""
    aws = InMemoryAws(ami=AMI, settings=Settings(tag_amis=True), image=AVAILABLE, pages=[page])
    aws.put_registration()
    before = dict(aws.items)
    assert aws.sweep(dry_run=True).outcomes == []
    assert (aws.items, aws.tags, aws.published, aws.calls) == (before, {}, [], [])


def test_a_dry_run_is_not_counted() -> None:
    """A dry run of a sweep has no metrics, and its problems are in the result."""
    aws = InMemoryAws(pages=[tasks(1)], errors={"ami-00000000": TransientError("throttled")})
    assert aws.sweep(dry_run=True).problems
    assert metrics() == {}


def test_listing_stops_in_time() -> None:
    """A sweep whose time is over after the first page lists no second one."""
    aws = InMemoryAws(pages=[tasks(1), AssertionError("listed")], calls_in_time=0)
    assert aws.sweep().reason


def test_a_sweep_stops_in_time_and_says_so() -> None:
    """A sweep begins no task when its time is over, and its result says that the next sweep continues."""
    result = InMemoryAws(pages=[tasks(3)], calls_in_time=2).sweep()
    assert len(result.outcomes) == 2
    assert "next sweep continues" in str(result.reason)


def test_every_task_gets_its_turn() -> None:
    """Each sweep takes the tasks in another order, so that slow ones do not keep it from the same others."""
    aws = InMemoryAws(pages=[tasks(2)], calls_in_time=1)
    for _ in range(20):
        aws.sweep()
    assert len(set(tasks_asked_for(aws))) == 2


def test_problems_are_in_the_result_although_the_time_is_over() -> None:
    """A sweep that meets a problem and runs out of time says both."""
    errors = dict.fromkeys((str(task.image_id) for task in tasks(3)), TransientError("throttled"))
    result = InMemoryAws(pages=[tasks(3)], errors={**errors}, calls_in_time=1).sweep()
    assert len(result.problems) == 1
    assert "next sweep continues" in str(result.reason)


def test_builds_are_listed_once_a_sweep() -> None:
    """A sweep over several imports that may exist lists the builds of the account once."""
    several = [TASK._replace(id=f"import-ami-0000000{number}") for number in range(3)]
    aws = InMemoryAws(ami=AMI, pages=[several], age=timedelta(days=1))
    assert len(aws.requests) == 0
    aws.sweep()
    assert len(aws.requests) == 3
    assert aws.calls.count("list_builds") == 1


def test_a_large_answer_is_cut() -> None:
    """The answer of a sweep is below 6 MB; its counts are complete, and its reason says what is missing."""
    outcomes = [Outcome(OutcomeKind.REJECTED, TASK_ID, reason="x" * 5_000)] * 2_000
    answer = answer_of_sweep(SweepResult(outcomes, ["y" * 5_000] * 10_000))
    assert len(json.dumps(answer)) < 6_000_000
    assert answer["counts"] == {"REJECTED": 2_000}
    assert "of 2000 results and" in str(answer["reason"])
    assert "of 10000 problems" in str(answer["reason"])


def test_a_list_of_builds_that_fails_is_one_problem() -> None:
    """What Image Builder refuses for all imports is asked for once a sweep, and is one problem."""
    several = [TASK._replace(id=f"import-ami-0000000{number}") for number in range(3)]
    aws = InMemoryAws(ami=AMI, pages=[several], builds_error=TransientError("throttled on page 12"))
    assert len(aws.sweep().problems) == 1
    assert aws.calls.count("list_builds") == 1


def test_an_error_of_the_list_of_builds_does_not_grow() -> None:
    """The traceback that is logged for each import is as long for the last import as for the first one."""
    builds = InMemoryAws(builds_error=TransientError("throttled")).invocation().builds
    lengths = []
    for _ in range(3):
        with pytest.raises(TransientError) as caught:
            builds.builds()
        lengths.append(len(caught.traceback))
    assert lengths[1:] == lengths[1:2] * 2


def test_a_dry_run_lists_failed_imports_with_their_remedies() -> None:
    """A dry run lists every failed import that EC2 lists, reported or not, with what to do, and reports none."""
    failed = TASK._replace(status="deleted", image_id=None, status_message="ClientError: Unsupported kernel version 4")
    aws = InMemoryAws(failed, items={TASK_ID: Item(reported="IMPORT_FAILED")})
    (outcome,) = aws.sweep(dry_run=True).outcomes
    assert outcome.kind is OutcomeKind.IMPORT_FAILED
    assert find_remedy(failed.status_message, None).text in (outcome.reason or "")
    assert not aws.published
