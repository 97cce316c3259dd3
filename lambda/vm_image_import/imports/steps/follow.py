"""Follow the image to the state that is its last one."""

from typing import Final

from vm_image_import.domain.outcomes import OutcomeKind
from vm_image_import.imports.steps.step import Done, Run, Step, Waiting

USABLE: Final = frozenset({"AVAILABLE", "DEPRECATED", "DISABLED"})
"""The states of an image that has become available."""
FAILED: Final = frozenset({"FAILED", "CANCELLED"})
DELETED: Final = "DELETED"


def _look(run: Run) -> Done | Waiting:
    image = run.image
    if image is None:
        return _waiting(run, "Image Builder does not show this image.") if run.may_be_hidden else Done(DELETED)
    # Any other state (API reference, `ImageState`), also one that is not known here, is followed by another one.
    if image.status in USABLE | FAILED | {DELETED}:
        return Done(image.status)
    return _waiting(run, f"The image is {image.status}.")


def _waiting(run: Run, reason: str) -> Waiting:
    return Waiting(reason, outcome=run.outcome(OutcomeKind.IN_PROGRESS, reason))


FOLLOW: Final = Step("follow", lambda _settings: True, look=_look, act=_look)
