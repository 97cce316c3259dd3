"""What is assumed about AWS, and what observations of one import say about it. Pure.

docs/verify-on-aws.md lists the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from local.verify.account import Answer
from vm_image_import.domain.remedies import cancelled_by_user

Verdict = Literal["yes", "no", "not seen"]


class Finding(NamedTuple):
    """Whether something is so, and the evidence."""

    verdict: Verdict
    evidence: str


@dataclass
class Observations:
    """What AWS answered in the course of a verification. An Answer is None where nothing was asked."""

    task_id: str = ""
    task_states: list[str] = field(default_factory=list)
    """Status and message of the import, in their order, each once."""
    completed: bool = False
    ami_id: str = ""
    ami_name: str = ""
    ami_description: str = ""
    ami_created: str = ""
    ami_tags: Sequence[str] | None = None
    """The keys."""
    ami_came_first: bool = False
    """Whether the AMI, or its event, was there while the task was active."""
    active_task_named: str = ""
    """The AMI that the task named while it was active."""
    ami_event: str = ""
    """The time of the event."""
    image_event: str = ""
    """The status that the event of the registered image has."""
    registered: str = ""
    """The ARN of the image that the function has registered."""
    failed: Answer | None = None
    """Status and message of the import without a disk."""
    cancelled: Answer | None = None
    """Status and message of the cancelled import."""
    unknown_task: Answer | None = None
    two_states: Answer | None = None
    next_token: Answer | None = None
    short_name: Answer | None = None
    impossible_imports: list[Answer] = field(default_factory=list)
    """ImportVmImage for an unknown and for a failed task."""
    second_import: Answer | None = None
    other_values: Answer | None = None
    """The client token of the second image, at once and with other values."""
    token_later: Answer | None = None
    """The same request again, after 15 minutes."""
    second_name: str = ""
    """As it was requested."""
    listed_name: Answer | None = None
    """The name of the second image in the list of builds after 5 minutes; empty where it is not listed."""
    states: list[str] = field(default_factory=list)
    """Those of the second image, each once."""
    named_in_progress: bool = False
    """Whether the second image named its AMI before it was AVAILABLE."""
    no_version: Answer | None = None
    denied: Sequence[str] | None = None
    """The lines of the function's log about a call that was denied."""


PROBE_TAG: Final = "vm-image-import-verify"
"""Of everything that is made, and of the second image only where the import's tags do not reach images."""
SECOND_TAG: Final = f"{PROBE_TAG}-image"
"""A tag that only the second image has."""


def _judge(answer: Answer | None, *, yes: bool, evidence: str = "") -> Finding:
    if answer is None:
        return Finding("not seen", "The check was not reached.")
    return Finding("yes" if yes else "no", evidence or str(answer))


def _ami_event(seen: Observations) -> Finding:
    if seen.ami_event:
        return Finding("yes", f"The event of {seen.ami_id} has the time {seen.ami_event}.")
    return Finding("no", "No event came.") if seen.completed else Finding("not seen", "The import did not complete.")


def _order(seen: Observations) -> Finding:
    if seen.ami_came_first:
        return Finding("no", f"{seen.ami_id} or its event was there while the task was active.")
    if not seen.completed:
        return Finding("not seen", "The import did not complete.")
    return Finding("yes", f"No look at the active task found an AMI. States: {', '.join(seen.task_states)}.")


def _active_names(seen: Observations) -> Finding:
    if seen.active_task_named:
        return Finding("no", f"The active task named {seen.active_task_named}.")
    return Finding("yes", "ImageId came with `completed`.") if seen.completed else Finding("not seen", "")


def _ami_name(seen: Observations) -> Finding:
    if not seen.ami_name:
        return Finding("not seen", "The import has no AMI.")
    evidence = f"Name {seen.ami_name}, Description {seen.ami_description}"
    return Finding("yes" if seen.ami_name == seen.task_id else "no", evidence)


def _cancelled(seen: Observations) -> Finding:
    if seen.failed is None or seen.cancelled is None:
        return Finding("not seen", "One of both did not end.")
    differs = cancelled_by_user(seen.cancelled.message) and not cancelled_by_user(seen.failed.message)
    same = seen.failed.code == seen.cancelled.code == "deleted"
    return Finding("yes" if differs and same else "no", f"Failed: {seen.failed}. Cancelled: {seen.cancelled}.")


def _unknown_task(seen: Observations) -> Finding:
    yes = seen.unknown_task is not None and seen.unknown_task.code.startswith("InvalidConversionTaskId")
    return _judge(seen.unknown_task, yes=yes)


