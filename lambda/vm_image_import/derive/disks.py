"""The name and the version in the path of a disk file."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from vm_image_import.derive import filenames, names
from vm_image_import.derive.words import EXTENSIONS, SAYS_NOTHING, SYSTEMS, TRAILING
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
_MONTH: Final = re.compile(r"(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])", re.ASCII)
_EPOCH: Final = re.compile(r"1\d{9}(?:\d{3})?", re.ASCII)
"""Seconds or milliseconds since 1970."""
_DOUBT: Final = re.compile(
    r"[-_. ]?(?!\d{4}\.\d\d\.\d\d\Z)(?:v?\d{1,4}\.\d{1,4}(?:[-_.]\d{1,4})?|v\d{1,4}(?=[-_.]|[a-z]+\d))"
    r"[-_.]?(?:[a-z][a-z\d]{0,11}(?:[-_.][a-z\d]{1,12}){0,3})?",
    re.ASCII | re.IGNORECASE,
)
"""A version with more behind it: `1.10.0-rc1`, `8.0U1`, `1.8-1`, `v3-beta`, `1.4.2-eu-west-1`."""
_WORDS_IN_FRONT: Final = re.compile(r"\A(?:[a-z]{1,20}[-_. ]){0,6}", re.ASCII | re.IGNORECASE)
_YEAR: Final = re.compile(r"(?:19|20)\d\d", re.ASCII)
_TWO_DIGITS: Final = re.compile(r"\d\d", re.ASCII)

_NUMBERS_IN_FRONT: Final = re.compile(r"\A[-_. ]{0,9}v?\d[-\d._ ]{0,40}[-_. ]", re.ASCII | re.IGNORECASE)
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
        patterns = (_AWS_ID, _MONTH, _EPOCH)
        return (
            not self.name or bool(_SILENT.fullmatch(self.name)) or any(each.fullmatch(self.stem) for each in patterns)
        )

    @property
    def is_word(self) -> bool:
        """Whether it has no number, but for listed words like `amd64`."""
        return filenames.is_words_alone(self.name) or not re.search(r"\d", self.name)

    @property
    def is_doubtful(self) -> bool:
        version = _WORDS_IN_FRONT.sub("", self.stem, count=1)
        words = self.stem.removesuffix(version)
        return not self.version and bool(self.name and _DOUBT.fullmatch(version)) and filenames.is_incomplete(words)

    @property
    def is_incomplete(self) -> bool:
        """Whether it has listed words, a stage, a number or a doubtful version only, which say not of what."""
        return self.is_doubtful or filenames.is_incomplete(self.name)


def read(disk: Disk, created: datetime | None = None) -> FromPath:
    """Return the image name and the semantic version in the path of `disk`.

    A day later than the one after its AMI was `created` is no version. A part that says nothing (`disk1`, `image`)
    gives way to the folder above it. One that says not of what (`1.4.2`, `amd64`, `rc1`), or is too short for a name,
    is read with that folder like one name: `web/1.4.2/rc1` like `web-1.4.2-rc1`. A file without a number has the
    version of its folder, or the doubtful one in its name.
    """
    imported = created.astimezone(UTC).date() if created else date.max
    parts = _without_days([_part(segment, imported) for segment in reversed(segments(disk))])
    if not parts or _AWS_ID.fullmatch(parts[0].stem):
        return FromPath(None, None)
    below = _Below()
    for place, part in enumerate(parts):
        above = parts[place + 1 :]
        if part.says_nothing:
            below = below.with_version(part)
        elif part.is_incomplete:
            below = below.with_part(part, is_file=not place)
        elif _is_behind_version(part, above):
            below = below.with_system(part)
        elif below.system and part.is_word and not part.version and filenames.is_listed(part.stem):
            # bookworm/daily/20240211/debian-12-amd64.qcow2 has the system twice.
            below = below.system._replace(numbers=_join(below.version, below.system.numbers))
            break
        else:
            name, version = below.with_name(part, imported)
            if len(names.sanitize(name)) < names.MIN_LENGTH:
                below = below.with_part(part)
                continue
            if not (version or below.numbers or filenames.has_number(part.stem)):
                doubt, version = _of_folders(part, above)
                name = _join(name, doubt)
            return FromPath(names.sanitize(name), version)
    return _without_name(parts, below, imported)


class _Below(NamedTuple):
    """What is below the part that names the image."""

    words: str = ""
    """Listed words, and what has no number: they are of the name wherever the version is."""
    numbers: str = ""
    """What has a number: versions, stages like `rc1`, operating systems."""
    version: str = ""
    """The one that was added last."""
    system: "_Below | None" = None
    """What is below an operating system, or the like, that is behind a version; with it."""

    def with_version(self, part: _Part) -> "_Below":
        """Add the version of a part, but where it is one of many that begin like it: the 1.4 of `1.4/1.4.2`."""
        if not part.version or _is_series(part.version, self.version):
            return self
        text = part.version if part.name else part.stem
        return self._replace(numbers=_join(text, self.numbers), version=part.version)

    def with_part(self, part: _Part, *, is_file: bool = False) -> "_Below":
        """Add a part that says not of what."""
        if self.numbers and not self.version and part.is_word and not part.version:
            return self._replace(numbers=_join(part.name, self.numbers))
        if part.is_word or (is_file and part.name.isdigit()):
            return self.with_version(part)._replace(words=_join(part.name, self.words))
        return self._replace(numbers=_join(self._text(part), self.numbers), version=part.version or self.version)

    def with_system(self, part: _Part) -> "_Below":
        """Add an operating system, or another word with its number, whose version is another part's."""
        if part.is_word and not part.version:
            system = self._replace(words=_join(part.name, self.words))
        else:
            system = self._replace(numbers=_join(part.stem, self.numbers))
        return system._replace(system=system)

    def with_name(self, part: _Part | None, imported: date) -> tuple[str, str | None]:
        """Return name and version where this part, if any, names the image."""
        if part and not self.numbers:
            return _join(part.name, self.words), part.version
        name, version = filenames.split(_join(self._text(part) if part else "", self.numbers), imported)
        return _join(_sanitize(name), self.words), version

    def _text(self, part: _Part) -> str:
        return part.name if part.version and _is_series(part.version, self.version) else part.stem


