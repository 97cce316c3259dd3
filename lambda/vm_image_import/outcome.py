"""What became of one trigger, and the answer that tells it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The outcomes that a caller can rely on."""

    REGISTERED = "REGISTERED"
    DRY_RUN = "DRY_RUN"
    IMPORT_FAILED = "IMPORT_FAILED"
    IMPORT_CANCELLED = "IMPORT_CANCELLED"
    REJECTED = "REJECTED"
    IGNORED = "IGNORED"
    IN_PROGRESS = "IN_PROGRESS"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_REGISTERED = "ALREADY_REGISTERED"
    IMAGE_AVAILABLE = "IMAGE_AVAILABLE"
    IMAGE_FAILED = "IMAGE_FAILED"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One outcome; what does not apply is None."""

    kind: Kind
    import_task_id: str | None = None
    image_arn: str | None = None
    """The full ARN of the image build version."""
    request: Mapping[str, object] | None = None
    """The `ImportVmImage` request, in the API's own shape."""
    reason: str | None = None
    """For a person: what happened and what to do."""
    ami_id: str | None = None
    """For the notice; no part of the answer."""
    news: bool = True
    """Whether people do not know it yet; no part of the answer."""

    def as_answer(self) -> dict[str, object]:
        """Return the function's answer; keys that do not apply are left out."""
        answer: dict[str, object | None] = {
            "outcome": self.kind.value,
            "importTaskId": self.import_task_id,
            "imageArn": self.image_arn,
            "request": self.request,
            "reason": self.reason,
        }
        return {key: value for key, value in answer.items() if value is not None}
