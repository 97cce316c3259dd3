"""Looks at every ended import task, and does what events did not lead to."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from vm_image_import.clients import Clients
from vm_image_import.errors import SweepError
from vm_image_import.idempotency.records import IdempotencyKey, Registration, RegistrationId
from vm_image_import.models import ImportTask, Invocation, Outcome, SweepResult
from vm_image_import.observability import log_and_count, log_context, logger
from vm_image_import.register import Registrar
from vm_image_import.track import ImageTracker

_MARGIN_MS: Final = 30_000
"""No task is begun later than this before the function's timeout. It is longer than the calls for one task take, unless
AWS hardly answers; then Lambda ends the invocation, and the next sweep continues."""
_OUT_OF_TIME: Final = "Out of time. The next sweep continues."


class RegisterTask(NamedTuple):
    """Register the task, or report its failure."""

    task: ImportTask


class NotifyRegistered(NamedTuple):
    """Send the notification that SNS refused when the image was made."""

    id: RegistrationId
    registration: Registration


class CheckImage(NamedTuple):
    """Check whether a registered image has reached a terminal state."""

    arn: str


Action = RegisterTask | NotifyRegistered | CheckImage


class PendingTask(NamedTuple):
    """A task with something left to do."""

    import_task_id: str
    actions: Sequence[Action]


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Processes all ended import tasks. An error of one task does not stop the others."""

    clients: Clients
    invocation: Invocation

    def sweep(self, *, dry_run: bool) -> SweepResult:
        """Process all ended tasks, until the time is over.

        Raises SweepError at the end, with every problem; what could be processed was.
        """
        problems: list[str] = []
        outcomes: list[Outcome] = []
        pending, complete = self._list_pending(problems, dry_run=dry_run)
        # A sweep that runs out of time must not leave the same tasks to the next one again and again.
        random.shuffle(pending)
        for import_task_id, actions in pending:
            if self._out_of_time():
                complete = False
                break
            for action in actions:
                try:
                    with log_context(importTaskId=import_task_id, **_log_keys(action)):
                        outcome = self._perform(action, dry_run=dry_run)
                except Exception as error:  # noqa: BLE001 - raised at the end, with the others
                    problems.append(f"{import_task_id}: {error}")
                    continue
                if outcome:
                    log_and_count(outcome, dry_run=dry_run)
                    outcomes.append(outcome)
        if not complete:
            logger.warning(_OUT_OF_TIME)
        if problems:
            raise SweepError(problems if complete else [*problems, _OUT_OF_TIME])
        return SweepResult(outcomes, None if complete else _OUT_OF_TIME)

    def _out_of_time(self) -> bool:
        return self.invocation.remaining_ms() < _MARGIN_MS

    def _list_pending(self, problems: list[str], *, dry_run: bool) -> tuple[list[PendingTask], bool]:
        """Return the tasks with something left to do, and whether all pages were read. Add to `problems`."""
        pending: list[PendingTask] = []
        next_token = None
        while True:
            try:
                with log_context():
                    page, next_token = self.clients.ec2.list_ended_tasks(next_token)
            except Exception as error:  # noqa: BLE001 - raised at the end, with the others
                problems.append(f"The import tasks could not be listed to the end: {error}")
                return pending, True
            try:
                with log_context():
                    pending += self._pending_tasks(page, dry_run=dry_run)
            except Exception as error:  # noqa: BLE001 - raised at the end, with the others
                problems.append(f"{page[0].id} and {len(page) - 1} more: {error}")
            if next_token is None:
                return pending, True
            if self._out_of_time():
                return pending, False

    def _pending_tasks(self, page: Sequence[ImportTask], *, dry_run: bool) -> list[PendingTask]:
        store = self.clients.idempotency_store
        registrations = store.get_registrations([task.id for task in page])
        actions = {task.id: _actions(task, registrations[task.id], dry_run=dry_run) for task in page}
        done = store.get_completed({_completed_by(action) for each in actions.values() for action in each})
        left = {id_: [each for each in listed if _completed_by(each) not in done] for id_, listed in actions.items()}
        return [PendingTask(import_task_id, listed) for import_task_id, listed in left.items() if listed]

    def _perform(self, action: Action, *, dry_run: bool) -> Outcome | None:
        registrar = Registrar(self.clients, self.invocation)
        match action:
            case RegisterTask(task):
                return registrar.register_ended(task, dry_run=dry_run)
            case NotifyRegistered(id_, registration):
                registrar.send_pending_notification(id_, registration)
                return None
            case CheckImage(arn):
                return ImageTracker(self.clients, self.invocation).check(arn)


def _actions(task: ImportTask, registrations: Sequence[Registration], *, dry_run: bool) -> list[Action]:
    """Return what has to be done for a task in the course of time, whether or not it is done yet."""
    actions: list[Action] = []
    if (task.ended_without_ami and not task.cancelled) or not (task.ended_without_ami or registrations):
        actions.append(RegisterTask(task))
    if dry_run:
        return actions
    # Also where the task failed after its image was registered: the image fails with it.
    for number, registration in enumerate(registrations):
        if not registration.notified:
            actions.append(NotifyRegistered(RegistrationId(task.id, number), registration))
        if registration.arn:
            actions.append(CheckImage(registration.arn))
    return actions


def _completed_by(action: Action) -> IdempotencyKey:
    """Return the key whose record says that the action is done."""
    match action:
        case RegisterTask(task) if task.ended_without_ami:
            return IdempotencyKey("terminal", task.id)
        case RegisterTask(task):
            return IdempotencyKey("registered", task.id)
        case NotifyRegistered(id_, _):
            return IdempotencyKey("notified", str(id_))
        case CheckImage(arn):
            return IdempotencyKey("terminal", arn)


def _log_keys(action: Action) -> dict[str, str]:
    return {"imageArn": action.arn} if isinstance(action, CheckImage) else {}
