"""The name and the version in one file's or folder's name, without its extensions and its disk suffix."""

import re
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Final, NamedTuple

from vm_image_import.derive import versions
from vm_image_import.derive.words import BEFORE_RELEASE, NUMBERED, SAYS_NOTHING, STAGES, SYSTEMS, TRAILING

_FIRST_DAY: Final = date(1990, 1, 1)
_ONE_DAY: Final = timedelta(days=1)
_NODES: Final = 3
_LONG_BUILD: Final = 5
"""Digits from which a number behind two others is a build number: `1.5-1747399384`. `1.2-3` could mean 1.2.3."""
_MOST_UNITS: Final = 7
"""The longest version, a day with its time and a counter, has so many: `2026_02_11-03_15_00-1`."""
_MOST_WORD_UNITS: Final = 3
"""Of the longest word, `kvm-and-xen`."""

_SEPARATORS: Final = re.compile(
    # A point between digits belongs to a number. Only behind the k9 or 64 that a name ends in, as in
    # csr1000v-universalk9.17.03.01, it does not, where three numbers follow.
    r"((?:[-_ ()\[\]]|\.(?!(?<=\d\.)\d)|(?<=k9|64)\.(?=\d{1,10}\.\d{1,10}\.\d))+)",
    re.ASCII | re.IGNORECASE,
)
_WORDS: Final[frozenset[str]] = frozenset().union(*TRAILING.values())
_FOR_WHOM: Final = (_WORDS - TRAILING["code name"]) | SAYS_NOTHING
_NUMBERED_WORD: Final = re.compile(rf"(?:{'|'.join(sorted(NUMBERED))})(?:-?\d+(?:\.\d+)*)?|\d{{1,4}}[gt]b?", re.ASCII)
_LETTERS: Final = re.compile(r"[a-z]{2,}", re.ASCII)
_COUNTED: Final = re.compile(r"[a-z]{0,63}\d{1,4}", re.ASCII | re.IGNORECASE)
"""The counter behind the last word of a name: web-01, dc01, win2022."""
_NUMBER: Final = re.compile(r"v?\d", re.ASCII | re.IGNORECASE)
_BUILD: Final = re.compile(r"build-?\d+|g?(?=[a-f]{0,39}\d)(?=\d{0,39}[a-f])[\da-f]{7,40}", re.ASCII)
"""A build number, or a commit's hash."""
_NUMBER_ALONE: Final = re.compile(
    rf"v?\d{{1,10}}(?:\.\d{{1,10}}){{0,2}}|{_BUILD.pattern}|(?:kw|q|w)\d{{1,2}}|jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?"
    r"|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?",
    re.ASCII,
)
"""A number, a commit's hash, a week, a quarter or a month."""
_STAGE: Final = re.compile(
    rf"(?:{'|'.join(sorted(STAGES))})(?:-?(?!(?:19|20)\d\d\Z)\d{{1,8}}|-(?:{_BUILD.pattern}))?", re.ASCII
)
"""A branch or a stage, perhaps with a number: rc1, prod01, test-2. master-2022 is a name."""
_PATCH: Final = re.compile(r"(?:hotfix|patch|rev)-?\d+|(?:[hprsu]\d+)+|0\.0\.\d+", re.ASCII)
"""A hotfix, patch, release, service release or update, which could be the third number; or BIG-IP's build."""

_EDITIONS: Final = frozenset(("desktop", "linux", "server"))
_COMPACT_DAY: Final = r"\d{8}(?:\d{4}(?:\d\d)?)?(?!\d)"
_DATE: Final = re.compile(
    # A day can be the second or the third number: 2.0.20240109.0 and 46.82.202012051820 are these days.
    rf"(?:v?(?:\d{{1,10}}\.){{1,2}}(?={_COMPACT_DAY})|v)?"
    r"(?P<year>(?:19|20)\d\d)(?P<between>[-_.]?)(?P<month>\d\d)(?P=between)(?P<day>\d\d)"
    r"(?:\d{4}|\d{6}|[-_.t ]\d\d(?:[-_.:]?\d\d){1,2}z?)?"
    # A counter, a number of a version, or a commit's hash.
    r"(?:[-_. ]v?\d{1,9}|(?:\.\d{1,10}){2}(?:-\d{1,9})?|\.(?=\d{0,39}[a-f])[\da-f]{7,40})?",
    re.ASCII | re.IGNORECASE,
)
_ANY_DAY: Final = re.compile(
    rf"(?<!\d)(?:(?:19|20)(?={_COMPACT_DAY.replace('8', '6')})|(?:19|20)\d\d([-_.])\d\d\1\d\d(?!\d))", re.ASCII
)
_NUMBERS: Final = re.compile(
    r"(?P<v>v)?(?P<nodes>\d{1,10}(?:\.\d{1,10})*|\d{1,3}_\d{1,3}_(?!(?:19|20)\d\d)\d{1,4})"
    # A letter (17.03.04a, 7.4.3.F), or a commit's hash that begins with a digit.
    r"(?P<letter>\.?[a-z]|\.(?=\d{0,39}[a-f])[\da-f]{7,40})?(?:[-_](?P<build>\d{1,20}))?",
    re.ASCII | re.IGNORECASE,
)
_DAY_FIRST: Final = re.compile(r"(?:\d{1,2}\.)?\d{1,2}\.(?:19|20)\d\d", re.ASCII)
"""16.12.2020, 1.8.2020 and 12.2020: as versions they would not rise with time."""
_PRIVATE_ADDRESS: Final = re.compile(r"(?:10\.\d{1,3}|172\.(?:1[6-9]|2\d|3[01])|192\.168)(?:\.\d{1,3}){2}", re.ASCII)


