"""Registers the AMI that an event is about, if an import made it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from vm_image_import.domain.errors import TransientError
from vm_image_import.domain.models import Ami, ImportTask
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.events import AmiAvailable
from vm_image_import.imports import steps
from vm_image_import.imports.readiness import exclude
from vm_image_import.imports.register import register
from vm_image_import.imports.reports import report
from vm_image_import.invocation import Invocation
from vm_image_import.records.registration import Record, RegistrationId
from vm_image_import.report.log import log_context

_VISIBLE_AFTER: Final = timedelta(minutes=1)
"""EC2's reads are eventually consistent (developer guide, "Eventual consistency in the Amazon EC2 API")."""
_READS: Final = 2
"""How often an AMI is read again that EC2 does not show yet. An error would make Lambda retry and raise the alarm, and
anybody may register and deregister AMIs: a sweep finds what comes later."""
_FRESH: Final = timedelta(minutes=15)
"""The age of an AMI whose task may not be completed yet."""
_POLL_SECONDS: Final = 5
_POLLS: Final = 24
"""The task of an available AMI is read again for two minutes: the event may come before the task is completed."""
_CALLS: Final = 5
"""For which there must be time before the task is read again: up to the record of the image."""


def on_ami_event(event: AmiAvailable, invocation: Invocation) -> Iterator[Outcome]:
    """Register the AMI of an event, if an import task of this account and Region made it, and run its steps.

    Yield the outcome of the registration, then those of the steps. Raises TransientError where AWS may answer a later
    attempt, and PermanentError where it refuses a read.
    """
    with log_context(amiId=event.image_id):
        ami = _find_new_ami(event, invocation)
    if ami is None:
        yield Outcome(OutcomeKind.IGNORED, reason=f"EC2 does not show {event.image_id} any more.")
        return
    if ami.import_task_id is None:
        reason = f"{ami.id} is not named like an import task, so no import made it."
        yield Outcome(OutcomeKind.IGNORED, reason=reason)
        return
    if ami.owner_id not in {None, invocation.environment.account}:
        reason = f"{ami.id} belongs to the account {ami.owner_id}."
        yield Outcome(OutcomeKind.IGNORED, ami.import_task_id, reason=reason)
        return
    if ami.is_copy:
        reason = f"{ami.id} is a copy of {ami.source_image_id}."
        yield Outcome(OutcomeKind.IGNORED, ami.import_task_id, reason=reason)
        return
    with log_context(importTaskId=ami.import_task_id):
        task = _find_completed_task(ami.import_task_id, ami, invocation)
        if task is None:
            reason = f"EC2 does not list this import task: {ami.id} is a copy, or the import ended over 7 days ago."
            yield Outcome(OutcomeKind.IGNORED, ami.import_task_id, reason=reason)
            return
        if excluded := exclude(task, invocation.settings):
            yield excluded
            return
        if ami.state == "pending":
            # EC2's read is older than its event, and the event is sent once.
            not_yet = f"EC2 still shows {ami.id} as pending."
            raise TransientError(not_yet)
        id_ = RegistrationId(task.id)
        record = invocation.store.read([id_]).get(str(id_), Record())
        registered = register(task, ami, id_, record, invocation, observe=invocation.settings.observe)
        yield report(registered.outcome, id_, record, invocation, is_manual=False)
        yield from steps.follow_up(id_, registered.record, invocation)


def _find_new_ami(event: AmiAvailable, invocation: Invocation) -> Ami | None:
    """Return the AMI of an event. Where EC2 does not show a new one, read it again."""
    ami = invocation.clients.ec2.find_ami(event.image_id)
    for _ in range(_READS if abs(invocation.time - event.time) < _VISIBLE_AFTER else 0):
        if ami is None:
            invocation.sleep(_POLL_SECONDS)
            ami = invocation.clients.ec2.find_ami(event.image_id)
    return ami


def _find_completed_task(import_task_id: str, ami: Ami, invocation: Invocation) -> ImportTask | None:
    """Return the task that made an AMI. Where it is about to name the AMI, read it again for two minutes."""
    find_task = invocation.clients.ec2.find_task
    is_fresh = ami.created is not None and abs(invocation.time - ami.created) < _FRESH
    for _ in range(_POLLS):
        task = find_task(import_task_id)
        if task is None or not task.is_active or task.image_id or not is_fresh or ami.is_copy:
            return task
        if exclude(task, invocation.settings) or not invocation.deadline.allows(_CALLS):
            return task
        invocation.sleep(_POLL_SECONDS)
    return find_task(import_task_id)
