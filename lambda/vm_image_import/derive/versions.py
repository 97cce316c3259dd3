"""The semantic version of an image."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Final

_MAX_NODE: Final = 2**30 - 1
"""The highest value of a node (API reference, `ImportVmImage`)."""
_NODES: Final = 3

_DATE: Final = re.compile(r"v?(\d{4})([-_.]?)(\d{2})\2(\d{2})", re.ASCII | re.IGNORECASE)
_NUMBERS: Final = re.compile(
    r"v(\d{1,10}(?:\.\d{1,10}){0,2})|(\d{1,10}(?:\.\d{1,10}){1,2}|\d{1,5})", re.ASCII | re.IGNORECASE
)

FORMS: Final = "1.4.2, 1.4, 3, v2, 2026-11-23 or 20261123, with no number above 1073741823"
"""What `parse` accepts, for a person."""


def parse(text: str) -> str | None:
    """Return the semantic version that `text` states, or None where it states none.

    Accepts `N.N.N`, `N.N`, `N` of up to five digits, and `vN` with one to three nodes, where missing nodes are 0, and a
    real day as `YYYY-MM-DD` (with `-`, `_`, `.` or nothing between, and perhaps a `v` before it). White space around it
    is ignored. Nodes are kept as written: `2021.01.01` stays.
    """
    text = text.strip()
    if day := _parse_day(text):
        return day
    match = _NUMBERS.fullmatch(text)
    if match is None:
        return None
    return of_numbers((match[1] or match[2]).split("."))


def of_numbers(numbers: Sequence[str]) -> str | None:
    """Return the semantic version of one to three numbers, of which missing ones are 0; None where one is too high."""
    if any(int(number) > _MAX_NODE for number in numbers):
        return None
    return ".".join([*numbers, *["0"] * (_NODES - len(numbers))])


def of_day(created: datetime) -> str:
    """Return the semantic version of the `date` scheme: the day in UTC as `YYYY.MM.DD`."""
    return created.astimezone(UTC).strftime("%Y.%m.%d")


def of_second(created: datetime) -> str:
    """Return the semantic version of the `timestamp` scheme: the second in UTC as `YYYYMMDD.HHMMSS.0`."""
    return created.astimezone(UTC).strftime("%Y%m%d.%H%M%S.0")


def after(existing: Iterable[str]) -> str | None:
    """Return the semantic version of the `increment` scheme: the highest existing one with its patch increased.

    The first one is 1.0.0. None where the highest patch is as high as it can be.
    """
    highest = max((tuple(map(int, version.split("."))) for version in existing), default=None)
    if highest is None:
        return "1.0.0"
    major, minor, patch = highest
    return f"{major}.{minor}.{patch + 1}" if patch < _MAX_NODE else None


def order(version: str) -> tuple[int, ...]:
    """Return the numbers of a semantic version, by which versions are compared."""
    return tuple(map(int, version.split(".")))


def is_day(number: int) -> bool:
    """Return whether a number is a day as `YYYYMMDD`."""
    return _parse_day(f"{number:08}") is not None


def _parse_day(text: str) -> str | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, _, month, day = match.groups()
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return None
    return f"{year}.{month}.{day}"


def is_same(stated: str, version: str) -> bool:
    """Return whether a stated version is this semantic version: 2021.01.01 and 2021.1.1 are one."""
    parsed = parse(stated)
    return parsed is not None and [*map(int, parsed.split("."))] == [*map(int, version.split("."))]
