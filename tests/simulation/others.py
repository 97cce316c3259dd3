"""What must hold for imports that another user registers, too: no second image beside one that Image Builder shows."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from local.aws.image_builder import Image
from tests.simulation.stale_reads import StaleReads
from tests.simulation.state import State, now

_WAITED_FOR = timedelta(minutes=30)
"""The age of an AMI up to which an import waits for an image of others that has no AMI yet."""
UNUSABLE = ("FAILED", "CANCELLED", "DELETED")
"""The states of an image that nothing can be built on."""


def listed_images_of_others(state: State, stale_reads: StaleReads) -> dict[str, bool]:
    """Return whether the usable images of others that each list shows have their AMI, by their ARNs."""
    found = {}
    for arn in sorted(state.others_images):
        looks = stale_reads.looks(state.image_builder.images[arn])
        if looks and all(look.state["status"] not in UNUSABLE for look in looks):
            have_amis = {bool(look.amis) for look in looks}
            if len(have_amis) == 1:
                found[arn] = have_amis.pop()
    return found


def check_second_image(state: State, image: Image, listed: Mapping[str, bool]) -> Iterator[str]:
    """Yield a problem if a new image, which was not forced, is of an import that others have registered or may have.

    `listed` is what the function above returned when the invocation began.
    """
    task = image.params["vmImportTaskId"]
    created = next((ami.creation_date for ami in state.ec2.amis.values() if ami.name == task), None)
    waits = created is not None and now() - created < _WAITED_FOR
    for arn, has_ami in listed.items():
        other = state.image_builder.images[arn]
        if has_ami and other.params["vmImportTaskId"] == task and other.state["status"] not in UNUSABLE:
            yield f"doubled: {image.arn} is a second image beside {arn}"
        if waits and not has_ami and not other.amis and other.state["status"] not in UNUSABLE:
            yield f"wrong: {image.arn} did not wait for {arn}"
