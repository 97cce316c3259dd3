"""Sweeps all import tasks: registers what is not registered, and runs what is left of the steps."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from vm_image_import.derive import find_problems
from vm_image_import.domain.errors import InProgressError, InvalidRecordError, RejectedError, SweepError
from vm_image_import.domain.models import ImportTask, Overrides
from vm_image_import.domain.outcomes import Outcome, OutcomeKind, SweepResult
from vm_image_import.domain.remedies import cancelled_by_user, find_remedy
from vm_image_import.imports import retention, steps
from vm_image_import.imports.readiness import AMI_GONE, exclude
from vm_image_import.imports.register import register
from vm_image_import.imports.reports import note_first_seen, report, report_once
from vm_image_import.imports.results import Registered
from vm_image_import.invocation import Invocation
from vm_image_import.records.registration import Record, RegistrationId, unreadable
from vm_image_import.report.log import log_and_count, log_and_count_sweep, log_context, logger

_LOCK: Final = "sweep"
_CALLS: Final = 3
"""The calls for which there must be time before an import is begun. Each use case looks at the time by itself, too."""
_HANGS_AFTER: Final = timedelta(hours=12)
_ACTIVE: Final = "active"
"""What is noted in a record with the time at which the task was first seen active."""
_GONE: Final = f"{OutcomeKind.REJECTED.value} {AMI_GONE}"
"""What is reported of an import whose AMI was deregistered."""
_HANGS: Final = "The import task has been active for more than {} hours. It says: {}."
_OUT_OF_TIME: Final = "Out of time. The next sweep continues."
_ANOTHER_SWEEP: Final = "Another sweep is running."


class _Pending(NamedTuple):
    """An import with something left to do: its task where EC2 lists it, and its record."""

    id: RegistrationId
    task: ImportTask | None
    record: Record


@dataclass(slots=True)
class _Listing:
    """The imports with something left to do, as far as they could be listed."""

    pending: list[_Pending] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    complete: bool = True
    """Whether there was time for everything."""
    error: str | None = None
    """Why EC2 did not list all tasks."""


def sweep(invocation: Invocation, *, dry_run: bool) -> SweepResult:
    """Process all imports, until the time is over.

    A sweep that begins while another one runs ends at once. A dry run changes nothing. Raises SweepError where the
    tasks could not be listed to the end; those that were listed are processed first.
    """
    if dry_run:
        return _sweep(invocation, dry_run=True)
    try:
        with invocation.store.claim(_LOCK, invocation.deadline):
            return _sweep(invocation, dry_run=False)
    except InProgressError:
        result = SweepResult([], reason=_ANOTHER_SWEEP)
        logger.info("Swept", extra={"reason": result.reason})
        return result


def _sweep(invocation: Invocation, *, dry_run: bool) -> SweepResult:
    listing = _list_pending(invocation, dry_run=dry_run)
    outcomes: list[Outcome] = []
    errors: set[Exception] = set()
    for pending in listing.pending:
        if not invocation.deadline.allows(_CALLS):
            listing.complete = False
            break
        try:
            with log_context(importTaskId=pending.id.import_task_id):
                for outcome in _process(pending, invocation, dry_run=dry_run):
                    log_and_count(outcome, dry_run=dry_run)
                    outcomes.append(outcome)
        except Exception as error:  # noqa: BLE001 - one bad task is one problem
            # What the whole invocation lacks, such as the list of builds, is one problem, too.
            if error not in errors:
                listing.problems.append(f"{pending.id}: {error}")
            errors.add(error)
    if listing.complete:
        _retain(invocation, outcomes, listing.problems, dry_run=dry_run)
    result = SweepResult(outcomes, listing.problems, None if listing.complete else _OUT_OF_TIME)
    log_and_count_sweep(result, dry_run=dry_run, listed=listing.error is None)
    if listing.error:
        raise SweepError([listing.error])
    return result


def _retain(invocation: Invocation, outcomes: list[Outcome], problems: list[str], *, dry_run: bool) -> None:
    """Make the pass of the day over all names, or show what it would do. It is the last thing that a sweep does."""
    try:
        with log_context():
            for outcome in retention.preview(invocation) if dry_run else retention.run(invocation):
                log_and_count(outcome, dry_run=dry_run)
                outcomes.append(outcome)
    except Exception as error:  # noqa: BLE001 - the imports are processed
        problems.append(f"Retention: {error}")


def _process(pending: _Pending, invocation: Invocation, *, dry_run: bool) -> Iterator[Outcome]:
    """Do what is left to do for one import, and yield the outcomes."""
    id_, task, record = pending
    if task is None or record.registration:
        yield from steps.run(id_, record, invocation)
    elif dry_run:
        yield exclude(task, invocation.settings) or _with_remedy(
            _register(task, record, invocation, dry_run=True).outcome, task
        )
    elif task.is_active:
        yield from _report_hanging(task, record, invocation)
    else:
        registered = _register(task, record, invocation, dry_run=False)
        yield registered.outcome
        yield from steps.run(id_, registered.record, invocation)


def _register(task: ImportTask, record: Record, invocation: Invocation, *, dry_run: bool) -> Registered:
    """Register a task that EC2 lists, or report why it cannot be."""
    id_ = RegistrationId(task.id)
    ami = invocation.clients.ec2.find_ami_of(task)
    registered = register(task, ami, id_, record, invocation, dry_run=dry_run, observe=invocation.settings.observe)
    if dry_run:
        return registered
    outcome = report(registered.outcome, id_, record, invocation, is_manual=False)
    return registered._replace(outcome=outcome)


def _list_pending(invocation: Invocation, *, dry_run: bool) -> _Listing:
    """Return the imports with something left to do, in random order."""
    listing = _Listing()
    next_token = None
    while True:
        try:
            with log_context():
                page, next_token = invocation.clients.ec2.list_tasks(next_token)
        except Exception as error:  # noqa: BLE001 - raised when the listed tasks are processed
            listing.error = f"The import tasks could not be listed to the end: {error}"
            break
        try:
            with log_context():
                _add_pending(listing, page, invocation, dry_run=dry_run)
        except Exception as error:  # noqa: BLE001 - one bad page is one problem
            listing.problems.append(f"{page[0].id} and {len(page) - 1} more: {error}")
        if next_token is None:
            break
        if not invocation.deadline.allows(_CALLS):
            listing.complete = False
            break
    if not dry_run:
        try:
            with log_context():
                _add_open(listing, invocation)
        except Exception as error:  # noqa: BLE001 - what is listed is processed
            listing.problems.append(f"The open registrations could not be listed: {error}")
    # A sweep that runs out of time must not leave the same imports to the next one again and again.
    random.shuffle(listing.pending)
    return listing


def _add_pending(listing: _Listing, page: Sequence[ImportTask], invocation: Invocation, *, dry_run: bool) -> None:
    """Add those tasks of a page that have something left to do."""
    # A claim guards whatever is done, so that an older record costs only a look.
    records = invocation.store.read((RegistrationId(task.id) for task in page), consistent=False)
    gone: dict[str, _Pending] = {}
    for task in page:
        id_ = RegistrationId(task.id)
        record = records.get(str(id_), Record())
        if record.unreadable:
            _add_unreadable(listing, id_, record.unreadable)
        elif record.registration:
            if not dry_run and _has_steps_left(record, invocation):
                listing.pending.append(_Pending(id_, task, record))
        elif dry_run or _is_pending(task, record, invocation):
            if dry_run or record.reported != _GONE:
                listing.pending.append(_Pending(id_, task, record))
            elif task.image_id:
                gone[task.image_id] = _Pending(id_, task, record)
    # An AMI comes back from the Recycle Bin, for example.
    restored = invocation.clients.ec2.find_available(gone, invocation.deadline)
    listing.pending += [pending for ami_id, pending in gone.items() if ami_id in restored]


def _has_steps_left(record: Record, invocation: Invocation) -> bool:
    registration = record.registration
    return registration is not None and not steps.have_ended(registration, invocation.settings)


def _is_pending(task: ImportTask, record: Record, invocation: Invocation) -> bool:
    """Return whether an import without an image has something left to do, without a call of AWS.

    One whose AMI was reported as gone has that where its AMI is back.
    """
    if exclude(task, invocation.settings) or task.is_being_deleted:
        return False
    if task.ended_without_ami:
        reported = record.reported == OutcomeKind.IMPORT_FAILED.value
        return not reported and not cancelled_by_user(task.status_message)
    if task.is_active:
        since = record.first_seen.get(_ACTIVE)
        return not record.reported and (since is None or _hangs(since, invocation))
    found = find_problems(task, Overrides(), invocation.settings, invocation.time)
    return record.reported != f"{OutcomeKind.REJECTED.value} {RejectedError(dict(found)).problem}"


def _hangs(since: datetime, invocation: Invocation) -> bool:
    """Return whether a task that was first seen active at a time has been active for too long."""
    return invocation.time - since > _HANGS_AFTER


def _report_hanging(task: ImportTask, record: Record, invocation: Invocation) -> Iterator[Outcome]:
    """Note when a task was first seen active, or report that it has been active for too long."""
    id_ = RegistrationId(task.id)
    if not _hangs(note_first_seen(_ACTIVE, id_, record, invocation), invocation):
        return
    reason = _HANGS.format(_HANGS_AFTER // timedelta(hours=1), task.step or "nothing")
    outcome = Outcome(OutcomeKind.IMPORT_HANGS, task.id, reason=reason, task=task)
    yield report_once(outcome, id_, record, invocation)


def _add_open(listing: _Listing, invocation: Invocation) -> None:
    """Add the registrations with steps left that are no task's first one, or whose task EC2 may not list any more."""
    ids = []
    for text in invocation.store.list_open():
        try:
            ids.append(RegistrationId.parse(text))
        except ValueError as error:
            _add_unreadable(listing, RegistrationId(text), unreadable(text, error))
    listed = {pending.id for pending in listing.pending}
    records = invocation.store.read((id_ for id_ in ids if id_ not in listed), consistent=False)
    for id_, record in ((RegistrationId.parse(text), record) for text, record in records.items()):
        if record.unreadable:
            _add_unreadable(listing, id_, record.unreadable)
        elif _has_steps_left(record, invocation):
            listing.pending.append(_Pending(id_, None, record))


def _add_unreadable(listing: _Listing, id_: RegistrationId, error: InvalidRecordError) -> None:
    problem = f"{id_}: {error}"
    # The task's page and the index of what is open may both lead to the record.
    if problem not in listing.problems:
        listing.problems.append(problem)
        logger.error("Failed", importTaskId=id_.import_task_id, reason=str(error))


def _with_remedy(outcome: Outcome, task: ImportTask) -> Outcome:
    """Return the outcome of a failed import with what to do about it, as its notification says it."""
    if outcome.kind is not OutcomeKind.IMPORT_FAILED:
        return outcome
    remedy = find_remedy(task.status_message, task.platform, task.disk_files)
    return outcome._replace(reason=f"{outcome.reason} {remedy.text} See {remedy.url}")
