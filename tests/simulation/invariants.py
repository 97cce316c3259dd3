"""What must hold at the end of every history."""

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Final

from local.aws.image_builder import Image
from tests.simulation.world import FAILURE, Import, World

WORDS: Final = ("lost", "doubled", "wrong")
"""What a problem begins with."""
_WITHOUT_IMAGE: Final = ("failed", "cancelled", "poisoned")
_WRONG: Final = ("wrong tag", "put right late")
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
    if images and not _has_image(world, each) and not (each.kind == "cancelled" and world.ami_comes_first):
        yield f"wrong: {each} has an image"
    for image in images:
        yield from _check_image(each, image)


def _check_image(each: Import, image: Image) -> Iterator[str]:
    made, source = dict(image.params), f"s3://exports/{each.key}"
    # What is forced goes on from the versions that are there.
    version = made.pop("semanticVersion")
    incremented = each.kind == "unversioned" and version.startswith("1.0.")
    if not incremented and version != each.version:
        yield f"wrong: {image.arn} should be {each.version}"
    if made.pop("description") not in {"By hand", f"Imported from {source} by {each.task}"}:
        yield f"wrong: {image.arn} is described as {image.params['description']}"
    tags = {key: value for key, value in made.pop("tags").items() if (key, each.kind) != ("Team", "retagged")}
    wanted = {"task-id": each.task, "source": source, "architecture": "x86_64", "license-type": "BYOL"}
    if not tags.pop("vm-image-import:ami-id").startswith("ami-") or tags != {
        f"vm-image-import:{key}": value for key, value in wanted.items()
    }:
        yield f"wrong: {image.arn} has the tags {image.tags}"
    del made["clientToken"]
    if made != {"name": each.name, "platform": "Linux", "vmImportTaskId": each.task}:
        yield f"wrong: {image.arn} was asked for as {made}"


def _check_notices(world: World, each: Import) -> Iterator[str]:
    told = {(outcome, text) for outcome, text in world.network.notices if each.task in text}
    failed = [text for outcome, text in told if outcome == "IMPORT_FAILED"]
    if len(failed) != (each.kind == "failed"):
        yield f"{'doubled' if failed else 'lost'}: {each} was told as failed {len(failed)} times"
    if any(FAILURE not in text for text in failed):
        yield f"wrong: {each} was told without EC2's words: {failed}"
    rejected = [text for outcome, text in told if outcome == "REJECTED"]
    of_tag = [text for text in rejected if "'latest' is no version" in text]
    if len(of_tag) > (each.kind in _WRONG) or (not of_tag and each.kind == "put right late"):
        yield f"{'doubled' if of_tag else 'lost'}: {each} was told as rejected {len(of_tag)} times"
    if any("AccessDenied" not in text for text in rejected if text not in of_tag):
        yield f"wrong: {each} was rejected: {rejected}"
    arns = {image.arn for image in _images(world, each)}
    if any(
        not arns & {*text.replace("Image: ", "").splitlines()} for outcome, text in told if outcome.startswith("IMAGE_")
    ):
        yield f"wrong: {each} was told of an image that is not there: {told}"
    registered = [text for outcome, text in told if outcome == "REGISTERED"]
    if not registered and _images(world, each) and each.task not in world.deregistered:
        yield f"lost: nobody heard that {each} was registered"
    for image in _images(world, each):
        of_it = _heard(world, {each for each in told if f"Image: {image.arn}" in each[1].splitlines()})
        wanted = Counter(("REGISTERED", _ENDS[image.state["status"]]))
        if of_it == wanted:
            continue
        # After a crash nobody knows the image of what was changed meanwhile or cannot be read any more.
        changed = each.kind in {"retagged", *_WRONG} or each.task in world.overruled
        excused = (
            each.task in world.deregistered
            or (changed and each.task in world.network.changed_after_a_crash)
            # A person sees that what was forced failed, and has to do it again.
            or image.arn in world.unknown
        )
        if not (excused and of_it <= wanted):
            yield f"{'lost' if of_it <= wanted else 'doubled'}: {image.arn} was told as {dict(of_it)}"


def _heard(world: World, told: Collection[tuple[str, str]]) -> Counter[str]:
    """Return how often people heard each outcome: once where it was told again because nobody could know that it was.

    The text is another one then, if somebody has deprecated the image meanwhile.
    """
    heard = Counter(outcome for outcome, _ in told)
    for outcome, text in told:
        heard[outcome] = max(1, heard[outcome] - world.network.repeatable[text])
    return heard


def _images(world: World, each: Import) -> list[Image]:
    return [image for image in world.images if image.params["vmImportTaskId"] == each.task]


def _has_image(world: World, each: Import) -> bool:
    """Tell whether there has to be one in the end: a cancelled import may have been quicker than the person."""
    return each.kind not in _WITHOUT_IMAGE or (each.kind == "cancelled" and world.ends[each.task] == "completed")


def _repeated(world: World) -> int:
    return sum(times - 1 for times in Counter(world.network.notices).values())