def _page_size(seen: Observations) -> Finding:
    if seen.next_token and seen.next_token.code:
        return Finding("no", str(seen.next_token))
    return _judge(seen.next_token, yes=True, evidence="All pages were listed.")


def _next_token(seen: Observations) -> Finding:
    if seen.next_token and seen.next_token.code:
        return Finding("not seen", str(seen.next_token))
    evidence = f"NextToken of the last page: {seen.next_token}."
    return _judge(seen.next_token, yes=str(seen.next_token) == "None", evidence=evidence)


def _short_name(seen: Observations) -> Finding:
    return _judge(seen.short_name, yes=bool(seen.short_name and seen.short_name.code))


def _impossible(seen: Observations) -> Finding:
    if not seen.impossible_imports:
        return _judge(None, yes=False)
    refused = all(answer.code for answer in seen.impossible_imports)
    return Finding("yes" if refused else "no", "; ".join(map(str, seen.impossible_imports)))


def _second(seen: Observations) -> Finding:
    return _judge(seen.second_import, yes=bool(seen.second_import and seen.second_import.value))


def _other_values(seen: Observations) -> Finding:
    code = seen.other_values.code if seen.other_values else ""
    return _judge(seen.other_values, yes=code == "IdempotentParameterMismatchException")


def _token(seen: Observations) -> Finding:
    if not (seen.second_import and seen.second_import.value and seen.token_later):
        return Finding("not seen", "There was no image to ask for again.")
    same = seen.token_later == seen.second_import
    return Finding("yes" if same else "no", f"First {seen.second_import}, later {seen.token_later}")


def _authorized(seen: Observations) -> Finding:
    if seen.denied:
        return Finding("no", seen.denied[0])
    return Finding("yes", f"{seen.registered} was registered.") if seen.registered else Finding("not seen", "")


def _listed(seen: Observations) -> Finding:
    return _judge(seen.listed_name, yes=bool(seen.listed_name and seen.listed_name.value))


def _listed_name(seen: Observations) -> Finding:
    if not (seen.listed_name and seen.listed_name.value):
        return Finding("not seen", "The second image was not listed.")
    evidence = f"Requested {seen.second_name}, listed {seen.listed_name}."
    return Finding("yes" if seen.listed_name.value == seen.second_name else "no", evidence)


def _pending(seen: Observations) -> Finding:
    in_progress = [state for state in seen.states if state not in {"AVAILABLE", "FAILED", "CANCELLED"}]
    if not in_progress:
        return Finding("not seen", f"States: {', '.join(seen.states) or 'none'}.")
    return Finding("yes" if in_progress == ["PENDING"] else "no", f"States: {', '.join(seen.states)}.")


def _named(seen: Observations) -> Finding:
    if seen.named_in_progress:
        return Finding("no", "The image named its AMI before it was AVAILABLE.")
    is_seen = "AVAILABLE" in seen.states and len(seen.states) > 1
    return Finding("yes" if is_seen else "not seen", f"States: {', '.join(seen.states) or 'none'}.")


def _image_event(seen: Observations) -> Finding:
    if not seen.registered:
        return Finding("not seen", "The import was not registered.")
    return Finding("yes", seen.image_event) if seen.image_event else Finding("no", "No event came.")


def _image_tags(seen: Observations) -> Finding:
    if seen.ami_tags is None or "AVAILABLE" not in seen.states:
        return Finding("not seen", "There was no second image.")
    return Finding("no" if SECOND_TAG in seen.ami_tags else "yes", f"Keys: {', '.join(seen.ami_tags) or 'none'}.")


def _no_version(seen: Observations) -> Finding:
    return _judge(seen.no_version, yes=bool(seen.no_version and seen.no_version.code == "ResourceNotFoundException"))


@dataclass(frozen=True)
class Assumption:
    """One assumption, as docs/verify-on-aws.md has it."""

    claim: str
    otherwise: str
    """What the product does where the claim is wrong."""
    judge: Callable[[Observations], Finding]
    switch: str = ""
    """The switch of the local AWS that makes it wrong."""
    no_switch: str = ""
    """Why there is no switch."""


