"""The name and the version in the path of a disk file."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from vm_image_import.derive import filenames, names
from vm_image_import.derive.words import EXTENSIONS, SAYS_NOTHING, STAGES, SYSTEMS, TRAILING
from vm_image_import.domain.models import Disk

_EXTENSIONS: Final = re.compile(rf"(?:\.(?:{'|'.join(sorted(EXTENSIONS))})){{1,4}}$", re.IGNORECASE)
_SUFFIX: Final = re.compile(
    r"(?:[-_. ]ovf\d+)?(?:(?<!hard)(?<!virtual)[-_. ]disk[-_ ]?\d+)?(?:[-_. ]flat)?$", re.ASCII | re.IGNORECASE
)
_COPY: Final = re.compile(r"[ _]?\((\d{1,3})\)$", re.ASCII)
_SILENT: Final = re.compile(
    rf"(?:os|vm)s?|(?:{'|'.join(sorted(SAYS_NOTHING - {'os', 'vm'}))})s?[-_ ]?\d{{0,6}}", re.ASCII | re.IGNORECASE
)
_AWS_ID: Final = re.compile(
    r"export-(?:ami|i)-[\da-z]{8,17}|(?:ami|i|snap|vol)-[\da-f]{8,17}", re.ASCII | re.IGNORECASE
)
"""What AWS calls an export, an AMI, an instance, a snapshot and a volume: new for each."""
_OTHERS: Final = TRAILING["hypervisor"] | SYSTEMS
"""A folder below one of these states its version: `ubuntu/22.04/web.ova`."""
_DAY: Final = re.compile(r"\d{4}\.\d\d\.\d\d", re.ASCII)
_ONE_NUMBER: Final = re.compile(r"v\d+", re.ASCII | re.IGNORECASE)
"""A folder like the v2 of `api/v2/web.ova`."""
_MONTH: Final = re.compile(r"(?:19|20)\d\d[-_.](?:0[1-9]|1[0-2])", re.ASCII)
_DOUBT: Final = re.compile(
    r"[-_. ]?(?!\d{4}\.\d\d\.\d\d\Z)v?\d{1,4}\.\d{1,4}(?:[-_.]\d{1,4})?[-_.]?(?:[a-z]{1,12}[-_.]?\d{0,4})?",
    re.ASCII | re.IGNORECASE,
)
"""A version with more behind it: `1.10.0-rc1`, `8.0U1`, `1.8-1`."""

_IN_FRONT: Final = re.compile(r"\A[-_. ]*v?\d", re.ASCII | re.IGNORECASE)

_MAX_SEGMENT: Final = 1024
"""As long as an S3 key can be; a URL could be long enough to keep the patterns busy."""


class FromPath(NamedTuple):
    """What a path states; None where it states nothing. The name may be shorter than Image Builder accepts."""

    name: str | None
    version: str | None


class _Part(NamedTuple):
    """What one part of a path states."""

    stem: str
    name: str
    version: str | None

    @property
    def says_nothing(self) -> bool:
        return not self.name or bool(_SILENT.fullmatch(self.name) or _MONTH.fullmatch(self.stem))

    @property
    def is_of_folder(self) -> bool:
        """Whether it has listed words only, a branch, a stage or a doubtful version, which say not of what."""
        if self.name.lower() in STAGES:
            return True
        if self.version and not _IN_FRONT.match(self.stem):
            return False
        return filenames.is_words_alone(self.name) or (not self.version and _DOUBT.fullmatch(self.stem) is not None)


def read(disk: Disk, created: datetime | None = None) -> FromPath:
    """Return the image name and the semantic version in the path of `disk`.

    A day later than the one after its AMI was `created` is no version. A part that says nothing (`disk1`, `image`, a
    version alone) gives way to the folder above it, read by the same rules; listed words alone, a branch, a stage, a
    doubtful version, and one too short for a name, are joined to it. What states no number has the version of its
    folder, or the doubtful one in its name.
    """
    imported = created.astimezone(UTC).date() if created else date.max
    parts = [_part(segment, imported) for segment in reversed(segments(disk))]
    if not parts or _AWS_ID.fullmatch(parts[0].stem):
        return FromPath(None, None)
    name, version, short = "", None, ""
    for place, part in enumerate(parts):
        version = version or part.version
        if part.says_nothing or (place and part.name.isdigit()):
            continue
        name, short = names.sanitize(_join(part.name, name)), short or names.sanitize(part.stem)
        if len(name) >= names.MIN_LENGTH and not part.is_of_folder:
            if version or filenames.has_number(part.stem):
                return FromPath(name, version)
            doubt, version = _of_folders(part, parts[place + 1 :])
            return FromPath(names.sanitize(_join(name, doubt)), version)
    if len(name) < names.MIN_LENGTH <= len(short):
        # Too short for a name, so its version stays in it.
        return FromPath(short, None)
    return FromPath(None if filenames.is_words_alone(name) else name, version)


def _join(folder: str, name: str) -> str:
    """Return a name behind that of its folder, once where one of them has the other."""
    whole, part = f"-{folder}-".lower(), f"-{name}-".lower()
    if not name or part in whole:
        return folder
    return name if whole in part else f"{folder}-{name}"


def _of_folders(named: _Part, folders: Sequence[_Part]) -> tuple[str, str | None]:
    """Return the doubtful version, or the version, of the folders above the part that names the image."""
    for place, folder in enumerate(folders):
        same = bool(folder.name) and f"{named.name}-".lower().startswith(
            (f"{folder.name}-".lower(), f"{folder.name}_".lower())
        )
        above = next((part.name.lower() for part in folders[place + 1 :]), "")
        others = above in _OTHERS and not named.name.lower().startswith(above)
        rest = re.sub(re.escape(named.stem), "", folder.stem, count=1, flags=re.IGNORECASE)
        if not folder.version and _DOUBT.fullmatch(rest) and not others:
            return rest.lstrip("-_. "), None
        if not (folder.says_nothing or same or folder.name.isdigit()):
            return "", None
        if folder.version and (_DAY.fullmatch(folder.version) or same):
            return "", folder.version
        if folder.version:
            return "", None if others or _ONE_NUMBER.fullmatch(folder.stem) else folder.version
    return "", None


def stem_of(segment: str) -> str:
    """Return a part of a path without its extensions and its disk's suffix, in ASCII."""
    return _SUFFIX.sub("", _EXTENSIONS.sub("", names.transliterate(segment[-_MAX_SEGMENT:])), count=1)


def _part(segment: str, imported: date) -> _Part:
    stem = stem_of(segment)
    told = filenames.split(_COPY.sub("", stem), imported)
    if told.version is None:
        stem = _COPY.sub(r" \1", stem)
        told = filenames.split(stem, imported)
    # A suffix can stand before the version, too.
    return _Part(stem, names.sanitize(_SUFFIX.sub("", told.name, count=1)), told.version)


def file_name(disk: Disk) -> str | None:
    """Return the last part of the path of `disk`, as it is; None where it has no path."""
    path = segments(disk)
    return path[-1] if path else None


def segments(disk: Disk) -> list[str]:
    """Return the parts of the path: an S3 key is taken as it is, a URL's path is percent-decoded."""
    if disk.key:
        path = re.split(r"[/\\]", disk.key)
    else:
        path = [unquote(segment) for segment in urlsplit(disk.source or "").path.split("/")]
    return [segment for segment in path if segment]
