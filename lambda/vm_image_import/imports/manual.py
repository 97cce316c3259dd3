"""Registers the import task that a payload names."""

from collections.abc import Iterator, Mapping
from typing import Final

from vm_image_import.domain.errors import InProgressError, InvalidRecordError, RejectedError
from vm_image_import.domain.models import NO_OVERRIDES, Ami, ImportTask
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.events import ManualImport
from vm_image_import.imports import steps
from vm_image_import.imports.candidate import Candidate
from vm_image_import.imports.existing import adopt, find_existing, read_registrations
from vm_image_import.imports.readiness import check_ami
from vm_image_import.imports.register import register
from vm_image_import.imports.reports import report
from vm_image_import.imports.results import Registered, rejected
from vm_image_import.invocation import Invocation
from vm_image_import.records.registration import MAX_REGISTRATIONS, Record, RegistrationId
from vm_image_import.report.log import log_context

_AGAIN: Final = "{}. Invoke the function with this payload again: a sweep does not know it."
_TOO_MANY: Final = "The import was registered {} times, which is the most. Import the VM again for another image."


def on_manual_invocation(trigger: ManualImport, invocation: Invocation) -> Iterator[Outcome]:
    """Register the task that a payload names, with the payload's overrides and whatever its tags are.

    Yield the outcome of the registration, then those of the steps. Raises what `on_ami_event` raises.
    """
    with log_context(importTaskId=trigger.import_task_id):
        task = invocation.clients.ec2.find_task(trigger.import_task_id)
        if task is None:
            reason = "EC2 lists no such import task in this Region. It lists a task for 7 days after its end."
            yield Outcome(OutcomeKind.NOT_FOUND, trigger.import_task_id, reason=reason)
            return
        ami = invocation.clients.ec2.find_ami_of(task)
        records = read_registrations(task.id, invocation, forced=trigger.force)
        try:
            id_, registered = _register(task, ami, records, trigger, invocation)
        except InProgressError as error:
            yield _wait(Outcome(OutcomeKind.IN_PROGRESS, task.id, reason=str(error)), trigger)
            return
        except (RejectedError, InvalidRecordError) as error:
            yield rejected(task, error)
            return
        if registered.outcome.kind is OutcomeKind.IN_PROGRESS:
            yield _wait(registered.outcome, trigger)
            return
        if trigger.dry_run:
            yield registered.outcome
            return
        yield report(registered.outcome, id_, records.get(str(id_), Record()), invocation, is_manual=True)
        yield from steps.follow_up(id_, registered.record, invocation)


def _wait(outcome: Outcome, trigger: ManualImport) -> Outcome:
    """Return the outcome of what has to wait, with what to do where sweeps do not do it."""
    if trigger.overrides == NO_OVERRIDES and not trigger.force:
        return outcome
    return outcome._replace(reason=_AGAIN.format((outcome.reason or "").removesuffix(".")))


def _register(
    task: ImportTask, ami: Ami | None, records: Mapping[str, Record], trigger: ManualImport, invocation: Invocation
) -> tuple[RegistrationId, Registered]:
    """Register a task, with `force` once more, and return which of its registrations this is.

    Raises what `register` raises, and with `force` what `_next_registration` raises.
    """
    first, end = 0, 1
    if trigger.force:
        first = _next_registration(task, ami, records, invocation, dry_run=trigger.dry_run).number
        end = MAX_REGISTRATIONS
    for number in range(first, end):
        id_ = RegistrationId(task.id, number)
        record = records.get(str(id_), Record())
        registered = register(task, ami, id_, record, invocation, overrides=trigger.overrides, dry_run=trigger.dry_run)
        if not registered.is_recorded_elsewhere:
            return id_, registered
    raise RejectedError({"force": _TOO_MANY.format(MAX_REGISTRATIONS)})


def _next_registration(
    task: ImportTask, ami: Ami | None, records: Mapping[str, Record], invocation: Invocation, *, dry_run: bool
) -> RegistrationId:
    """Return the registration that a forced invocation makes: its own where Lambda retries it, else the next one.

    An image of another user is recorded before, so that it is followed, too. Raises RejectedError where there are too
    many, InvalidRecordError, and what `find_existing` raises.
    """
    for text, record in records.items():
        made = record.registration
        if made and made.request_id == invocation.request_id and not made.adopted:
            return RegistrationId.parse(text)
    for number in range(MAX_REGISTRATIONS):
        id_ = RegistrationId(task.id, number)
        registration = records.get(str(id_), Record()).readable().registration
        if registration is None and not number and ami and not check_ami(task, ami):
            candidate = Candidate(task, ami, id_, NO_OVERRIDES, invocation)
            if existing := find_existing(candidate):
                adopt(candidate, existing, dry_run=dry_run)
                continue
        if registration is None:
            return id_
    raise RejectedError({"force": _TOO_MANY.format(MAX_REGISTRATIONS)})
