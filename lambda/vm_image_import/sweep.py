"""Looks at every ended import task, and does what events did not lead to."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from vm_image_import.clients import Clients
from vm_image_import.errors import SweepError
from vm_image_import.idempotency.records import IdempotencyKey, Registration, RegistrationId
from vm_image_import.models import ImportTask, Invocation, Outcome, OutcomeKind, SweepResult
from vm_image_import.observability import log_and_count, log_and_count_sweep, log_context, logger
from vm_image_import.parameter import NewestAmiParameter, name_parameter, parameter_key
from vm_image_import.register import Registrar
from vm_image_import.remedies import cancelled_by_user, find_remedy
from vm_image_import.settings import Settings
from vm_image_import.tag import AmiTagger
from vm_image_import.track import ImageTracker

_MARGIN_MS: Final = 30_000
"""No task is begun later than this before the function's timeout. It is longer than the calls for one task take, unless
AWS hardly answers; then Lambda ends the invocation, and the next sweep continues."""
_AVAILABLE: Final = OutcomeKind.IMAGE_AVAILABLE.value
_OUT_OF_TIME: Final = "Out of time. The next sweep continues."


class RegisterTask(NamedTuple):
    """Register the task, or report its failure."""

    task: ImportTask


class TagAmi(NamedTuple):
    """Tag the AMI of a registered image, which failed when the image was made, or was not configured then."""

    task: ImportTask
    id: RegistrationId
    registration: Registration


class CheckImage(NamedTuple):
    """Check whether a registered image has reached a terminal state."""

    arn: str


class CheckParameter(NamedTuple):
    """Check whether the parameter holds the newest AMI of the name of an available image, and write it if not."""

    task: ImportTask
    arn: str
    parameter: str


Action = RegisterTask | TagAmi | CheckImage | CheckParameter


class PendingTask(NamedTuple):
    """A task with something left to do."""

    import_task_id: str
    actions: Sequence[Action]


@dataclass(slots=True)
class _Listing:
    """The tasks with something left to do, as far as they could be listed."""

    pending: list[PendingTask] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    complete: bool = True
    """Whether there was time for all pages."""
    error: str | None = None
    """Why EC2 did not list all tasks."""


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Processes all ended import tasks. An error of one task does not stop the others."""

    clients: Clients
    invocation: Invocation

    def sweep(self, *, dry_run: bool) -> SweepResult:
        """Process all ended tasks, until the time is over.

        Raises SweepError where the tasks could not be listed to the end; those that were listed are processed first.
        """
        listing = self._list_pending(dry_run=dry_run)
        outcomes: list[Outcome] = []
        problems = [*listing.problems]
        complete = listing.complete
        registrar = Registrar(self.clients, self.invocation)
        for import_task_id, actions in listing.pending:
            if self._out_of_time():
                complete = False
                break
            for action in actions:
                try:
                    with log_context(importTaskId=import_task_id, **_log_keys(action)):
                        outcome = self._perform(action, registrar, dry_run=dry_run)
                except Exception as error:  # noqa: BLE001 - one bad task is one problem
                    problems.append(f"{import_task_id}: {error}")
                    continue
                if outcome:
                    log_and_count(outcome, dry_run=dry_run)
                    outcomes.append(outcome)
        result = SweepResult(outcomes, problems, None if complete else _OUT_OF_TIME)
        log_and_count_sweep(result, dry_run=dry_run, listed=listing.error is None)
        if listing.error:
            raise SweepError([listing.error])
        return result

    def _out_of_time(self) -> bool:
        return self.invocation.remaining_ms() < _MARGIN_MS

    def _list_pending(self, *, dry_run: bool) -> _Listing:
        """Return the tasks with something left to do, in random order."""
        listing = _Listing()
        next_token = None
        while True:
            try:
                with log_context():
                    page, next_token = self.clients.ec2.list_ended_tasks(next_token)
            except Exception as error:  # noqa: BLE001 - raised when the listed tasks are processed
                listing.error = f"The import tasks could not be listed to the end: {error}"
                break
            try:
                with log_context():
                    if page:
                        self._add_pending(listing, page, dry_run=dry_run)
            except Exception as error:  # noqa: BLE001 - one bad page is one problem
                listing.problems.append(f"{page[0].id} and {len(page) - 1} more: {error}")
            if next_token is None:
                break
            if self._out_of_time():
                listing.complete = False
                break
        # A sweep that runs out of time must not leave the same tasks to the next one again and again.
        random.shuffle(listing.pending)
        return listing

    def _add_pending(self, listing: _Listing, page: Sequence[ImportTask], *, dry_run: bool) -> None:
        store = self.clients.idempotency_store
        registrations = store.get_registrations([task.id for task in page])
        for task_id, error in registrations.unreadable.items():
            logger.error("Failed", importTaskId=task_id, reason=str(error))
            listing.problems.append(f"{task_id}: {error}")
        settings = self.clients.settings
        actions = {
            task.id: _actions(task, registrations.by_task[task.id], settings, dry_run=dry_run)
            for task in page
            if task.id not in registrations.unreadable
        }
        keys = {_completed_by(action) for each in actions.values() for action in each}
        done = {} if dry_run else store.get_completed(keys)
        for import_task_id, listed in actions.items():
            if left := [action for action in listed if _is_due(action, done)]:
                listing.pending.append(PendingTask(import_task_id, left))

    def _perform(self, action: Action, registrar: Registrar, *, dry_run: bool) -> Outcome | None:
        match action:
            case RegisterTask(task):
                outcome = registrar.register_ended(task, dry_run=dry_run)
                return _with_remedy(outcome, task) if dry_run else outcome
            case TagAmi(task, id_, registration):
                return AmiTagger(self.clients, self.invocation).tag_registered(task, id_, registration)
            case CheckImage(arn):
                return ImageTracker(self.clients, self.invocation).check(arn)
            case CheckParameter(task, arn, _):
                return NewestAmiParameter(self.clients, self.invocation).check(task, arn)


