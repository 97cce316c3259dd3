"""The sweep: what it does, what it costs, and what stops it."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.unit.fakes import AMI, ARN, TASK, TASK_ID, InMemoryAws
from vm_image_import import observability
from vm_image_import.errors import PermanentError, SweepError, TransientError
from vm_image_import.idempotency.records import IdempotencyKey, Registration
from vm_image_import.models import Image, ImportTask, OutcomeKind

RECORD = Registration(ARN, AMI.id).to_json()
AVAILABLE = Image(ARN, status="AVAILABLE", import_task_id=TASK_ID)


@pytest.fixture(autouse=True)
def _no_metrics_left() -> Iterator[None]:
    """Leave the process without metrics that nothing flushes."""
    yield
    observability.metrics.clear_metrics()


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
    """Reported images and failures, cancelled imports, and images without a known ARN are not asked for again."""
    available, unknown = tasks(2)
    failed = ImportTask("import-ami-failed00", status="deleted", status_message="ClientError")
    cancelled = ImportTask("import-ami-cancel00", status="deleted", status_message="Cancelled by user")
    aws = InMemoryAws(pages=[[available, unknown, failed, cancelled]])
    aws.records = {
        registered(available.id): RECORD,
        IdempotencyKey("terminal", ARN): "IMAGE_AVAILABLE",
        registered(unknown.id): Registration("", AMI.id).to_json(),
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


def test_a_refused_notification_is_sent_before_the_image_is_checked() -> None:
    """A notification that SNS refused when the image was made is sent by the next sweep, once."""
    aws = InMemoryAws(TASK, image=AVAILABLE)
    aws.records[registered(TASK_ID)] = Registration(ARN, AMI.id, notified=False).to_json()
    aws.sweep()
    assert aws.outcomes_published() == ["REGISTERED", "IMAGE_AVAILABLE"]
    aws.sweep()
    assert aws.outcomes_published() == ["REGISTERED", "IMAGE_AVAILABLE"]


def test_forced_registrations_are_handled_like_the_first() -> None:
    """Every registration of a task is tracked, and its notification is sent."""
    aws = InMemoryAws(TASK)
    aws.records = {
        registered(TASK_ID): RECORD,
        IdempotencyKey("terminal", ARN): "IMAGE_FAILED",
        registered(TASK_ID, 1): Registration("arn/2", AMI.id, request_id="a").to_json(),
        registered(TASK_ID, 2): Registration("arn/3", AMI.id, notified=False, request_id="b").to_json(),
    }
    aws.sweep()
    assert aws.calls == ["find_image arn/2", "find_image arn/3"]
    ((_, message, outcome),) = aws.published
    assert outcome == "REGISTERED"
    assert "arn/3" in message


def test_an_image_is_checked_although_its_import_failed_afterwards() -> None:
    """A task that fails after its image was registered is reported, and its image is checked."""
    failed = replace(TASK, status="deleted", image_id=None, status_message="ClientError: x")
    aws = InMemoryAws(failed, records={registered(TASK_ID): RECORD}, image=replace(AVAILABLE, status="FAILED"))
    aws.sweep()
    assert aws.outcomes_published() == ["IMPORT_FAILED", "IMAGE_FAILED"]
    aws.calls.clear()
    aws.sweep()
    assert aws.calls == []


def test_nothing_new_costs_three_reads_a_page() -> None:
    """A page of tasks with nothing to do costs three reads of the records, however many images there are."""
    many = tasks(1000)
    aws = InMemoryAws(pages=[many[:500], many[500:]])
    for task in many:
        aws.records[registered(task.id)] = Registration(f"arn-{task.id}", AMI.id).to_json()
        aws.records[IdempotencyKey("terminal", f"arn-{task.id}")] = "IMAGE_AVAILABLE"
    aws.sweep()
    assert (aws.reads, aws.calls) == (6, [])


def test_one_bad_task_does_not_stop_the_others() -> None:
    """Every problem is raised at the end, each with its task; the other tasks are processed."""
    bad = ["import-ami-00000001", "import-ami-00000002"]
    aws = InMemoryAws(pages=[tasks(4)], errors=dict.fromkeys(bad, TransientError("throttled")))
    with pytest.raises(SweepError) as caught:
        aws.sweep()
    assert sorted(caught.value.problems) == [f"{task_id}: throttled" for task_id in bad]
    assert len(tasks_asked_for(aws)) == 4


def test_a_page_that_cannot_be_listed_does_not_stop_the_pages_before() -> None:
    """The tasks that EC2 has listed are processed, and every problem is raised."""
    errors: dict[str, Exception] = {"import-ami-00000001": TransientError("throttled")}
    aws = InMemoryAws(pages=[tasks(2), PermanentError("denied")], errors=errors)
    with pytest.raises(SweepError) as caught:
        aws.sweep()
    assert len(tasks_asked_for(aws)) == 2
    assert caught.value.problems == (
        "The import tasks could not be listed to the end: denied",
        "import-ami-00000001: throttled",
    )


def test_an_unreadable_record_does_not_stop_the_other_pages() -> None:
    """A problem with the records of a page names the page; the other pages are processed."""
    bad, good = tasks(2)
    aws = InMemoryAws(pages=[[bad], [good]], records={registered(bad.id): "?"})
    with pytest.raises(SweepError, match="import-ami-00000000 and 0 more: "):
        aws.sweep()
    assert tasks_asked_for(aws) == [good.id]


def test_a_record_of_a_later_version_is_read() -> None:
    """A key that a later version of the function adds to a record is ignored."""
    record = json.dumps({**Registration("arn", "ami")._asdict(), "later": 1})
    assert Registration.from_json(record) == Registration("arn", "ami")


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


def test_problems_are_raised_although_the_time_is_over() -> None:
    """A sweep that meets a problem and runs out of time raises both."""
    errors = dict.fromkeys((task.id for task in tasks(3)), TransientError("throttled"))
    with pytest.raises(SweepError, match="next sweep continues") as caught:
        InMemoryAws(pages=[tasks(3)], errors={**errors}, calls_in_time=1).sweep()
    assert len(caught.value.problems) == 2
