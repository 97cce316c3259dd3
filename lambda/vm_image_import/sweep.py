"""Looks at every finished import task, and does what the events did not lead to: the redrive of everything."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from vm_image_import.errors import SweepError
from vm_image_import.follow import Follower
from vm_image_import.outcome import Outcome
from vm_image_import.ports import Fact, Imports, Ledger
from vm_image_import.register import Registrar
from vm_image_import.registration import Registration
from vm_image_import.task import ImportTask
from vm_image_import.telemetry import logger, tell

_OUT_OF_TIME: Final = "Out of time: the next sweep goes on."


@dataclass(slots=True)
class Swept:
    """What a sweep did; tasks with nothing left to do are not in it."""

    outcomes: list[Outcome] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    complete: bool = True
    """Whether it came to the end of the tasks in time; the next sweep goes on where it did not."""

    def as_answer(self) -> dict[str, object]:
        """Return the function's answer."""
        answer: dict[str, object] = {
            "outcome": "SWEPT",
            "counts": dict(Counter(outcome.kind.value for outcome in self.outcomes)),
            "results": [outcome.as_answer() for outcome in self.outcomes],
        }
        return answer if self.complete else answer | {"reason": _OUT_OF_TIME}


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Registers what is missing and tells what ended. One bad task never stops the rest."""

    imports: Imports
    ledger: Ledger
    registrar: Registrar
    follower: Follower

    def sweep(self, out_of_time: Callable[[], bool], *, dry_run: bool) -> Swept:
        """Go through all finished tasks until `out_of_time`.

        Raises SweepError at the end, with what went wrong, where a task could not be dealt with; and whatever keeps it
        from reading the tasks.
        """
        swept = Swept()
        for page in self.imports.finished_tasks():
            for task, registration, missing in self._open(page):
                if out_of_time():
                    swept.complete = False
                    break
                logger.append_keys(importTaskId=task.id)
                try:
                    for outcome in self._settle(task, registration, missing, dry_run=dry_run):
                        tell(outcome, dry_run=dry_run)
                        swept.outcomes.append(outcome)
                except Exception as error:  # noqa: BLE001 - collected, and raised at the end
                    logger.exception("Failed")
                    swept.problems.append(f"{task.id}: {error}")
            if not swept.complete:
                break
        logger.remove_keys(["importTaskId"])
        if swept.problems:
            swept.problems += [] if swept.complete else [_OUT_OF_TIME]
            raise SweepError(swept.problems)
        return swept

    def _open(self, page: Sequence[ImportTask]) -> list[tuple[ImportTask, Registration | None, set[Fact]]]:
        """Return the tasks with something left to do, what is recorded where one is registered, and what is missing."""
        records = self.ledger.known(Fact("registered", task.id) for task in page)
        registered = {fact.about: Registration.of_record(record) for fact, record in records.items()}
        wanted = {task.id: _wanted(task, registered.get(task.id)) for task in page}
        recorded = self.ledger.known(fact for facts in wanted.values() for fact in facts).keys()
        return [(task, registered.get(task.id), missing) for task in page if (missing := wanted[task.id] - recorded)]

    def _settle(
        self, task: ImportTask, registration: Registration | None, missing: set[Fact], *, dry_run: bool
    ) -> Iterator[Outcome]:
        if missing & {Fact("registered", task.id), Fact("ended", task.id)}:
            yield self.registrar.register_finished(task, dry_run=dry_run)
        if registration is None or dry_run:
            return
        if Fact("told", registration.arn) in missing:
            self.registrar.tell_registered(task.id, registration.arn)
        if Fact("ended", registration.arn) in missing:
            yield self.follower.follow(registration.arn)


def _wanted(task: ImportTask, registration: Registration | None) -> set[Fact]:
    """Return the facts after which nothing is left to do for a task."""
    wanted = set()
    if task.ended_without_ami and not task.cancelled:
        wanted.add(Fact("ended", task.id))
    if registration is None and not task.ended_without_ami:
        wanted.add(Fact("registered", task.id))
    # An image of which only the token is known has an empty ARN, and cannot be followed.
    if registration and registration.arn:
        # Also where the task failed afterwards: its image fails with it.
        wanted.add(Fact("ended", registration.arn))
        if not registration.told:
            wanted.add(Fact("told", registration.arn))
    return wanted