def _actions(
    task: ImportTask, registrations: Mapping[int, Registration], settings: Settings, *, dry_run: bool
) -> list[Action]:
    """Return what has to be done for a task in the course of time, whether or not it is done yet."""
    actions: list[Action] = []
    if (task.ended_without_ami and not cancelled_by_user(task.status_message)) or not (
        task.ended_without_ami or registrations
    ):
        actions.append(RegisterTask(task))
    if dry_run:
        return actions
    # Also where the task failed after its image was registered: the image fails with it.
    for number, registration in registrations.items():
        if settings.tag_amis and not settings.observe and not registration.tagged:
            actions.append(TagAmi(task, RegistrationId(task.id, number), registration))
        actions.append(CheckImage(registration.arn))
        if (parameter := name_parameter(registration.arn, settings)) and not settings.observe:
            actions.append(CheckParameter(task, registration.arn, parameter))
    return actions


def _is_due(action: Action, done: Mapping[IdempotencyKey, str]) -> bool:
    """Return whether an action is left to do, by the results of what is done."""
    if isinstance(action, CheckParameter) and done.get(IdempotencyKey("terminal", action.arn)) != _AVAILABLE:
        return False
    return _completed_by(action) not in done


def _completed_by(action: Action) -> IdempotencyKey:
    """Return the key whose record says that the action is done."""
    match action:
        case RegisterTask(task) if task.ended_without_ami:
            return IdempotencyKey("terminal", task.id)
        case RegisterTask(task):
            return IdempotencyKey("registered", task.id)
        case TagAmi(_, id_, _):
            return IdempotencyKey("tagged", str(id_))
        case CheckImage(arn):
            return IdempotencyKey("terminal", arn)
        case CheckParameter(_, arn, parameter):
            return parameter_key(arn, parameter)


def _log_keys(action: Action) -> dict[str, str]:
    return {"imageArn": action.arn} if isinstance(action, CheckImage | CheckParameter) else {}


def _with_remedy(outcome: Outcome, task: ImportTask) -> Outcome:
    """Return the outcome of a failed import with what to do about it, as its notification says it."""
    if outcome.kind is not OutcomeKind.IMPORT_FAILED:
        return outcome
    remedy = find_remedy(task.status_message, task.platform, task.disk_files)
    return replace(outcome, reason=f"{outcome.reason} {remedy.text} See {remedy.url}")
