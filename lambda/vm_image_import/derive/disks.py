"""The name and the version that the path of a disk file tells."""

import re
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from vm_image_import.derive import names, versions
from vm_image_import.models import Disk

_EXTENSIONS: Final = re.compile(r"(?:\.(?:ova|ovf|vmdk|vhdx?|raw|img|qcow2|gz|tar|zip))+$", re.IGNORECASE)
_DISK_SUFFIX: Final = re.compile(r"(?:[-_. ]disk[-_ ]?\d+|[-_. ]flat)+$", re.IGNORECASE)
_GENERIC: Final = re.compile(r"disk[-_ ]?\d*|image|export|vm|output|system|root", re.IGNORECASE)


_MAX_SEGMENT: Final = 1024
"""As long as an S3 key can be; a URL could be long enough to keep the patterns busy."""


class FromPath(NamedTuple):
    """What a path tells; None where it tells nothing. The name may be shorter than Image Builder takes."""

    name: str | None
    version: str | None


def read(disk: Disk) -> FromPath:
    """Return the image name and the semantic version that the path of `disk` tells.

    A stem that says nothing (`disk1`, `image`) gives way to the folder above it, read by the same rules.
    """
    name, version = None, None
    for segment in reversed(_segments(disk)):
        stem, found = versions.split_suffix(_DISK_SUFFIX.sub("", _EXTENSIONS.sub("", segment)))
        version = version or found
        if not _GENERIC.fullmatch(stem):
            name = names.sanitize(stem) or None
            break
    return FromPath(name, version)


def file_name(disk: Disk) -> str | None:
    """Return the last part of the path of `disk`, as it is; None where it has no path."""
    segments = _segments(disk)
    return segments[-1] if segments else None


def _segments(disk: Disk) -> list[str]:
    """Return the parts of the path: an S3 key is taken as it is, a URL's path is percent-decoded."""
    if disk.key:
        segments = disk.key.split("/")
    else:
        segments = [unquote(segment) for segment in urlsplit(disk.source or "").path.split("/")]
    return [segment[-_MAX_SEGMENT:] for segment in segments if segment]
