"""Follow the image to the state that is its last one."""

from datetime import timedelta
from typing import Final

from vm_image_import.domain.outcomes import OutcomeKind
from vm_image_import.imports.steps.step import Done, Run, Step, Waiting

USABLE: Final = frozenset({"AVAILABLE", "DEPRECATED", "DISABLED"})
"""The states of an image that has become available."""
FAILED: Final = frozenset({"FAILED", "CANCELLED"})
DELETED: Final = "DELETED"
GIVEN_UP: Final = "given up"
"""The result of a step that did not end in time."""
_VISIBLE_AFTER: Final = timedelta(hours=1)
"""Image Builder's reads are eventually consistent. An image that it does not show for so long is deleted."""


def _look(run: Run) -> Done | Waiting:
    image = run.image
    if image is None:
        if run.invocation.time - run.registration.time >= _VISIBLE_AFTER:
            return Done(DELETED)
        return _waiting(run, "Image Builder does not show this image.")
    # Any other state (API reference, `ImageState`), also one that is not known here, is followed by another one.
    if image.status in USABLE | FAILED | {DELETED}:
        return Done(image.status)
    return _waiting(run, f"The image is {image.status}.")


def _waiting(run: Run, reason: str) -> Waiting:
    return Waiting(reason, outcome=run.outcome(OutcomeKind.IN_PROGRESS, reason))


FOLLOW: Final = Step("follow", lambda _settings: True, look=_look, act=_look)
