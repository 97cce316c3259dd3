"""What must hold at the end of every history."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from local.image_builder import Image
from tests.simulation.world import Import, World

WORDS: Final = ("lost", "doubled", "wrong")
"""What a problem begins with."""
_NO_IMAGE: Final = ("failed", "cancelled", "poisoned")
_ENDS: Final = {
    "AVAILABLE": "IMAGE_AVAILABLE",
    "DEPRECATED": "IMAGE_AVAILABLE",
    "FAILED": "IMAGE_FAILED",
    "CANCELLED": "IMAGE_FAILED",
}
"""What people are to hear of an image, by its status in the end."""


def live(seed: int) -> tuple[int, Counter[str], list[str]]:
    """Live through one history; return its seed, what happened, and what must not have."""
    world = World(seed).live()
    problems = list(check(world))
    world.counts.update(
        imports=len(world.imports),
        images=len(world.images),
        notices=len(world.network.notices),
        **{"notices repeated because SNS's answer was lost": _repeated(world)},
    )
    return seed, world.counts, problems


def check(world: World) -> Iterator[str]:
    """Yield what is lost, doubled or wrong: a word of WORDS, a colon, and what it is about."""
    for each in world.imports:
        yield from _check_images(world, each)
        yield from _check_notices(world, each)
    known = {each.task for each in world.imports}
    for image in world.images:
        if image.params["vmImportTaskId"] not in known:
            yield f"wrong: {image.arn} is of no import"
    for (outcome, text), times in Counter(world.network.notices).items():
        if not any(task in text for task in known):
            yield f"wrong: {outcome} is about no import: {text}"
        if times > 1 + world.network.repeatable[text]:
            yield f"doubled: {outcome} was told {times} times: {text}"
    yield from (f"wrong: a request broke a limit: {limit}" for limit in world.network.broken)


def _check_images(world: World, each: Import) -> Iterator[str]:
    images = _images(world, each)
    if len(images) > 1 + world.forced[each.task]:
        yield f"doubled: {each} has {len(images)} images and was forced {world.forced[each.task]} times"
    if len({image.params["clientToken"] for image in images}) < len(images):
        yield f"doubled: {each} has two images of one client token"
    if not images and _has_image(world, each) and each.task not in world.deregistered:
        yield f"lost: {each} has no image"
    if images and not _has_image(world, each):
        yield f"wrong: {each} has an image"
    for image in images:
        yield from _check_image(each, image)


def _check_image(each: Import, image: Image) -> Iterator[str]:
    # What is forced goes on from the versions that are there.
    incremented = each.kind == "unversioned" and image.params["semanticVersion"].startswith("1.0.")
    if image.params["name"] != each.name or not (incremented or image.params["semanticVersion"] == each.version):
        yield f"wrong: {image.arn} should be {each.name} {each.version}"
    source = f"s3://exports/{each.name}"
    if image.tags["vm-image-import:task-id"] != each.task or not image.tags["vm-image-import:source"].startswith(
        source
    ):
        yield f"wrong: {image.arn} has the tags {image.tags}"


def _check_notices(world: World, each: Import) -> Iterator[str]:
    told = {(outcome, text) for outcome, text in world.network.notices if each.task in text}
    failed = sum(outcome == "IMPORT_FAILED" for outcome, _ in told)
    if failed != (each.kind == "failed"):
        yield f"{'doubled' if failed else 'lost'}: {each} was told as failed {failed} times"
    registered = [text for outcome, text in told if outcome == "REGISTERED"]
    if not registered and _images(world, each) and each.task not in world.deregistered:
        yield f"lost: nobody heard that {each} was registered"
    for image in _images(world, each):
        of_it = [outcome for outcome, text in told if f"Image: {image.arn}" in text.splitlines()]
        wanted = ["REGISTERED", _ENDS[image.state["status"]]]
        # After a crash nobody knows the image of what was changed meanwhile or cannot be read any more, nor what was
        # forced by a person, who sees that it failed.
        may_be_missing = (
            each.task in world.deregistered | world.network.changed_after_a_crash or world.forced[each.task]
        )
        if sorted(of_it) != sorted(wanted) and not (may_be_missing and Counter(of_it) <= Counter(wanted)):
            yield f"{'lost' if Counter(of_it) <= Counter(wanted) else 'doubled'}: {image.arn} was told as {of_it}"


def _images(world: World, each: Import) -> list[Image]:
    return [image for image in world.images if image.params["vmImportTaskId"] == each.task]


def _has_image(world: World, each: Import) -> bool:
    """Tell whether there has to be one in the end: a cancelled import may have been quicker than the person."""
    return each.kind not in _NO_IMAGE or (each.kind == "cancelled" and world.ends[each.task] == "completed")


def _repeated(world: World) -> int:
    return sum(times - 1 for times in Counter(world.network.notices).values())
