"""Looks at every finished import task, and does what the events did not lead to: the redrive of everything."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vm_image_import.errors import SweepError
from vm_image_import.follow import Follower
from vm_image_import.outcome import Outcome
from vm_image_import.ports import Fact, Imports, Ledger
from vm_image_import.register import Registrar
from vm_image_import.registration import Registration
from vm_image_import.task import ImportTask
from vm_image_import.telemetry import logger, tell


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
        return answer if self.complete else answer | {"reason": "Out of time: the next sweep goes on."}


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
            for task, known in self._open(page):
                if out_of_time():
                    swept.complete = False
                    break
                logger.append_keys(importTaskId=task.id)
                self._settle(task, known, swept, dry_run=dry_run)
            if not swept.complete:
                break
        logger.remove_keys(["importTaskId"])
        if swept.problems:
            raise SweepError(swept.problems)
        return swept

    def _open(self, page: Sequence[ImportTask]) -> list[tuple[ImportTask, Registration | None]]:
        """Return the tasks with something left to do, and what is recorded where one is registered."""
        records = self.ledger.known(Fact("registered", task.id) for task in page if not task.ended_without_ami)
        registered = {fact.about: Registration.of_record(record) for fact, record in records.items()}
        wanted = {task.id: _wanted(task, registered.get(task.id)) for task in page}
        recorded = self.ledger.known(fact for facts in wanted.values() for fact in facts).keys()
        return [(task, registered.get(task.id)) for task in page if not wanted[task.id] <= recorded]

    def _settle(self, task: ImportTask, registration: Registration | None, swept: Swept, *, dry_run: bool) -> None:
        try:
            if registration is None:
                outcome = self.registrar.register_finished(task, dry_run=dry_run)
            elif dry_run:
                return
            else:
                if not registration.told:
                    self.registrar.register_finished(task, dry_run=False)
                outcome = self.follower.follow(registration.arn)
        except Exception as error:  # noqa: BLE001 - collected, and raised at the end
            logger.exception("Failed")
            swept.problems.append(f"{task.id}: {error}")
            return
        tell(outcome, dry_run=dry_run)
        swept.outcomes.append(outcome)


def _wanted(task: ImportTask, registration: Registration | None) -> set[Fact]:
    """Return the facts after which nothing is left to do for a task."""
    if task.cancelled:
        return set()
    if task.ended_without_ami:
        return {Fact("ended", task.id)}
    if registration is None:
        return {Fact("registered", task.id)}
    if not registration.arn:
        # Only the client token is known: the image cannot be followed.
        return set()
    return {Fact("ended", registration.arn)} | (set() if registration.told else {Fact("told", registration.arn)})
