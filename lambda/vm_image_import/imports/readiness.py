"""Whether an import can be registered: what its task and its AMI say."""

from typing import Final

from vm_image_import.domain.models import Ami, ImportTask
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.settings import Settings

AMI_GONE: Final = "AMI gone"
"""The problem of an import whose AMI was deregistered before it was registered."""
_ORDERS: Final = {
    "disabled": "The next sweep registers it once it is enabled: aws ec2 enable-image --image-id {}",
    **dict.fromkeys(("error", "failed", "invalid"), "Import the VM again."),
}
"""By the states of an AMI (API reference, EC2 `Image`) that do not end by themselves, what to do."""


def exclude(task: ImportTask, settings: Settings) -> Outcome | None:
    """Return the outcome of a task that the configuration excludes; None where it does not."""
    wanted = settings.only_tasks_tagged
    missing = [key for key, value in wanted.items() if task.tags.get(key) != value]
    if not missing:
        return None
    reason = f"onlyTasksTagged excludes the import task: its tags {', '.join(missing)} are not as configured."
    return Outcome(OutcomeKind.IGNORED, task.id, reason=reason)


def _end_of(task: ImportTask) -> Outcome | None:
    """Return the outcome for a task that has ended without an AMI; None for any other task."""
    if task.ended_without_ami:
        # Most imports succeed: a cold start does not wait for this import.
        from vm_image_import.domain.remedies import cancelled_by_user  # noqa: PLC0415 - as said above

        kind = OutcomeKind.IMPORT_CANCELLED if cancelled_by_user(task.status_message) else OutcomeKind.IMPORT_FAILED
        if not task.status_message:
            return Outcome(kind, task.id, reason="EC2 gives no reason.", task=task)
        return Outcome(kind, task.id, reason=task.status_message, said_by="EC2", task=task)
    if task.is_being_deleted:
        return Outcome(OutcomeKind.IN_PROGRESS, task.id, reason="The import has ended and is being deleted.", task=task)
    return None


def check_task(task: ImportTask) -> Outcome:
    """Return the outcome for a task of which EC2 shows no AMI."""
    if ended := _end_of(task):
        return ended
    if task.status == "completed":
        reason = "The import completed, but EC2 does not show its AMI: it is gone, or ask again."
        return Outcome(OutcomeKind.IGNORED, task.id, reason=reason, task=task)
    return _running(task)


def _running(task: ImportTask) -> Outcome:
    reason = f"The import is still running ({task.step or task.status or 'no status'})."
    return Outcome(OutcomeKind.IN_PROGRESS, task.id, reason=reason, task=task)


def check_ami(task: ImportTask, ami: Ami) -> Outcome | None:
    """Return the outcome for an AMI that cannot be registered for a task; None where it can."""
    if ended := _end_of(task):
        return ended
    if ami.state == "pending":
        return _running(task)
    if ami.is_copy:
        reason = f"{ami.id} is a copy of {ami.source_image_id}."
        return Outcome(OutcomeKind.IGNORED, task.id, reason=reason, task=task)
    if ami.state != "available":
        reason = f"{ami.id} is {ami.state}, so it cannot be registered."
        if ami.state not in _ORDERS:
            return Outcome(OutcomeKind.IGNORED, task.id, reason=reason, ami_id=ami.id, task=task)
        reason = f"{reason} {_ORDERS[ami.state].format(ami.id)}"
        outcome = Outcome(OutcomeKind.REJECTED, task.id, reason=reason, ami_id=ami.id, task=task, problem=ami.state)
        return outcome._replace(says_what_to_do=True)
    if task.image_id and task.image_id != ami.id:
        reason = f"The import made {task.image_id}, not {ami.id}."
        return Outcome(OutcomeKind.IGNORED, task.id, reason=reason, task=task)
    if not task.image_id:
        # Anybody in the account may register an AMI with the name of a task.
        reason = f"The import does not name {ami.id} as its AMI yet."
        return Outcome(OutcomeKind.IN_PROGRESS, task.id, reason=reason, task=task)
    return None