def _without_name(parts: Sequence[_Part], below: _Below, imported: date) -> FromPath:
    """Return what a path states where none of its parts says of what."""
    first = next((part for part in parts if not part.says_nothing), None)
    name, version = below.with_name(None, imported)
    name = names.sanitize(name)
    if first is None or (first is not parts[0] and name.isdigit()):
        return FromPath(None, version)
    if len(name) < names.MIN_LENGTH <= len(names.sanitize(first.stem)):
        # Too short for a name, so its version stays in it.
        return FromPath(names.sanitize(first.stem), None)
    is_released = first.version and not _IN_FRONT.match(first.stem)
    return FromPath(name if is_released or not filenames.is_words_alone(name) else None, version)


def _without_days(parts: Sequence[_Part]) -> list[_Part]:
    """Return the parts without the folders of a day: `2026/11/23/web.ova`, `2026-11/23/web.ova`."""
    path, kept, in_day = parts[::-1], [], False
    for folder, below in pairwise(path):
        is_month = _MONTH.fullmatch(folder.stem) and not folder.version
        is_year = _YEAR.fullmatch(folder.stem) and _TWO_DIGITS.fullmatch(below.stem)
        in_day = bool(is_month or is_year or (in_day and _TWO_DIGITS.fullmatch(folder.stem)))
        if not in_day:
            kept.append(folder)
    return [*parts[:1], *reversed(kept)]


def _is_series(version: str, below: str) -> bool:
    """Return whether a version is the release, or the beginning, of the one below it: 1.4 of 1.4.2."""
    return f"{below}.".startswith(re.sub(r"(?:\.0+)*\Z", ".", version, count=1))


def _is_behind_version(part: _Part, above: Sequence[_Part]) -> bool:
    """Return whether a part has only words that can stand behind a version, and one is before it or in a folder."""
    words = _NUMBERS_IN_FRONT.sub("", part.stem, count=1)
    if not filenames.is_listed(words):
        return False
    if part.version and words != part.stem:
        return True
    for place, folder in enumerate(above):
        if folder.version or folder.is_doubtful:
            origin = next((other for other in above[place:] if other.name and not other.is_doubtful), folder)
            is_of_other = origin.name.lower() in _OTHERS and (origin is folder or not origin.version)
            return not (is_of_other or (folder.version and _is_series(folder.version, part.version or "")))
        if not (folder.says_nothing or folder.is_incomplete or filenames.is_listed(folder.stem)):
            return False
    return False


def _join(folder: str, name: str) -> str:
    """Return a name behind that of its folder, once where one of them has the other."""
    if not (folder and name):
        return folder or name
    whole, part = f"-{folder}-".lower(), f"-{name}-".lower()
    if part in whole:
        return folder
    return name if whole in part else f"{folder}-{name}"


def _of_folders(named: _Part, folders: Sequence[_Part]) -> tuple[str, str | None]:
    """Return the doubtful version, or the version, of the folders above the part that names the image."""
    for place, folder in enumerate(folders):
        if _MONTH.fullmatch(folder.stem) or (not folder.version and filenames.is_words_alone(folder.name)):
            continue
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
    return _Part(stem, _sanitize(told.name), told.version)


def _sanitize(name: str) -> str:
    # A disk's suffix can be before the version, too.
    return names.sanitize(_SUFFIX.sub("", name, count=1))


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
