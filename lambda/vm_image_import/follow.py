"""Follows a registered image to its end: AVAILABLE, or FAILED."""

from dataclasses import dataclass
from typing import Final

from vm_image_import.announce import announce
from vm_image_import.outcome import Kind, Outcome
from vm_image_import.ports import Fact, Images, Ledger, Notices

_ENDS: Final = {
    "AVAILABLE": Kind.IMAGE_AVAILABLE,
    # It was available, and somebody went on from there.
    "DEPRECATED": Kind.IMAGE_AVAILABLE,
    "DISABLED": Kind.IMAGE_AVAILABLE,
    "FAILED": Kind.IMAGE_FAILED,
    "CANCELLED": Kind.IMAGE_FAILED,
}
_CANCELLED: Final = "The image was cancelled in Image Builder."


@dataclass(frozen=True, slots=True)
class Follower:
    """Tells once what became of an image that this system registered."""

    images: Images
    ledger: Ledger
    notices: Notices

    def follow(self, arn: str) -> Outcome:
        """Look at the image with this build version's ARN. Raises what the ports raise."""
        image = self.images.find_image(arn)
        if image is None:
            # Deleted, or not shown yet: nothing is recorded, so that the next sweep looks again.
            return Outcome(Kind.IGNORED, image_arn=arn, reason="Image Builder does not show this image.")
        if image.import_task_id is None:
            return Outcome(Kind.IGNORED, image_arn=arn, reason="This system did not register the image.")
        if image.status == "DELETED":
            self.ledger.once(Fact("ended", arn), lambda: image.status)
            return Outcome(Kind.IGNORED, image.import_task_id, image_arn=arn, reason="The image was deleted.")
        if image.status not in _ENDS:
            not_yet = f"The image is {image.status}."
            return Outcome(Kind.IN_PROGRESS, image.import_task_id, image_arn=arn, reason=not_yet)
        reason = image.reason or (_CANCELLED if image.status == "CANCELLED" else None)
        outcome = Outcome(_ENDS[image.status], image.import_task_id, image_arn=arn, reason=reason, ami_id=image.ami_id)
        announce(Fact("ended", arn), outcome, self.ledger, self.notices)
        return outcome