class FromName(NamedTuple):
    """What the name of a file or folder states; the name is empty where there is a version alone."""

    name: str
    version: str | None


class _Unit(NamedTuple):
    """What stands between two separators, and the separator before it."""

    separator: str
    text: str


class _Word(NamedTuple):
    """A trailing word."""

    units: Sequence[_Unit]
    stays: bool
    """Whether it stays in the name."""
    numbers: int
    """How many numbers a version before it has at least."""


class _Version(NamedTuple):
    """A version that units end in."""

    unit: int
    """Where it begins."""
    version: str
    numbers: int
    """How many it states, at most three."""
    marked: bool
    """Whether a `v` says that it is one."""


def split(stem: str, imported: date) -> FromName:
    """Split the name of a file or folder into an image's name and semantic version.

    The version is None, and the name whole, where it ends in no version or could mean two. A day before
    1990, or later than the one after `imported`, is no version. Words behind the version stay in the name.
    """
    if _DAY_FIRST.fullmatch(stem):
        return FromName("", None)
    released, plus, metadata = stem.partition("+")
    if plus and (found := _last_version(units := _units(released), imported)):
        # What follows a plus is build metadata and has no part in the order of versions (semver.org, 10).
        listed = [word for word in _trailing_words(_units(f"-{metadata}")) if word.numbers == 1]
        return _without(found, units, listed)
    units = _units(stem)
    words = _trailing_words(units)
    # Past all words first: of web-1.4.2-ubuntu-22.04 the last number is Ubuntu's.
    for behind in range(len(words), -1, -1):
        looked_past = words[:behind]
        rest = _before(looked_past, units)
        found = _last_version(rest, imported)
        if found and found.numbers >= max((_least(word, found) for word in looked_past), default=1):
            return _without(found, units, looked_past)
    return FromName(stem, None)


def _without(found: _Version, units: Sequence[_Unit], looked_past: Sequence[_Word]) -> FromName:
    """Return the units without the version, with those words behind it that stay."""
    kept = [unit for word in reversed(looked_past) if word.stays for unit in word.units]
    return FromName(_text([*units[: found.unit], *kept]).lstrip("-_. "), found.version)


def _least(word: _Word, found: _Version) -> int:
    # Numbers in front are no release of what is before them: two are enough there.
    return min(word.numbers, _NODES - 1) if word.stays and not found.unit else word.numbers


def has_number(stem: str) -> bool:
    """Whether a name has a number that is neither a counter behind its last word nor of a listed word.

    A letter makes a word of it: k8s, dc01.
    """
    units = _units(stem)
    words = _trailing_words(units)
    rest = _before(words, units)
    if rest and _COUNTED.fullmatch(rest[-1].text) and all(word.numbers == 1 for word in words):
        rest = rest[:-1]
    return any(_NUMBER.match(unit.text) for unit in _before(_trailing_words(rest), rest))


def is_words_alone(name: str) -> bool:
    """Whether a name has nothing but listed words, which say for whom an image was built and not what it is."""
    units = _units(name)
    while word := _last_word(units[-_MOST_WORD_UNITS:]):
        text = "-".join(unit.text.lower() for unit in word.units)
        if text not in _FOR_WHOM:
            return False
        units = units[: -len(word.units)]
    return not units


def is_listed(stem: str) -> bool:
    """Whether a name has nothing but listed words, with or without a number: ubuntu-22.04-amd64."""
    units = _units(stem)
    words = _trailing_words(units)
    return not _before(words, units) and all(word.numbers == 1 for word in words)


def is_incomplete(name: str) -> bool:
    """Whether a name says not of what it is.

    It has listed words, stages, and numbers in front only: vm-104 is a name.
    """
    texts = [unit.text.lower() for unit in _units(name)]
    numbers = 0
    while texts:
        beginnings = ["-".join(texts[:length]) for length in range(1, _MOST_WORD_UNITS + 1)]
        if numbers < _NODES and _NUMBER_ALONE.fullmatch(texts[0]):
            numbers, length = numbers + texts[0].count(".") + 1, 1
        else:
            words = [text in _FOR_WHOM or bool(_STAGE.fullmatch(text)) for text in beginnings]
            if not any(words):
                return False
            numbers, length = _NODES, _MOST_WORD_UNITS - words[::-1].index(True)
        texts = texts[length:]
    return True


