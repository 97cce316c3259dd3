"""The sweep: what it costs, what it leaves, and what stops it."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, cast

import pytest

from vm_image_import import telemetry
from vm_image_import.errors import PermanentError, SweepError, TransientError
from vm_image_import.models import ImportTask, Outcome, OutcomeKind
from vm_image_import.ports import Fact, Once
from vm_image_import.registration import Registration
from vm_image_import.sweep import Sweeper, Swept

RECORD = Registration("arn", "ami").as_record()


@pytest.fixture(autouse=True)
def _no_metrics_left() -> Iterator[None]:
    """Leave the process without metrics that nobody flushes."""
    yield
    telemetry.metrics.clear_metrics()


def tasks(how_many: int) -> list[ImportTask]:
    """Return completed tasks."""
    return [ImportTask(f"import-ami-{number:08}", status="completed") for number in range(how_many)]


@dataclass
class Everything:
    """The ports and the use cases that a sweep stands on; records what it is asked for."""

    pages: list[list[ImportTask]]
    ledger: dict[Fact, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    reads: int = 0

    def finished_tasks(self) -> list[list[ImportTask]]:
        return self.pages

    def find_task(self, import_task_id: str) -> None:
        raise AssertionError(import_task_id)

    def find_ami(self, image_id: str) -> None:
        raise AssertionError(image_id)

    def find_ami_named(self, name: str) -> None:
        raise AssertionError(name)

    def once(self, fact: Fact, act: Callable[[], str]) -> Once:
        raise AssertionError(fact, act)

    def known(self, facts: Iterable[Fact]) -> dict[Fact, str]:
        self.reads += 1
        return {fact: self.ledger[fact] for fact in facts if fact in self.ledger}

    def register_finished(self, task: ImportTask, *, dry_run: bool) -> Outcome:
        assert not dry_run
        self.asked.append(f"register {task.id}")
        if task.id in self.broken:
            message = "throttled"
            raise TransientError(message)
        return Outcome(OutcomeKind.REGISTERED, task.id)

    def tell_registered(self, import_task_id: str, number: int, registration: Registration) -> None:
        self.asked.append(f"tell {import_task_id} {number} {registration.arn}")

    def follow(self, arn: str) -> Outcome:
        self.asked.append(f"follow {arn}")
        return Outcome(OutcomeKind.IMAGE_AVAILABLE, image_arn=arn)

    def sweep(self, in_time: int = 10_000) -> Swept:
        use_case, before = cast("Any", self), len(self.asked)
        sweeper = Sweeper(self, self, use_case, use_case)
        return sweeper.sweep(lambda: len(self.asked) - before >= in_time, dry_run=False)


def test_what_is_missing_is_registered() -> None:
    """Each finished task that no record tells of."""
    swept = Everything([tasks(2)]).sweep()
    assert swept.as_answer()["counts"] == {"REGISTERED": 2}
    assert swept.complete


def test_what_ended_is_not_asked_for_again() -> None:
    """Images told of, failures told of, cancelled imports, and images of which only the token is known."""
    available, unknown = tasks(2)
    failed = ImportTask("import-ami-failed00", status="deleted", status_message="ClientError")
    cancelled = ImportTask("import-ami-cancel00", status="deleted", status_message="Cancelled")
    records = {
        Fact("registered", available.id): RECORD,
        Fact("ended", "arn"): "IMAGE_AVAILABLE",
        Fact("registered", unknown.id): Registration("", "ami").as_record(),
        Fact("ended", failed.id): "IMPORT_FAILED",
    }
    aws = Everything([[available, unknown, failed, cancelled]], records)
    assert aws.sweep().outcomes == []
    assert aws.asked == []


def test_a_registered_image_is_followed_until_it_ended() -> None:
    """By its ARN, which the record has."""
    (task,) = tasks(1)
    aws = Everything([[task]], {Fact("registered", task.id): RECORD})
    assert aws.sweep().as_answer()["counts"] == {"IMAGE_AVAILABLE": 1}
    assert aws.asked == ["follow arn"]


def test_a_notice_that_is_owed_is_sent_before_the_image_is_followed() -> None:
    """When SNS refused it, the record of the image says so."""
    (task,) = tasks(1)
    aws = Everything([[task]], {Fact("registered", task.id): Registration("arn", "ami", told=False).as_record()})
    aws.sweep()
    assert aws.asked == [f"tell {task.id} 0 arn", "follow arn"]
    aws.ledger[Fact("ended", "arn")] = "IMAGE_AVAILABLE"
    aws.sweep()
    assert aws.asked[2:] == [f"tell {task.id} 0 arn"]
    aws.ledger[Fact("told", task.id)] = "REGISTERED"
    aws.sweep()
    assert len(aws.asked) == 3


def test_what_was_forced_is_followed_and_told_like_the_first() -> None:
    """However often an import was registered once more: each of its images is somebody's."""
    (task,) = tasks(1)
    aws = Everything(
        [[task]],
        {
            Fact("registered", task.id): RECORD,
            Fact("ended", "arn"): "IMAGE_FAILED",
            Fact("registered", f"{task.id} 1"): Registration("arn/2", "ami", run="a").as_record(),
            Fact("registered", f"{task.id} 2"): Registration("arn/3", "ami", told=False, run="b").as_record(),
        },
    )
    aws.sweep()
    assert aws.asked == ["follow arn/2", f"tell {task.id} 2 arn/3", "follow arn/3"]


