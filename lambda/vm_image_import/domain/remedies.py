"""What to do about a failed import, from EC2's status message.

The table is remedies.json. A row of it has an `id`, the `pattern` of its status messages, the `remedy`, the `url` of
AWS's page that explains it, and the `source` of the message. The pattern is a regular expression that is searched in
any case, with one space for any white space, and has no repeat without a bound. `byPlatform` replaces remedy and URL
for Linux or Windows. Where `importUnmodified` is true, the table's text of that name follows the remedy. Where
`compressed` is true, and a disk's file has one of the `compressedSuffixes`, the table's text of that name precedes it.
"""

import functools
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

_TABLE: Final = Path(__file__).with_name("remedies.json")
_PLATFORMS: Final = ("linux", "windows")

_USER: Final = r"(?:an?\ |the\ |your\ )?(?:user|customer|caller|requester|operator|account\ owner)"
_CANCELLED_BY_USER: Final = re.compile(
    rf"""
    (?:\w{{1,32}}\ ?:\ ?){{0,3}}  # such as `CLIENT_ERROR : `
    (?:(?:the|this|vm|import|image|task|request|was|has|been|is)\ ){{0,8}}
    (?:
        cancell?ed(?:\ (?:by|at|on|upon)\ {_USER}\b|\.?$)
        |cancell?ation\ (?:was\ |has\ been\ )?(?:requested|initiated)\ by\ {_USER}\b
        |{_USER}[\ -](?:(?:has|initiated|requested|asked|to|the|this|import|image|task)\ ){{0,6}}cancel
    )
    """,
    re.IGNORECASE | re.VERBOSE,
)


class Remedy(NamedTuple):
    """What to do about a failed import.

    Every field is of the table, none has anything of the status message in it. `text` is one line of ASCII, `url` the
    page of AWS that explains it.
    """

    row: str
    text: str
    url: str


class Row(NamedTuple):
    """One row of the table: the pattern of its status messages, and the remedy by platform ("" for any other).

    `for_compressed` precedes the remedy where a disk's file is compressed.
    """

    id: str
    pattern: re.Pattern[str]
    remedies: Mapping[str, Remedy]
    for_compressed: str = ""


class Table(NamedTuple):
    """The rows, of which at most one matches a message, and the remedy of a message that none matches."""

    rows: tuple[Row, ...]
    otherwise: Remedy
    compressed_suffixes: tuple[str, ...]
    """The ends of the names of compressed files, in lower case."""

    def match(self, status_message: str) -> list[Row]:
        """Return the rows whose pattern is in the message, in time that is linear in the message's length."""
        line = _one_line(status_message)
        return [row for row in self.rows if row.pattern.search(line)]


@functools.cache
def load_table() -> Table:
    """Return the table, which is read once."""
    table = json.loads(_TABLE.read_text(encoding="utf-8"))
    return Table(
        tuple(_row(entry, table) for entry in table["remedies"]),
        Remedy("otherwise", table["otherwise"]["remedy"], table["otherwise"]["url"]),
        tuple(table["compressedSuffixes"]),
    )


def find_remedy(status_message: str | None, platform: str | None = None, files: Iterable[str] = ()) -> Remedy:
    """Return what to do about a failed import.

    `status_message` is EC2's, as it is: untrusted, of any length. `platform` is the import task's, in any case; where
    the task has none, a message that names the platform decides. `files` are the addresses of its disks.
    """
    message = status_message or ""
    table = load_table()
    rows = table.match(message)
    if not rows:
        return table.otherwise
    key = platform.lower() if platform else _named_platform(message)
    remedy, for_compressed = rows[0].remedies.get(key, rows[0].remedies[""]), rows[0].for_compressed
    if for_compressed and any(file.lower().endswith(table.compressed_suffixes) for file in files):
        return remedy._replace(text=f"{for_compressed} {remedy.text}")
    return remedy


def cancelled_by_user(status_message: str | None) -> bool:
    """Whether a user cancelled the import task. Any other task that ended without an AMI failed.

    EC2 also cancels tasks itself and says so: `Task expired and automatically canceled`, `AWS initiated task
    cancellation` (observed). How it words a user's cancellation is not documented. So the message has to begin with
    it and name the user, or say nothing but that the task was cancelled. The beginning of a message is EC2's; a
    later part, such as a kernel's version, can be the VM's.
    """
    return _CANCELLED_BY_USER.match(_one_line(status_message or "")) is not None


def _one_line(message: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in message).split())


def _named_platform(message: str) -> str:
    named = [platform for platform in _PLATFORMS if platform in message.lower()]
    return named[0] if len(named) == 1 else ""


def _row(entry: Mapping[str, Any], table: Mapping[str, Any]) -> Row:
    variants = {"": entry} | {
        platform.lower(): {"url": entry["url"]} | variant for platform, variant in entry.get("byPlatform", {}).items()
    }
    remedies = {
        platform: Remedy(
            entry["id"],
            f"{variant['remedy']} {table['importUnmodified']}"
            if variant.get("importUnmodified")
            else variant["remedy"],
            variant["url"],
        )
        for platform, variant in variants.items()
    }
    for_compressed = table["compressed"] if entry.get("compressed") else ""
    return Row(entry["id"], re.compile(entry["pattern"], re.IGNORECASE), remedies, for_compressed)