def _units(text: str) -> list[_Unit]:
    # What a pattern with a group splits: text, separator, text …
    separators_and_texts = ["", *_SEPARATORS.split(text)]
    pairs = zip(separators_and_texts[::2], separators_and_texts[1::2], strict=True)
    return [_Unit(separator, text) for separator, text in pairs if text]


def _text(units: Iterable[_Unit]) -> str:
    return "".join(unit.separator + unit.text for unit in units)


def _trailing_words(units: Sequence[_Unit]) -> list[_Word]:
    """Return the words at the end, the last one first."""
    words: list[_Word] = []
    while word := _last_word(units[-_MOST_WORD_UNITS:]):
        words.append(word)
        units = units[: -len(word.units)]
    return words


def _before(words: Sequence[_Word], units: Sequence[_Unit]) -> Sequence[_Unit]:
    """Return the units before these words at the end."""
    return units[: len(units) - sum(len(word.units) for word in words)]


def _last_word(units: Sequence[_Unit]) -> _Word | None:
    for start in range(len(units)):
        text = "-".join(unit.text.lower() for unit in units[start:])
        if text in _WORDS or _NUMBERED_WORD.fullmatch(text):
            return _Word(units[start:], stays=True, numbers=1)
        if _BUILD.fullmatch(text):
            return _Word(units[start:], stays=False, numbers=2)
        if _PATCH.fullmatch(text):
            return _Word(units[start:], stays=False, numbers=_NODES)
        if _LETTERS.fullmatch(text) and text not in BEFORE_RELEASE:
            return _Word(units[start:], stays=True, numbers=_NODES)
    return None


def _last_version(units: Sequence[_Unit], imported: date) -> _Version | None:
    """Return the version that the units end in, or None where they end in none or it could mean another one."""
    dated = _last_day(units)
    found = _of_day(units, *dated, imported) if dated else _last_numbers(units)
    if found is None:
        return None
    before = units[: found.unit]
    if _ANY_DAY.search(_text(before)) or (not dated and not found.marked and _is_of_a_system(before)):
        return None
    needed = _NODES if found.marked else found.numbers
    return None if any(_how_many_numbers(unit.text) >= needed for unit in before) else found


def _is_of_a_system(before: Sequence[_Unit]) -> bool:
    """Whether what is before a version ends in an operating system that another word is before: my-app-ubuntu."""
    texts = [unit.text.lower() for unit in before]
    while texts and texts[-1] in _EDITIONS:
        texts.pop()
    return bool(texts) and texts[-1] in SYSTEMS and not _WORDS.issuperset(texts[:-1])


def _last_day(units: Sequence[_Unit]) -> tuple[int, date] | None:
    """Return the day that the units end in, and the unit that it begins with."""
    index, match = _longest(_DATE, units)
    if match is None:
        return None
    try:
        return index, date(int(match["year"]), int(match["month"]), int(match["day"]))
    except ValueError:
        return None


def _of_day(units: Sequence[_Unit], start: int, day: date, imported: date) -> _Version | None:
    """Return the version of units that end in a day: that day, unless a whole version is directly before it."""
    before = _last_numbers(units[:start])
    if before and before.numbers + before.marked >= _NODES:
        return before
    if day < _FIRST_DAY or day - _ONE_DAY > imported:
        return None
    # Rocky-9-GenericCloud-9.4-20240509 has its release twice.
    repeats = before and before.version.partition(".")[0] in {unit.text for unit in units[: before.unit]}
    return _Version(before.unit if before and repeats else start, day.strftime("%Y.%m.%d"), _NODES, marked=False)


def _last_numbers(units: Sequence[_Unit]) -> _Version | None:
    """Return the version of numbers that the units end in, without a build number, a letter or a hash behind it."""
    index, match = _longest(_NUMBERS, units)
    if match is None:
        return None
    numbers = re.split("[._]", match["nodes"])
    plain, build = ".".join(numbers), match["build"] or ""
    before = units[index - 1].text.lower() if index else ""
    if (
        (len(numbers) == 1 and not (match["v"] and match[0][1:] == plain))
        or (len(numbers) < _NODES and (match["letter"] or 0 < len(build) < _LONG_BUILD))
        or ("_" in match["nodes"] and before.isdigit())
        or before == "kernel"
        # CentOS 7.9.2009 is a release.
        or (before not in SYSTEMS and _DAY_FIRST.fullmatch(plain))
        or _PRIVATE_ADDRESS.fullmatch(plain)
    ):
        return None
    version = versions.of_numbers(numbers[:_NODES])
    return _Version(index, version, min(len(numbers), _NODES), marked=bool(match["v"])) if version else None


def _how_many_numbers(text: str) -> int:
    match = _NUMBERS.fullmatch(text)
    return match["nodes"].count(".") + 1 if match else 0


def _longest(pattern: re.Pattern[str], units: Sequence[_Unit]) -> tuple[int, re.Match[str] | None]:
    """Return the longest match that ends with the last unit, and the unit that it begins with."""
    for index in range(max(0, len(units) - _MOST_UNITS), len(units)):
        if match := pattern.fullmatch(_text(units[index:]).removeprefix(units[index].separator)):
            return index, match
    return 0, None
