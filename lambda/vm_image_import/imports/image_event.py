"""Runs the steps of the image that an event is about."""

from collections.abc import Iterator

from vm_image_import.domain.models import Image
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.imports import steps
from vm_image_import.invocation import Invocation
from vm_image_import.records.registration import MAX_REGISTRATIONS, Record, RegistrationId
from vm_image_import.report.log import log_context

_NO_RECORD = "This system has no record of the image."


def on_image_event(arn: str, invocation: Invocation) -> Iterator[Outcome]:
    """Run the steps of an image build version, if this system has a record of it, and yield their outcomes.

    Raises TransientError, PermanentError where AWS refuses a read, or any other error of a step.
    """
    with log_context(imageArn=arn):
        image = invocation.clients.image_builder.find_image(arn)
        if image is None:
            # Deleted, or not visible yet: the next sweep looks again.
            yield Outcome(OutcomeKind.IGNORED, image_arn=arn, reason="Image Builder does not show this image.")
            return
        found = _find_record(image, invocation) if image.is_import else None
        if found is None:
            yield Outcome(OutcomeKind.IGNORED, image_arn=arn, reason=_NO_RECORD)
            return
        id_, record = found
        is_ended = True
        for outcome in steps.run(id_, record, invocation):
            yield outcome
            is_ended = False
        if is_ended:
            yield _ended(arn, id_, record)


def _find_record(image: Image, invocation: Invocation) -> tuple[RegistrationId, Record] | None:
    """Return the record of an image. Anybody may tag an image: what this system registered is in its records."""
    task_id = image.import_task_id or _task_of_ami(image, invocation)
    if task_id is None:
        return None
    ids = [RegistrationId(task_id, number) for number in range(MAX_REGISTRATIONS)]
    records = invocation.store.read(ids)
    for id_ in ids:
        record = records.get(str(id_), Record())
        if record.registration and record.registration.arn == image.arn:
            return id_, record
    return None


def _task_of_ami(image: Image, invocation: Invocation) -> str | None:
    """Return the task that made the AMI of an image that another user has registered, without the tag."""
    ami = invocation.clients.ec2.find_ami(image.ami_id) if image.ami_id else None
    return ami.import_task_id if ami else None


def _ended(arn: str, id_: RegistrationId, record: Record) -> Outcome:
    """Return the outcome of an image for which there is nothing to do, now or any more."""
    result = record.registration.results.get("notify") if record.registration else None
    if result is None:
        kind = OutcomeKind.IN_PROGRESS
    else:
        # A deleted image, and one that was given up, are not notified.
        kind = OutcomeKind(result) if result in OutcomeKind.__members__ else OutcomeKind.IGNORED
    return Outcome(kind, id_.import_task_id, image_arn=arn, is_new=False)
