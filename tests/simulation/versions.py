"""What the scheme `increment` promises: a version that no other import has, higher than every version that is visible.

An image is visible to an invocation if it was created two minutes before the invocation began, and if its name is
written in the same way or as in the ARN, or if it is AVAILABLE all the time (API reference, `Filter` and `GetImage`).
"""

from collections import Counter
from collections.abc import Collection, Iterator

from local.aws.image_builder import Image, arn_name
from tests.simulation.stale_reads import MAX_LAG, Snapshot, created
from tests.simulation.state import State, now


def available_images(state: State, snapshot: Snapshot) -> frozenset[str]:
    """Return the ARNs of the images that are AVAILABLE in each read, whether or not it is stale."""
    images = state.image_builder.images.values()
    past = snapshot.image_states
    return frozenset(
        image.arn
        for image in images
        if _is_settled(image) and _is_available(image.state) and _is_available(past.get(image.arn, {}))
    )


def settled_images(state: State) -> frozenset[str]:
    """Return the ARNs of the images that each list shows."""
    return frozenset(image.arn for image in state.image_builder.images.values() if _is_settled(image))


def check_version(state: State, image: Image, *, settled: Collection[str], available: Collection[str]) -> Iterator[str]:
    """Yield a problem if the new image's version is not higher than the versions visible to its invocation.

    `settled` and `available` are what the functions above returned when the invocation began.
    """
    name = image.params["name"]
    visible = [
        other
        for other in state.image_builder.images.values()
        if other is not image
        and arn_name(other.params["name"]) == arn_name(name)
        and (
            (other.arn in settled and other.params["name"] in {name, arn_name(name)})
            or (other.arn in available and _is_available(other.state))
        )
    ]
    highest = max(map(_nodes, visible), default=(0, 0, 0))
    if _nodes(image) <= highest:
        yield f"wrong: {image.arn} is not higher than the visible version {'.'.join(map(str, highest))}"


def check_uniqueness(images: Collection[Image]) -> Iterator[str]:
    """Yield a problem for each version that several images have."""
    for version_arn, times in Counter(image.version_arn for image in images).items():
        if times > 1:
            yield f"doubled: {times} images have the version {version_arn}"


def _is_settled(image: Image) -> bool:
    return created(image) < now() - MAX_LAG


def _is_available(image_state: dict[str, str]) -> bool:
    return image_state.get("status") == "AVAILABLE"


def _nodes(image: Image) -> tuple[int, ...]:
    return tuple(map(int, image.nodes))
