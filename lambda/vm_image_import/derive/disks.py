"""The name and the version that the path of a disk file tells."""

import re
from datetime import UTC, date, datetime
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from vm_image_import.derive import filenames, names
from vm_image_import.derive.words import EXTENSIONS, SAYS_NOTHING
from vm_image_import.domain.models import Disk

_EXTENSIONS: Final = re.compile(rf"(?:\.(?:{'|'.join(sorted(EXTENSIONS))})){{1,4}}$", re.IGNORECASE)
_DISK_SUFFIX: Final = re.compile(r"(?:[-_. ]disk[-_ ]?\d+)?(?:[-_. ]flat)?$", re.ASCII | re.IGNORECASE)
_DISK: Final = re.compile(r"disk[-_ ]?\d+", re.ASCII | re.IGNORECASE)

_MAX_SEGMENT: Final = 1024
"""As long as an S3 key can be; a URL could be long enough to keep the patterns busy."""


class FromPath(NamedTuple):
    """What a path tells; None where it tells nothing. The name may be shorter than Image Builder takes."""

    name: str | None
    version: str | None


def read(disk: Disk, created: datetime | None = None) -> FromPath:
    """Return the image name and the semantic version that the path of `disk` tells.

    A day later than the one after its AMI was `created` is no version. A stem that says nothing (`disk1`, `image`, a
    version alone) gives way to the folder above it, read by the same rules; one too short for a name is joined to it.
    """
    imported = created.astimezone(UTC).date() if created else date.max
    name, version = "", None
    for place, segment in enumerate(reversed(_segments(disk))):
        stem = _DISK_SUFFIX.sub("", _EXTENSIONS.sub("", names.transliterate(segment)), count=1)
        told = filenames.split(stem, imported)
        version = version or told.version
        # A disk suffix can stand before the version, too.
        part = names.sanitize(_DISK_SUFFIX.sub("", told.name, count=1))
        if _says_nothing(part) or (place and part.isdigit()):
            continue
        name = names.sanitize(f"{part}-{name}")
        if len(name) >= names.MIN_LENGTH:
            break
    return FromPath(name or None, version)


def _says_nothing(part: str) -> bool:
    return not part or part.lower() in SAYS_NOTHING or _DISK.fullmatch(part) is not None


def file_name(disk: Disk) -> str | None:
    """Return the last part of the path of `disk`, as it is; None where it has no path."""
    segments = _segments(disk)
    return segments[-1] if segments else None


def _segments(disk: Disk) -> list[str]:
    """Return the parts of the path: an S3 key is taken as it is, a URL's path is percent-decoded."""
    if disk.key:
        segments = re.split(r"[/\\]", disk.key)
    else:
        segments = [unquote(segment) for segment in urlsplit(disk.source or "").path.split("/")]
    return [segment[-_MAX_SEGMENT:] for segment in segments if segment]
