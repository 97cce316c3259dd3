"""What must hold at the end of each history."""

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Final

from local.aws.image_builder import Image
from tests.simulation.history import History
from tests.simulation.imports import STATUS_MESSAGE, WITH_INVALID_TAG
from tests.simulation.state import Import, State

CATEGORIES: Final = ("lost", "doubled", "wrong")
"""What a problem begins with."""
_WITHOUT_IMAGE: Final = ("failed", "cancelled", "raises always")
_TERMINAL: Final = {
    "AVAILABLE": "IMAGE_AVAILABLE",
    "DEPRECATED": "IMAGE_AVAILABLE",
    "FAILED": "IMAGE_FAILED",
    "CANCELLED": "IMAGE_FAILED",
}
"""The notification that must be sent of an image, by its status in the end."""


def run_history(seed: int) -> tuple[int, Counter[str], list[str]]:
    """Run one history and return its seed, how often each thing happened, and the problems."""
    history = History(seed).run()
    problems = list(check(history))
    history.state.counts.update(
        imports=len(history.state.imports),
        images=len(history.images),
        notifications=len(history.state.notifications),
        **{"notifications repeated because SNS's answer was lost": _repeated(history.state)},
    )
    return seed, history.state.counts, problems


def check(history: History) -> Iterator[str]:
    """Yield each problem: a word of CATEGORIES, a colon, and what is lost, doubled or wrong."""
    state = history.state
    for each in state.imports:
        yield from _check_images(history, each)
        yield from _check_notifications(history, each)
    tasks = {each.task for each in state.imports}
    for image in history.images:
        if image.params["vmImportTaskId"] not in tasks:
            yield f"wrong: {image.arn} is of no import"
    for (outcome, text), times in Counter(state.notifications).items():
        if not any(task in text for task in tasks):
            yield f"wrong: {outcome} is about no import: {text}"
        if times > 1 + state.repeatable[text]:
            yield f"doubled: {outcome} was sent {times} times: {text}"
    yield from (f"wrong: {violation}" for violation in state.violations)


def _check_images(history: History, each: Import) -> Iterator[str]:
    state, images = history.state, _images(history, each)
    if len(images) > 1 + state.forced[each.task]:
        yield f"doubled: {each} has {len(images)} images and was forced {state.forced[each.task]} times"
    if len({image.params["clientToken"] for image in images}) < len(images):
        yield f"doubled: {each} has two images of one client token"
    if not images and _must_have_image(history, each) and each.task not in state.deregistered:
        yield f"lost: {each} has no image"
    if images and not _must_have_image(history, each) and not (each.kind == "cancelled" and history.ami_comes_first):
        yield f"wrong: {each} has an image"
    for image in images:
        yield from _check_image(each, image)


def _check_image(each: Import, image: Image) -> Iterator[str]:
    parameters, source = dict(image.params), f"s3://exports/{each.key}"
    version = parameters.pop("semanticVersion")
    # A forced registration gets the version after the highest existing one.
    incremented = each.kind == "unversioned" and version.startswith("1.0.")
    if not incremented and version != each.version:
        yield f"wrong: {image.arn} should be {each.version}"
    if parameters.pop("description") not in {"Manual", f"Imported from {source} by {each.task}"}:
        yield f"wrong: {image.arn} is described as {image.params['description']}"
    tags = {key: value for key, value in parameters.pop("tags").items() if (key, each.kind) != ("Team", "retagged")}
    expected = {"task-id": each.task, "source": source, "architecture": "x86_64", "license-type": "BYOL"}
    if not tags.pop("vm-image-import:ami-id").startswith("ami-") or tags != {
        f"vm-image-import:{key}": value for key, value in expected.items()
    }:
        yield f"wrong: {image.arn} has the tags {image.tags}"
    del parameters["clientToken"]
    if parameters != {"name": each.name, "platform": "Linux", "vmImportTaskId": each.task}:
        yield f"wrong: {image.arn} was requested as {parameters}"


def _check_notifications(history: History, each: Import) -> Iterator[str]:
    state = history.state
    sent = {(outcome, text) for outcome, text in state.notifications if each.task in text}
    failed = [text for outcome, text in sent if outcome == "IMPORT_FAILED"]
    if len(failed) != (each.kind == "failed"):
        yield f"{'doubled' if failed else 'lost'}: {len(failed)} notifications that {each} failed"
    if any(STATUS_MESSAGE not in text for text in failed):
        yield f"wrong: a notification that {each} failed has no status message: {failed}"
    rejected = [text for outcome, text in sent if outcome == "REJECTED"]
    by_tag = [text for text in rejected if "'latest' is no version" in text]
    if len(by_tag) > (each.kind in WITH_INVALID_TAG) or (not by_tag and each.kind == "invalid tag fixed late"):
        yield f"{'doubled' if by_tag else 'lost'}: {len(by_tag)} notifications that {each} is rejected"
    if any("AccessDenied" not in text for text in rejected if text not in by_tag):
        yield f"wrong: {each} was rejected: {rejected}"
    images = _images(history, each)
    arns = {image.arn for image in images}
    if any(
        not arns & {*text.replace("Image: ", "").splitlines()} for outcome, text in sent if outcome.startswith("IMAGE_")
    ):
        yield f"wrong: a notification of {each} is about an image that does not exist: {sent}"
    if images and each.task not in state.deregistered and all(outcome != "REGISTERED" for outcome, _ in sent):
        yield f"lost: no notification that {each} is registered"
    for image in images:
        yield from _check_notifications_of_image(state, each, image, sent)


def _check_notifications_of_image(
    state: State, each: Import, image: Image, sent: Collection[tuple[str, str]]
) -> Iterator[str]:
    of_image = _count_distinct(state, {each for each in sent if f"Image: {image.arn}" in each[1].splitlines()})
    expected = Counter(("REGISTERED", _TERMINAL[image.state["status"]]))
    if of_image == expected:
        return
    # After an invocation was ended, the image cannot be found by the client token if the values have changed, or if
    # they cannot be read any more.
    changed = each.kind in {"retagged", *WITH_INVALID_TAG} or each.task in state.overridden
    excused = (
        each.task in state.deregistered
        or (changed and each.task in state.token_mismatches)
        or image.arn in state.unrecorded_images
    )
    if not (excused and of_image <= expected):
        yield f"{'lost' if of_image <= expected else 'doubled'}: the notifications of {image.arn} are {dict(of_image)}"


def _count_distinct(state: State, sent: Collection[tuple[str, str]]) -> Counter[str]:
    """Return how many notifications were sent by outcome, without those that repeat an unrecorded one.

    The text of the repeated one differs where an operator has deprecated the image meanwhile.
    """
    counts = Counter(outcome for outcome, _ in sent)
    for outcome, text in sent:
        counts[outcome] = max(1, counts[outcome] - state.repeatable[text])
    return counts


def _images(history: History, each: Import) -> list[Image]:
    return [image for image in history.images if image.params["vmImportTaskId"] == each.task]


def _must_have_image(history: History, each: Import) -> bool:
    """Return whether there must be an image in the end. An import may complete before it can be cancelled."""
    completed = each.kind == "cancelled" and history.statuses[each.task] == "completed"
    return each.kind not in _WITHOUT_IMAGE or completed


def _repeated(state: State) -> int:
    return sum(times - 1 for times in Counter(state.notifications).values())
