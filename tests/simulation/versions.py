"""What the scheme `increment` promises: a version that no other import has, higher than every version that is visible.

An image is visible to an invocation if it was created two minutes before the invocation began, whatever its state is.
"""

from collections import Counter
from collections.abc import Collection, Iterator

from local.aws.image_builder import Image, arn_name
from tests.simulation.stale_reads import MAX_LAG, created
from tests.simulation.state import State, now


def settled_images(state: State) -> frozenset[str]:
    """Return the ARNs of the images that each list shows."""
    images = state.image_builder.images.values()
    return frozenset(
        image.arn for image in images if created(image) < now() - MAX_LAG and image.arn not in state.hidden
    )


def check_version(state: State, image: Image, settled: Collection[str]) -> Iterator[str]:
    """Yield a problem if the new image's version is not higher than the versions visible to its invocation.

    `settled` is what the function above returned when the invocation began.
    """
    visible = [
        other
        for other in state.image_builder.images.values()
        if other is not image
        and arn_name(other.params["name"]) == arn_name(image.params["name"])
        and other.arn in settled
        and other.arn not in state.hidden
    ]
    highest = max(map(_nodes, visible), default=(0, 0, 0))
    if _nodes(image) <= highest:
        yield f"wrong: {image.arn} is not higher than the visible version {'.'.join(map(str, highest))}"


def check_uniqueness(images: Collection[Image]) -> Iterator[str]:
    """Yield a problem for each version that several images have."""
    for version_arn, times in Counter(image.version_arn for image in images).items():
        if times > 1:
            yield f"doubled: {times} images have the version {version_arn}"


def _nodes(image: Image) -> tuple[int, ...]:
    return tuple(map(int, image.nodes))
