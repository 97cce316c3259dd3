"""What must hold for the tags of AMIs and snapshots, and for the parameters of names, at the end of each history."""

from collections.abc import Iterator, Sequence
from typing import Final

from local.aws.image_builder import Image
from tests.simulation.history import History
from tests.simulation.invocations import PARAMETERS
from tests.simulation.state import Notification, State

NOT_DONE: Final = ("FOLLOW_UP_FAILED",)
"""The outcomes of what could not be done for a registered image."""
_KEYS: Final = {"Name", "Team", *(f"vm-image-import:{key}" for key in ("task-id", "ami-id", "source", "image"))} | {
    f"vm-image-import:{key}" for key in ("architecture", "boot-mode", "license-type")
}
_USABLE: Final = {"AVAILABLE", "DEPRECATED"}
_PROBLEMS: Final = ("AccessDenied", "is not available", "dropped the value", "no record of")


def check_follow_up(history: History, known: Sequence[Image]) -> Iterator[str]:
    """Yield each problem. `known` are the images whose records the last sweeps could read."""
    yield from _check_reports(history.state)
    if not history.state.follow_up:
        if any(name.startswith(PARAMETERS) for name in history.parameters):
            yield "wrong: a parameter was written"
        return
    for image in (each for each in known if each.state["status"] in _USABLE):
        yield from _check_tags(history, image)
    for name in {_name(image) for image in known}:
        yield from _check_parameter(history, name, [image for image in known if _name(image) == name])


def _check_tags(history: History, image: Image) -> Iterator[str]:
    """Check the tags of the image's AMI and of its snapshot, in which those of operators have stayed."""
    state, task = history.state, image.params["vmImportTaskId"]
    ami_id = history.amis[task] or ""
    if ami_id not in history.snapshots:
        # It was deregistered.
        return
    all_images = (*history.images, *history.others_images)
    arns = {
        other.arn
        for other in all_images
        if other.params["vmImportTaskId"] == task and other.state["status"] in {*_USABLE, "DELETED"}
    }
    for id_ in (ami_id, history.snapshots[ami_id]):
        tags = history.tags.get(id_, {})
        if tags.get("vm-image-import:image") not in arns or tags.get("vm-image-import:task-id") != task:
            yield f"lost: {id_} of {image.arn} has the tags {tags}"
            continue
        name, version = tags["vm-image-import:image"].rpartition("image/")[2].split("/")[:2]
        if tags["Name"] != state.operators_tags.get(id_, f"{name} {version}"):
            yield f"wrong: {id_} of {image.arn} is named {tags['Name']}"
        if tags.keys() - _KEYS:
            yield f"wrong: {id_} of {image.arn} has the tags {tags}"


def names_of_others(history: History, known: Sequence[Image]) -> set[str]:
    """Return the names whose highest version that is AVAILABLE is not recorded: they get no parameter."""
    found: dict[str, Image] = {}
    for image in (*history.images, *history.others_images):
        if image.state["status"] == "AVAILABLE":
            found[_name(image)] = max(image, found.get(_name(image), image), key=_order)
    return {name for name, image in found.items() if image not in known}


def _check_parameter(history: History, name: str, known: Sequence[Image]) -> Iterator[str]:
    """Check that a parameter holds the AMI of the highest version that is AVAILABLE, or was when it was written."""
    images = [image for image in (*history.images, *history.others_images) if _name(image) == name]
    if any(image.params["vmImportTaskId"] in history.state.deregistered for image in images):
        # Where the newest AMI is gone, a notification says so.
        return
    if name in names_of_others(history, known):
        # As one does where it is somebody else's.
        return
    usable = []
    for image in sorted(images, key=_order, reverse=True):
        usable += [ami["image"] for ami in image.amis]
        if image in known and image.state["status"] == "AVAILABLE":
            break
    else:
        # None of them is, or it became so after the last record of it was lost.
        return
    value = history.parameters.get(f"{PARAMETERS}/{name}")
    if value is None:
        yield f"lost: {name} has no parameter"
    elif value not in usable:
        yield f"wrong: the parameter of {name} is {value}, not one of {usable}"


def _check_reports(state: State) -> Iterator[str]:
    """Check that what could not be done is reported when its kind changes, and not when only its text does."""
    doubled: list[Notification] = []
    repeatable = 0
    last: dict[tuple[str, str], tuple[int, str] | None] = {}
    for of in (of for of in state.attempts if of.outcome in NOT_DONE):
        problem = next((each for each in _PROBLEMS if each in of.text), "")
        lines = of.text.splitlines()
        step = next(line for line in lines if "repeats the step: " in line).rpartition(" ")[2].rstrip(".")
        configured = step in {"follow", "notify"} or state.follow_up
        if not problem or not configured or (problem == "is not available" and not state.deregistered):
            yield f"wrong: {of}"
        about = (step, next(line for line in lines if line.startswith("Image: ")))
        if of.accepted and last.get(about) == (of.deployment, problem):
            doubled.append(of)
        last[about] = (of.deployment, problem) if of.accepted else last.get(about)
    repeatable += sum(state.repeatable[text] for text in {of.text for of in state.attempts if of.outcome in NOT_DONE})
    if len(doubled) > repeatable:
        yield f"doubled: {doubled}, of which {repeatable} may be"


def _name(image: Image) -> str:
    return image.arn.rpartition("image/")[2].partition("/")[0]


def _order(image: Image) -> tuple[int, ...]:
    return (*map(int, image.nodes), image.build)
