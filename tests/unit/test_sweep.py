"""The sweep: what it does, what it costs, and what stops it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.fakes import AMI, ARN, TASK, TASK_ID, InMemoryAws
from vm_image_import import observability
from vm_image_import.answers import answer_of_sweep
from vm_image_import.errors import PermanentError, SweepError, TransientError
from vm_image_import.idempotency.records import IdempotencyKey, Registration, RegistrationId, parse_registration
from vm_image_import.models import Image, ImportTask, Outcome, OutcomeKind, SweepResult
from vm_image_import.remedies import find_remedy

RECORD = Registration(ARN, AMI.id).to_json()
AVAILABLE = Image(ARN, status="AVAILABLE", tagged_task_id=TASK_ID)


@pytest.fixture(autouse=True)
def _no_metrics_left() -> Iterator[None]:
    """Leave the process without metrics that nothing flushes."""
    yield
    observability.metrics.clear_metrics()


def metrics() -> dict[str, float]:
    """Return the metrics of sweeps so far, by name."""
    recorded: dict[str, Any] = observability.metrics.metric_set
    return {name: sum(metric["Value"]) for name, metric in recorded.items() if "Sweep" in name}


def registered(import_task_id: str, number: int = 0) -> IdempotencyKey:
    """Return the key of a registration."""
    return IdempotencyKey("registered", f"{import_task_id} {number}" if number else import_task_id)


def tasks(how_many: int) -> list[ImportTask]:
    """Return completed tasks, whose AMI is gone."""
    return [ImportTask(f"import-ami-{number:08}", status="completed") for number in range(how_many)]


def tasks_asked_for(aws: InMemoryAws) -> list[str]:
    """Return the ids of the tasks whose AMI was asked for."""
    return [call.partition(" ")[2] for call in aws.calls if call.startswith("find_ami_named")]


def test_a_task_without_a_record_is_registered() -> None:
    """An ended task that has no record is registered."""
    aws = InMemoryAws(TASK, AMI)
    result = aws.sweep()
    assert [outcome.kind for outcome in result.outcomes] == [OutcomeKind.REGISTERED]
    assert result.reason is None
    assert len(aws.requests) == 1


def test_what_is_done_costs_no_call() -> None:
    """Reported images, reported failures and cancelled imports are not asked for again."""
    (available,) = tasks(1)
    failed = ImportTask("import-ami-failed00", status="deleted", status_message="ClientError")
    cancelled = ImportTask("import-ami-cancel00", status="deleted", status_message="Cancelled by user")
    aws = InMemoryAws(pages=[[available, failed, cancelled]])
    aws.records = {
        registered(available.id): RECORD,
        IdempotencyKey("terminal", ARN): "IMAGE_AVAILABLE",
        IdempotencyKey("terminal", failed.id): "IMPORT_FAILED",
    }
    assert aws.sweep().outcomes == []
    assert aws.calls == []


def test_a_registered_image_is_checked_until_it_is_terminal() -> None:
    """An image whose state is terminal is not checked again."""
    aws = InMemoryAws(TASK, records={registered(TASK_ID): RECORD}, image=replace(AVAILABLE, status="PENDING"))
    assert [outcome.kind for outcome in aws.sweep().outcomes] == [OutcomeKind.IN_PROGRESS]
    aws.image = AVAILABLE
    assert [outcome.kind for outcome in aws.sweep().outcomes] == [OutcomeKind.IMAGE_AVAILABLE]
    assert aws.sweep().outcomes == []


def test_a_refused_notification_is_sent_by_the_next_sweep() -> None:
    """A notification that SNS refuses is one problem of its task, and is sent by the next sweep, once."""
    aws = InMemoryAws(TASK, records={registered(TASK_ID): RECORD}, image=AVAILABLE, publish_error=PermanentError("SNS"))
    assert aws.sweep().problems == [f"{TASK_ID}: SNS"]
    aws.publish_error = None
    for _ in range(2):
        assert aws.sweep().problems == []
    assert aws.outcomes_published() == ["IMAGE_AVAILABLE"]


def test_forced_registrations_are_handled_like_the_first() -> None:
    """Every registration of a task is tracked until its image is terminal."""
    aws = InMemoryAws(TASK)
    aws.records = {
        registered(TASK_ID): RECORD,
        IdempotencyKey("terminal", ARN): "IMAGE_FAILED",
        registered(TASK_ID, 1): Registration("arn/2", AMI.id, request_id="a").to_json(),
        registered(TASK_ID, 2): Registration("arn/3", AMI.id, request_id="b").to_json(),
    }
    aws.sweep()
    assert aws.calls == ["find_image arn/2", "find_image arn/3"]


def test_an_image_is_checked_although_its_import_failed_afterwards() -> None:
    """A task that fails after its image was registered is reported, and its image is checked."""
    failed = replace(TASK, status="deleted", image_id=None, status_message="ClientError: x")
    aws = InMemoryAws(failed, records={registered(TASK_ID): RECORD}, image=replace(AVAILABLE, status="FAILED"))
    aws.sweep()
    assert aws.outcomes_published() == ["IMPORT_FAILED", "IMAGE_FAILED"]
    aws.calls.clear()
    aws.sweep()
    assert aws.calls == []


def test_nothing_new_costs_two_reads_a_page() -> None:
    """A page of tasks with nothing to do reads the registrations once and the other records once."""
    many = tasks(1000)
    aws = InMemoryAws(pages=[many[:500], many[500:]])
    for task in many:
        aws.records[registered(task.id)] = Registration(f"arn-{task.id}", AMI.id).to_json()
        aws.records[IdempotencyKey("terminal", f"arn-{task.id}")] = "IMAGE_AVAILABLE"
    aws.sweep()
    assert (aws.reads, aws.calls) == (4, [])


def test_one_bad_task_does_not_stop_the_others() -> None:
    """Every problem is in the result, with its task; the other tasks are processed, and the sweep is complete."""
    bad = ["import-ami-00000001", "import-ami-00000002"]
    aws = InMemoryAws(pages=[tasks(4)], errors=dict.fromkeys(bad, TransientError("throttled")))
    result = aws.sweep()
    assert sorted(result.problems) == [f"{task_id}: throttled" for task_id in bad]
    assert len(tasks_asked_for(aws)) == 4
    assert result.reason is None
    assert metrics() == {"SweepProblems": 2.0, "SweepsCompleted": 1.0}


def test_a_page_that_cannot_be_listed_is_an_error() -> None:
    """Where EC2 does not list all tasks, those that it has listed are processed, and the sweep fails."""
    errors: dict[str, Exception] = {"import-ami-00000001": TransientError("throttled")}
    aws = InMemoryAws(pages=[tasks(2), PermanentError("denied")], errors=errors)
    with pytest.raises(SweepError, match="denied"):
        aws.sweep()
    assert len(tasks_asked_for(aws)) == 2
    assert metrics() == {"SweepProblems": 1.0}


@pytest.mark.parametrize("record", ["?", "[]", "{}", '{"arn": ""}', '{"arn": "a", "ami_id": 7}', '{"arn": ["a"]}'])
def test_an_unreadable_record_is_one_problem(record: str) -> None:
    """A record that cannot be read is one problem that names its task; the other tasks of its page are processed."""
    bad, good = tasks(2)
    aws = InMemoryAws(pages=[[bad, good]], records={registered(bad.id): record})
    (problem,) = aws.sweep().problems
    assert problem.startswith(f"{bad.id}: ")
    assert tasks_asked_for(aws) == [good.id]


def test_a_record_of_another_version_is_read() -> None:
    """A key that an earlier or later version of the function adds to a record is ignored."""
    record = json.dumps({**Registration(ARN, AMI.id)._asdict(), "later": 1})
    assert parse_registration(RegistrationId(TASK_ID), record) == Registration(ARN, AMI.id)


def test_a_dry_run_is_not_counted() -> None:
    """A dry run of a sweep has no metrics, and its problems are in the result."""
    aws = InMemoryAws(pages=[tasks(1)], errors={"import-ami-00000000": TransientError("throttled")})
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
    errors = dict.fromkeys((task.id for task in tasks(3)), TransientError("throttled"))
    result = InMemoryAws(pages=[tasks(3)], errors={**errors}, calls_in_time=1).sweep()
    assert len(result.problems) == 1
    assert "next sweep continues" in str(result.reason)


def test_builds_are_listed_once_a_sweep() -> None:
    """A sweep over several imports that may exist lists the builds of the account once."""
    several = [replace(TASK, id=f"import-ami-0000000{number}") for number in range(3)]
    aws = InMemoryAws(ami=AMI, pages=[several], age=timedelta(days=1))
    assert len(aws.sweep().outcomes) == 3
    assert aws.calls.count("list_import_builds") == 1


def test_a_large_answer_is_cut() -> None:
    """The answer of a sweep is below 6 MB; its counts are complete, and its reason says what is missing."""
    outcomes = [Outcome(OutcomeKind.REJECTED, TASK_ID, reason="x" * 5_000)] * 2_000
    answer = answer_of_sweep(SweepResult(outcomes, ["y" * 5_000] * 10_000))
    assert len(json.dumps(answer)) < 6_000_000
    assert answer["counts"] == {"REJECTED": 2_000}
    assert "of 2000 results and" in str(answer["reason"])
    assert "of 10000 problems" in str(answer["reason"])


def test_a_dry_run_lists_failed_imports_with_their_remedies() -> None:
    """A dry run lists every failed import that EC2 lists, reported or not, with what to do, and reports none."""
    failed = replace(TASK, status="deleted", image_id=None, status_message="ClientError: Unsupported kernel version 4")
    aws = InMemoryAws(failed, records={IdempotencyKey("terminal", TASK_ID): "IMPORT_FAILED"})
    (outcome,) = aws.sweep(dry_run=True).outcomes
    assert outcome.kind is OutcomeKind.IMPORT_FAILED
    assert find_remedy(failed.status_message, None).text in (outcome.reason or "")
    assert not aws.published