ASSUMPTIONS: Final = (
    Assumption(
        "A completed import sends `EC2 AMI State Change`.",
        "The sweep registers the import.",
        _ami_event,
        "no_ami_event",
    ),
    Assumption(
        "A task is `completed` before the event of its AMI.",
        "The event waits for the task for 2 minutes, then the sweep registers it.",
        _order,
        "ami_comes_first",
    ),
    Assumption(
        "An active task does not name its AMI.",
        "The event of the AMI registers the import at once.",
        _active_names,
        "active_task_names_ami",
    ),
    Assumption(
        "The AMI is named like its task.",
        "The event is not taken for that of an import. The sweep finds the AMI by its task.",
        _ami_name,
        "ami_has_another_name",
    ),
    Assumption(
        "Only the status message distinguishes a cancelled import from a failed one, and it names the user.",
        "A cancelled import is reported as a failed one.",
        _cancelled,
        no_switch="any message can be set on a disk",
    ),
    Assumption(
        "A task that EC2 does not list is the error `InvalidConversionTaskId`.",
        "Where it is missing from the answer, the function answers `NOT_FOUND`, too.",
        _unknown_task,
        "unknown_task_is_missing",
    ),
    Assumption(
        "The filter `task-state` accepts several values.",
        "The function lists without it.",
        lambda seen: _judge(seen.two_states, yes=bool(seen.two_states and not seen.two_states.code)),
        "task_state_takes_one_value",
    ),
    Assumption(
        "`DescribeImportImageTasks` accepts 100 as `MaxResults`.",
        "Every sweep fails, and `FunctionErrors` and `SweepsMissing` report it.",
        _page_size,
        no_switch="no sweep would work",
    ),
    Assumption(
        "The last page of tasks has no `NextToken`.",
        "An empty one ends the list, too.",
        _next_token,
        "next_token_is_empty",
    ),
    Assumption(
        "An image name of `ImportVmImage` keeps to the pattern of Image Builder's other names (3 to 128 characters).",
        "The function sends no other names.",
        _short_name,
        no_switch="the function sends no other names",
    ),
    Assumption(
        "An unknown or failed task is an error of `ImportVmImage`.",
        "The outcome is `IMAGE_FAILED` instead of `REJECTED`.",
        _impossible,
        "failed_task_fails_later",
    ),
    Assumption(
        "A task can be imported into Image Builder more than once.",
        "With `force` the answer is `REJECTED`.",
        _second,
        "second_import_is_refused",
    ),
    Assumption(
        "Image Builder remembers a client token for 15 minutes.",
        "Before an import is registered, its image is looked for among all builds.",
        _token,
        "client_token_is_forgotten",
    ),
    Assumption(
        "A client token with other values is the error `IdempotentParameterMismatchException` of `ImportVmImage`.",
        "The original answer is recorded. Another error is `REJECTED` until the image shows its AMI, and is adopted.",
        _other_values,
        no_switch="the image is found by its AMI",
    ),
    Assumption(
        "`ImportVmImage` authorizes its tags on the image version or on the build.",
        "The role allows both; any other resource would have to be added to it.",
        _authorized,
        no_switch="the local AWS asks for both",
    ),
    Assumption(
        "`ListImageBuildVersions` without an ARN is authorized on `*`.",
        "The role has nothing narrower.",
        _authorized,
        no_switch="the role has nothing narrower",
    ),
    Assumption(
        "`ListImageBuildVersions` shows a new image after at most 5 minutes.",
        "With `immutableVersions`, two imports may get one version. A request without a record is `IMAGE_NOT_FOUND`.",
        _listed,
        no_switch="time does not pass in the local AWS",
    ),
    Assumption(
        "`ListImageBuildVersions` shows the name of an image as it was requested.",
        "A name with capitals, spaces or underscores is a warning.",
        _listed_name,
        no_switch="only a warning depends on it",
    ),
    Assumption(
        "An image in progress is `PENDING`.",
        "An unknown state is in progress, too.",
        _pending,
        "image_is_importing",
    ),
    Assumption(
        "An image names its AMI when it is `AVAILABLE`, not before.",
        "Until an image that may be of an import names its AMI, the import waits, at most 30 minutes.",
        _named,
        "pending_image_names_ami",
    ),
    Assumption(
        "An imported image sends its own event.",
        "The sweep runs the steps of the image.",
        _image_event,
        "no_image_event",
    ),
    Assumption(
        "The tags of an image do not reach its AMI.",
        "The AMI has them already, and nothing is overwritten.",
        _image_tags,
        "image_tags_reach_ami",
    ),
    Assumption(
        "`x.x.x` of a name without an `AVAILABLE` version is not found.",
        "An invalid parameter means the same. No parameter is written, and no image is marked.",
        _no_version,
        "no_version_is_invalid",
    ),
)
