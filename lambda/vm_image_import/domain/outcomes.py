"""What becomes of an import, an image or a sweep, and what each outcome means for its user."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.models import ImportTask


class OutcomeKind(StrEnum):
    """The outcomes of the contract. Answers, log lines and notifications name them so."""

    REGISTERED = "REGISTERED"
    ALREADY_REGISTERED = "ALREADY_REGISTERED"
    DRY_RUN = "DRY_RUN"
    REJECTED = "REJECTED"
    IMPORT_FAILED = "IMPORT_FAILED"
    IMPORT_CANCELLED = "IMPORT_CANCELLED"
    IMPORT_HANGS = "IMPORT_HANGS"
    IN_PROGRESS = "IN_PROGRESS"
    IGNORED = "IGNORED"
    NOT_FOUND = "NOT_FOUND"
    IMAGE_AVAILABLE = "IMAGE_AVAILABLE"
    IMAGE_FAILED = "IMAGE_FAILED"
    IMAGE_NOT_FOUND = "IMAGE_NOT_FOUND"
    FOLLOW_UP_FAILED = "FOLLOW_UP_FAILED"
    RETENTION = "RETENTION"
    RETENTION_FAILED = "RETENTION_FAILED"


class Meaning(NamedTuple):
    """What an outcome of one kind means."""

    title: str = ""
    """The first words of its notification. An outcome without a title is not published."""
    actions: Sequence[str] = ()
    """What the user does next, with the names of `Outcome.fields` and `any_arn` in braces."""
    metric: str = ""
    """The metric that counts it."""
    is_problem: bool = False
    """Whether it is logged as a warning: the user has to act."""


MEANINGS: Final[Mapping[OutcomeKind, Meaning]] = {
    OutcomeKind.REGISTERED: Meaning(metric="ImagesRegistered"),
    OutcomeKind.ALREADY_REGISTERED: Meaning(),
    OutcomeKind.DRY_RUN: Meaning(
        title="Observed: would be registered",
        actions=(
            "It would be {name} {version}. Nothing was registered.",
            'To register it, set "observe" to false, or invoke the function manually.',
        ),
    ),
    OutcomeKind.REJECTED: Meaning(
        title="Import not registered",
        actions=("Fix the import task's tags or the account. The next sweep registers the import.",),
        metric="ImportsRejected",
        is_problem=True,
    ),
    # The remedy of the status message says what to do.
    OutcomeKind.IMPORT_FAILED: Meaning(title="Import failed", metric="ImportsFailed", is_problem=True),
    OutcomeKind.IMPORT_CANCELLED: Meaning(),
    OutcomeKind.IMPORT_HANGS: Meaning(
        title="Import still running",
        actions=(
            "Read its status again: aws ec2 describe-import-image-tasks --import-task-ids {task}",
            "If it makes no progress: aws ec2 cancel-import-task --import-task-id {task}",
            "Then import the VM again.",
        ),
        metric="ImportsHanging",
        is_problem=True,
    ),
    OutcomeKind.IN_PROGRESS: Meaning(),
    OutcomeKind.IGNORED: Meaning(),
    OutcomeKind.NOT_FOUND: Meaning(),
    OutcomeKind.IMAGE_AVAILABLE: Meaning(
        title="Image available",
        actions=(
            "Use it in a recipe as parentImage: {arn}",
            "The highest version of its name: {all_versions}",
        ),
        metric="ImagesAvailable",
    ),
    OutcomeKind.IMAGE_FAILED: Meaning(
        title="Image failed",
        actions=('Fix the cause, then invoke the function manually with "force": true.',),
        metric="ImagesFailed",
        is_problem=True,
    ),
    # The reason says where to look.
    OutcomeKind.IMAGE_NOT_FOUND: Meaning(title="Image not found", metric="ImagesNotFound", is_problem=True),
    OutcomeKind.FOLLOW_UP_FAILED: Meaning(
        title="Follow-up failed",
        actions=("The image is registered. Fix the cause. The next sweep repeats the step: {step}.",),
        metric="FollowUpsFailed",
        is_problem=True,
    ),
    OutcomeKind.RETENTION: Meaning(
        title="Deletion of superseded images",
        actions=(
            "To keep one: aws imagebuilder tag-resource --resource-arn {any_arn} --tags vm-image-import:keep=yes",
            "NAME/VERSION/BUILD is what its line begins with.",
            "To see all: invoke the function with the payload of a sweep and dryRun.",
        ),
    ),
    OutcomeKind.RETENTION_FAILED: Meaning(
        title="Retention failed",
        actions=("Some images lack a mark, or keep one. Fix the cause. The next sweep tries again.",),
        metric="FollowUpsFailed",
        is_problem=True,
    ),
}
"""Every kind, what it means, and what the user does about it. Add an outcome here."""


class Outcome(NamedTuple):
    """What became of one trigger, or of one step. A field that does not apply is empty."""

    kind: OutcomeKind
    import_task_id: str | None = None
    image_arn: str | None = None
    """The ARN of the image build version."""
    request: Mapping[str, object] | None = None
    """The `ImportVmImage` request, in the API's own shape."""
    sources: Mapping[str, str] = {}
    """Where the parts of the request come from."""
    reason: str | None = None
    """What happened, as text for a person."""
    ami_id: str | None = None
    tagged: Sequence[str] = ()
    """The ids of the AMI and of the snapshots that have the tags of `tagAmis`."""
    parameter: str | None = None
    """The name of the parameter that has the AMI's id as its value."""
    warnings: Sequence[str] = ()
    """What the user of the image should know."""
    task: ImportTask | None = None
    """The import task, where it was read or recorded."""
    said_by: str = ""
    """The service whose words the reason is; empty where they are ours."""
    step: str | None = None
    """The step that failed."""
    problem: str = ""
    """The kind of the problem, without the values and the words that vary: an error code, or what is stated wrongly."""
    is_new: bool = True
    """Whether it was not reported before."""
    says_what_to_do: bool = False
    """Whether the reason says what to do, instead of the actions of its kind."""

    @property
    def meaning(self) -> Meaning:
        """What the outcome means."""
        return MEANINGS[self.kind]

    @property
    def report(self) -> str:
        """The outcome as it is recorded: the same problem with a different text is not reported again."""
        return f"{self.kind.value} {self.problem}".rstrip()

    @property
    def fields(self) -> Mapping[str, object]:
        """The values that the actions name."""
        request = self.request or {}
        arn = BuildArn.parse(self.image_arn) if self.image_arn else None
        return {
            "task": self.import_task_id,
            "arn": self.image_arn,
            "all_versions": arn and arn.all_versions,
            "name": arn.name if arn else request.get("name"),
            "version": arn.version if arn else request.get("semanticVersion"),
            "step": self.step,
        }


class SweepResult(NamedTuple):
    """What a sweep did. Imports with nothing left to do are not in it."""

    outcomes: Sequence[Outcome]
    problems: Sequence[str] = ()
    """Each with the id of its import task."""
    reason: str | None = None
    """Why the sweep did not process everything; None where it did."""
