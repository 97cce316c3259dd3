"""Looks at every finished import task, and does what the events did not lead to: the redrive of everything."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from vm_image_import.errors import SweepError
from vm_image_import.follow import Follower
from vm_image_import.models import ImportTask, Outcome
from vm_image_import.ports import Fact, Imports, Ledger
from vm_image_import.register import Registrar
from vm_image_import.registration import Registration, about, registrations
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


_Step = Callable[[], Outcome | None]
"""One thing left to do for a task; None where there is no more to say about it."""


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Registers what is missing and tells what ended. One bad task never stops the rest."""

    imports: Imports
    ledger: Ledger
    registrar: Registrar
    follower: Follower

    def sweep(self, out_of_time: Callable[[], bool], *, dry_run: bool) -> Swept:
        """Go through all finished tasks until `out_of_time`.

        Raises SweepError at the end, with everything that went wrong; what could be dealt with was.
        """
        swept = Swept()
        open_tasks = list(self._open_tasks(swept, out_of_time, dry_run=dry_run))
        # A sweep that runs out of time must not leave the same tasks to the next one again and again.
        random.shuffle(open_tasks)
        for task_id, steps in open_tasks:
            if out_of_time():
                swept.complete = False
                break
            logger.append_keys(importTaskId=task_id)
            for step in steps:
                try:
                    outcome = step()
                except Exception as error:  # noqa: BLE001 - collected, and raised at the end
                    logger.exception("Failed")
                    swept.problems.append(f"{task_id}: {error}")
                else:
                    if outcome:
                        tell(outcome, dry_run=dry_run)
                        swept.outcomes.append(outcome)
            logger.remove_keys(["importTaskId", "imageArn"])
        if not swept.complete:
            logger.warning(_OUT_OF_TIME)
        if swept.problems:
            swept.problems += [] if swept.complete else [_OUT_OF_TIME]
            raise SweepError(swept.problems)
        return swept

    def _open_tasks(
        self, swept: Swept, out_of_time: Callable[[], bool], *, dry_run: bool
    ) -> Iterator[tuple[str, list[_Step]]]:
        """Yield the ids of the tasks with something left to do, and what that is; note in `swept` what went wrong."""
        try:
            for page in self.imports.finished_tasks():
                try:
                    yield from self._open_of_page(page, dry_run=dry_run)
                except Exception as error:  # noqa: BLE001 - collected, and raised at the end
                    logger.exception("Failed")
                    swept.problems.append(f"{page[0].id} and {len(page) - 1} more: {error}")
                if out_of_time():
                    swept.complete = False
                    return
        except Exception as error:  # noqa: BLE001 - collected, and raised at the end
            logger.exception("Failed")
            swept.problems.append(f"The import tasks could not be listed to the end: {error}")

    def _open_of_page(self, page: Sequence[ImportTask], *, dry_run: bool) -> Iterator[tuple[str, list[_Step]]]:
        made = registrations(self.ledger, [task.id for task in page])
        wanted = {task.id: dict(self._steps(task, made[task.id], dry_run=dry_run)) for task in page}
        done = self.ledger.known(fact for steps in wanted.values() for fact in steps)
        for task_id, steps in wanted.items():
            if left := [step for fact, step in steps.items() if fact not in done]:
                yield task_id, left

    def _steps(self, task: ImportTask, made: Sequence[Registration], *, dry_run: bool) -> Iterator[tuple[Fact, _Step]]:
        """Yield the facts after which nothing is left to do for a task, and what leads to each."""
        register = partial(self.registrar.register_finished, task, dry_run=dry_run)
        if not task.ended_without_ami and not made:
            yield Fact("registered", task.id), register
        elif task.ended_without_ami and not task.cancelled:
            yield Fact("ended", task.id), register
        if dry_run:
            return
        # Also where the task failed afterwards: its image fails with it.
        for number, registration in enumerate(made):
            if not registration.told:
                tell_registered = partial(self.registrar.tell_registered, task.id, number, registration)
                yield Fact("told", about(task.id, number)), tell_registered
            if registration.arn:
                yield Fact("ended", registration.arn), partial(self.follower.follow, registration.arn)
