"""What the user of a new image should know of its name and its version, beside the images that exist."""

from collections.abc import Iterator
from typing import Final

from vm_image_import.builds import Builds
from vm_image_import.derive import Identity, names, versions
from vm_image_import.domain.models import Ami, ImportTask
from vm_image_import.domain.text import quote

ANOTHER_BUILD: Final = "This is another build of version {}, which another import has: {}."
_JUMP: Final = 1_000
"""A first number that is more than so many times the last one is a mistake, or another scheme."""
_HIGH: Final = 100_000
"""A higher first number is a mistake, unless it is a day like `20261123`."""


def find_warnings(identity: Identity, stated_name: str, task: ImportTask, ami: Ami, builds: Builds) -> Iterator[str]:
    """Yield what is unusual about an image that is to be registered. `stated_name` is what its name is made of."""
    name, version = names.arn_name(identity.name.value), identity.version.value
    spellings = builds.spellings(name)
    if spellings and stated_name not in spellings:
        yield f"The name {quote(stated_name)} becomes {name}, as {quote(min(spellings))} does: they are one image."
    if other := builds.find_version(name, version, task, ami):
        yield ANOTHER_BUILD.format(version, other.arn)
    highest = builds.highest_resolved_version(name)
    first, last = versions.order(version)[0], versions.order(highest)[0] if highest else None
    if highest and versions.order(highest) > versions.order(version):
        yield f"x.x.x does not find this image: version {highest} of {name} is higher."
    elif last is not None and first > _JUMP * max(last, 1):
        yield f"The version jumps from {highest} to {version}, and stays the highest of {name} until it is deprecated."
    elif first > max(_HIGH, last or 0) and not versions.is_day(first):
        yield f"The version {version} is very high, and stays the highest of {name} until it is deprecated."
