"""Follows a registered image to its end: AVAILABLE, or FAILED."""

from dataclasses import dataclass
from typing import Final

from vm_image_import.announce import announce
from vm_image_import.models import Outcome, OutcomeKind
from vm_image_import.ports import Fact, Images, Ledger, Notices
from vm_image_import.telemetry import logger

_ENDS: Final = {
    "AVAILABLE": OutcomeKind.IMAGE_AVAILABLE,
    "DEPRECATED": OutcomeKind.IMAGE_AVAILABLE,
    "DISABLED": OutcomeKind.IMAGE_AVAILABLE,
    "FAILED": OutcomeKind.IMAGE_FAILED,
    "CANCELLED": OutcomeKind.IMAGE_FAILED,
}
_REASONS: Final = {
    "CANCELLED": "The image was cancelled in Image Builder.",
    "DEPRECATED": "Somebody has deprecated the image since then.",
    "DISABLED": "Somebody has disabled the image since then.",
}


@dataclass(frozen=True, slots=True)
class Follower:
    """Tells once what became of an image that this system registered."""

    images: Images
    ledger: Ledger
    notices: Notices

    def follow(self, arn: str) -> Outcome:
        """Look at the image with this build version's ARN. Raises what the ports raise."""
        logger.append_keys(imageArn=arn)
        image = self.images.find_image(arn)
        if image is None:
            # Deleted, or not shown yet: nothing is recorded, so that the next sweep looks again.
            return Outcome(OutcomeKind.IGNORED, image_arn=arn, reason="Image Builder does not show this image.")
        if image.import_task_id is None:
            return Outcome(OutcomeKind.IGNORED, image_arn=arn, reason="This system did not register the image.")
        if image.status == "DELETED":
            self.ledger.once(Fact("ended", arn), lambda: image.status)
            return Outcome(OutcomeKind.IGNORED, image.import_task_id, image_arn=arn, reason="The image was deleted.")
        if image.status not in _ENDS:
            not_yet = f"The image is {image.status}."
            return Outcome(OutcomeKind.IN_PROGRESS, image.import_task_id, image_arn=arn, reason=not_yet)
        logger.append_keys(importTaskId=image.import_task_id)
        reason = None if image.status == "AVAILABLE" else image.reason or _REASONS.get(image.status)
        outcome = Outcome(_ENDS[image.status], image.import_task_id, image_arn=arn, reason=reason, ami_id=image.ami_id)
        return announce(Fact("ended", arn), outcome, self.ledger, self.notices)