def test_an_image_whose_import_failed_afterwards_is_followed() -> None:
    """It was registered as soon as its AMI was there; people hear of both ends."""
    failed = ImportTask("import-ami-00000000", status="deleted", status_message="ClientError: x")
    aws = Everything([[failed]], {Fact("registered", failed.id): RECORD})
    aws.sweep()
    assert aws.asked == [f"register {failed.id}", "follow arn"]
    aws.ledger[Fact("ended", failed.id)] = "IMPORT_FAILED"
    aws.sweep()
    assert aws.asked[2:] == ["follow arn"]


def test_an_image_of_which_only_the_token_is_known_is_left_alone() -> None:
    """It cannot be followed, and is not to be made again."""
    (task,) = tasks(1)
    aws = Everything([[task]], {Fact("registered", task.id): Registration("", "ami").as_record()})
    assert aws.sweep().outcomes == []
    assert aws.asked == []


def test_nothing_new_is_looked_up_three_times_a_page() -> None:
    """What is registered, what was forced, and what ended; however many images there are."""
    many = tasks(1000)
    records = {Fact("registered", task.id): Registration(f"arn-{task.id}", "ami").as_record() for task in many}
    records |= {Fact("ended", f"arn-{task.id}"): "IMAGE_AVAILABLE" for task in many}
    aws = Everything([many[:500], many[500:]], records)
    aws.sweep()
    assert (aws.reads, aws.asked) == (6, [])


def test_one_bad_task_does_not_stop_the_rest() -> None:
    """All problems are raised together at the end, each with its task."""
    aws = Everything([tasks(4)], broken={"import-ami-00000001", "import-ami-00000002"})
    with pytest.raises(SweepError) as caught:
        aws.sweep()
    assert sorted(caught.value.problems) == ["import-ami-00000001: throttled", "import-ami-00000002: throttled"]
    assert len(aws.asked) == 4


def test_a_page_that_cannot_be_read_does_not_stop_what_was() -> None:
    """What EC2 has listed until then is dealt with, and no problem is lost."""
    aws = Everything([tasks(2)], broken={"import-ami-00000001"})
    aws.pages = cast("Any", chain(aws.pages, _unreadable()))
    with pytest.raises(SweepError) as caught:
        aws.sweep()
    assert len(aws.asked) == 2
    assert caught.value.problems == (
        "The import tasks could not be listed to the end: denied",
        "import-ami-00000001: throttled",
    )


def test_a_record_that_cannot_be_read_does_not_stop_other_pages() -> None:
    """What is wrong is raised at the end, and names where."""
    bad, good = tasks(2)
    aws = Everything([[bad], [good]], {Fact("registered", bad.id): "?"})
    with pytest.raises(SweepError, match="import-ami-00000000 and 0 more: "):
        aws.sweep()
    assert aws.asked == [f"register {good.id}"]


def test_a_record_of_a_later_version_is_read() -> None:
    """Who goes back to an earlier one of this program loses no import for it."""
    record = json.dumps({**Registration("arn", "ami")._asdict(), "later": 1})
    assert Registration.of_record(record) == Registration("arn", "ami")


def test_a_list_that_takes_all_the_time_is_told() -> None:
    """Lambda does not have to end the run."""
    aws = Everything([tasks(1), tasks(1)])
    swept = aws.sweep(in_time=0)
    assert (swept.complete, aws.reads) == (False, 2)


def _unreadable() -> Iterator[list[ImportTask]]:
    yield []
    message = "denied"
    raise PermanentError(message)


def test_it_stops_in_time_and_says_so() -> None:
    """The next sweep finds what this one registered in the records, and goes on."""
    swept = Everything([tasks(3)]).sweep(in_time=2)
    assert len(swept.outcomes) == 2
    assert not swept.complete
    assert "next sweep goes on" in str(swept.as_answer()["reason"])


def test_tasks_that_take_all_the_time_do_not_starve_the_rest() -> None:
    """Every sweep takes them in another order: of twenty in which there is time for one of two, none meets one only."""
    aws = Everything([tasks(2)])
    for _ in range(20):
        aws.sweep(in_time=1)
    assert len(set(aws.asked)) == 2


def test_out_of_time_after_problems_still_raises() -> None:
    """A problem is not lost because the time was."""
    with pytest.raises(SweepError):
        Everything([tasks(3)], broken={task.id for task in tasks(3)}).sweep(in_time=1)
