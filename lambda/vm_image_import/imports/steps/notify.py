"""Publish what has become of the image."""

from typing import Final

from vm_image_import.domain.ami_warnings import find_ami_warnings
from vm_image_import.domain.errors import PermanentError, TransientError
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.imports.steps.follow import DELETED, FAILED, USABLE
from vm_image_import.imports.steps.step import GIVEN_UP, Done, Due, Run, Step, Waiting
from vm_image_import.report.notifications import publish

_REASONS: Final = {
    "CANCELLED": "The image was cancelled in Image Builder.",
    "DEPRECATED": "The image was deprecated after it became available.",
    "DISABLED": "The image was disabled after it became available.",
}
_ADOPTED: Final = "No record of the request was found: an earlier deployment or another user registered the import."
_IMAGE_BUILDER: Final = "Image Builder"
_AMI_GONE: Final = "The image is {}, but its AMI {} was deregistered. Delete the image, and import the VM again."
_AMI_UNUSABLE: Final = "The image is {}, but its AMI {} is {}."
_ENABLE: Final = "Recipes can use the image once it is enabled: aws ec2 enable-image --image-id {}"
_IMPORT_AGAIN: Final = "If it does not become available, delete the image, and import the VM again."


def _look(run: Run) -> Done | Waiting | Due:
    if not run.status:
        return Waiting("The image has no final state yet.")
    if run.status == DELETED:
        outcome = run.outcome(OutcomeKind.IGNORED, "The image was deleted.")
        return Done(DELETED, outcome)
    if run.status == GIVEN_UP:
        return Done(GIVEN_UP)
    if run.status in USABLE and run.ami is None and run.may_be_hidden:
        return Waiting(f"EC2 does not show {run.registration.ami_id}.")
    # To look at the AMI, and to publish.
    return Due(calls=2)


def _act(run: Run) -> Done | Waiting:
    outcome = _describe(run)
    try:
        publish(outcome, run.invocation)
    except PermanentError as error:
        # No notification can say that none can be sent.
        raise TransientError(str(error)) from error
    return Done(outcome.kind.value, outcome)


def _describe(run: Run) -> Outcome:
    status = run.status
    if status in FAILED:
        if run.image and run.image.reason:
            return run.outcome(OutcomeKind.IMAGE_FAILED, run.image.reason)._replace(said_by=_IMAGE_BUILDER)
        return run.outcome(OutcomeKind.IMAGE_FAILED, _REASONS.get(status))
    if run.ami is None:
        reason = _AMI_GONE.format(status, run.registration.ami_id)
        return run.outcome(OutcomeKind.IMAGE_FAILED, reason)._replace(says_what_to_do=True)
    if run.ami.state != "available":
        # Another build of the import would have the same AMI.
        order = _ENABLE.format(run.ami.id) if run.ami.state == "disabled" else _IMPORT_AGAIN
        reason = f"{_AMI_UNUSABLE.format(status, run.ami.id, run.ami.state)} {order}"
        return run.outcome(OutcomeKind.IMAGE_FAILED, reason)._replace(says_what_to_do=True)
    reported = run.image.reason if run.image and status != "AVAILABLE" else None
    outcome = run.outcome(OutcomeKind.IMAGE_AVAILABLE, reported or _REASONS.get(status))
    outcome = outcome._replace(said_by=_IMAGE_BUILDER if reported else "")
    adopted = [_ADOPTED] if run.registration.adopted else []
    return outcome._replace(warnings=[*run.registration.warnings, *adopted, *find_ami_warnings(run.ami)])


NOTIFY: Final = Step("notify", lambda _settings: True, _look, _act)
