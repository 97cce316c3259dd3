"""Tracks a registered image to its terminal state: AVAILABLE or FAILED."""

from dataclasses import dataclass, replace
from typing import Final

from vm_image_import.clients import Clients
from vm_image_import.errors import InProgressError
from vm_image_import.idempotency.records import IdempotencyKey
from vm_image_import.models import Image, Invocation, Outcome, OutcomeKind
from vm_image_import.notifications import publish
from vm_image_import.parameter import NewestAmiParameter

_TERMINAL: Final = {
    "AVAILABLE": OutcomeKind.IMAGE_AVAILABLE,
    "DEPRECATED": OutcomeKind.IMAGE_AVAILABLE,
    "DISABLED": OutcomeKind.IMAGE_AVAILABLE,
    "FAILED": OutcomeKind.IMAGE_FAILED,
    "CANCELLED": OutcomeKind.IMAGE_FAILED,
}
"""The states of an image (API reference, `ImageState`) that are followed by no other one, but DELETED. A state that is
not known here is in progress."""
_REASONS: Final = {
    "CANCELLED": "The image was cancelled in Image Builder.",
    "DEPRECATED": "The image was deprecated after it became available.",
    "DISABLED": "The image was disabled after it became available.",
}


@dataclass(frozen=True, slots=True)
class ImageTracker:
    """Reports once what became of an image that this system registered."""

    clients: Clients
    invocation: Invocation

    def check_event(self, arn: str) -> Outcome:
        """Check the image of an event, if this system registered it. Raises what `check` raises."""
        image = self.clients.image_builder.find_image(arn)
        if image is None:
            return _not_visible(arn)
        task_id = image.import_task_id
        # Anybody may give an image the tag: what this system registered is in its records.
        if task_id is None or arn not in self._recorded_arns(task_id):
            return Outcome(OutcomeKind.IGNORED, image_arn=arn, reason="This system has no record of the image.")
        return self._check(arn, image)

    def check(self, arn: str) -> Outcome:
        """Check a registered image by its build version ARN, and send its notification when its state is terminal.

        Raises TransientError or PermanentError.
        """
        image = self.clients.image_builder.find_image(arn)
        return _not_visible(arn) if image is None else self._check(arn, image)

    def _recorded_arns(self, task_id: str) -> set[str]:
        registrations = self.clients.idempotency_store.get_registrations([task_id])
        return {registration.arn for registration in registrations.by_task[task_id].values()}

    def _check(self, arn: str, image: Image) -> Outcome:
        task_id = image.import_task_id
        key = IdempotencyKey("terminal", arn)
        if image.status == "DELETED":
            with self.clients.idempotency_store.claim(key, self.invocation) as claim:
                claim.complete(image.status)
            return Outcome(OutcomeKind.IGNORED, task_id, image_arn=arn, reason="The image was deleted.")
        if image.status not in _TERMINAL:
            reason = f"The image is {image.status}."
            return Outcome(OutcomeKind.IN_PROGRESS, task_id, image_arn=arn, reason=reason)
        reported = None if image.status == "AVAILABLE" else image.reason or _REASONS.get(image.status)
        outcome = Outcome(_TERMINAL[image.status], task_id, image_arn=arn, reason=reported, ami_id=image.ami_id)
        return self._report(key, outcome, image)

    def _report(self, key: IdempotencyKey, outcome: Outcome, image: Image) -> Outcome:
        """Write the parameter where the image is available, and send the notification: both once."""
        try:
            with self.clients.idempotency_store.claim(key, self.invocation) as claim:
                if claim.completed is not None:
                    return replace(outcome, is_new=False)
                if outcome.kind is OutcomeKind.IMAGE_AVAILABLE:
                    parameter = NewestAmiParameter(self.clients, self.invocation).try_write(image)
                    outcome = replace(outcome, parameter=parameter)
                publish(outcome, self.clients, self.invocation)
                claim.complete(outcome.kind.value)
                return outcome
        except InProgressError:
            # The other invocation reports it.
            return replace(outcome, is_new=False)


def _not_visible(arn: str) -> Outcome:
    # Deleted, or not visible yet. Without a record the next sweep checks it again.
    return Outcome(OutcomeKind.IGNORED, image_arn=arn, reason="Image Builder does not show this image.")
