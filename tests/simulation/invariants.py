"""What must hold at the end of every history."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from local.image_builder import Image
from tests.simulation.world import Import, World

WORDS: Final = ("lost", "doubled", "wrong")
"""What a problem begins with."""
_STEPS: Final = ("REGISTERED", "REJECTED")
_ENDS: Final = {"failed": "IMPORT_FAILED", "image fails": "IMAGE_FAILED", "cancelled": None, "poisoned": None}
_AVAILABLE: Final = "IMAGE_AVAILABLE"


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
    images = [image for image in world.images if image.params["vmImportTaskId"] == each.task]
    if len(images) > 1:
        yield f"doubled: {each} has {len(images)} images"
    if not images and _end(world, each) in {_AVAILABLE, "IMAGE_FAILED"} and each.task not in world.deregistered:
        yield f"lost: {each} has no image"
    if images and _end(world, each) in {None, "IMPORT_FAILED"}:
        yield f"wrong: {each} has an image"
    for image in images:
        yield from _check_image(each, image)


def _check_image(each: Import, image: Image) -> Iterator[str]:
    if (image.params["name"], image.params["semanticVersion"]) != (each.name, each.version):
        yield f"wrong: {image.arn} should be {each.name} {each.version}"
    source = f"s3://exports/{each.name}"
    if image.tags["vm-image-import:task-id"] != each.task or not image.tags["vm-image-import:source"].startswith(
        source
    ):
        yield f"wrong: {image.arn} has the tags {image.tags}"


def _check_notices(world: World, each: Import) -> Iterator[str]:
    told = {(outcome, text) for outcome, text in world.network.notices if each.task in text}
    ends = [outcome for outcome, _ in told if outcome not in _STEPS]
    wanted = [end] if (end := _end(world, each)) else []
    # Without its AMI an import may have no image; after a crash nobody knows the image of what was changed meanwhile.
    may_be_missing = each.task in world.deregistered | world.network.changed_after_a_crash
    if ends != wanted and not (may_be_missing and not ends):
        yield f"{'lost' if len(ends) < len(wanted) else 'doubled'}: {each} was told as {ends}, not {wanted}"
    registered = sum(outcome == "REGISTERED" for outcome, _ in told)
    if registered != 1 and wanted in (["IMAGE_AVAILABLE"], ["IMAGE_FAILED"]) and not may_be_missing:
        yield f"{'doubled' if registered else 'lost'}: {each} was told as registered {registered} times"


def _end(world: World, each: Import) -> str | None:
    """Return what people are to hear of an import in the end."""
    if each.kind == "cancelled" and world.ends[each.task] == "completed":
        # Nobody was quick enough.
        return _AVAILABLE
    return _ENDS.get(each.kind, _AVAILABLE)


def _repeated(world: World) -> int:
    return sum(times - 1 for times in Counter(world.network.notices).values())
