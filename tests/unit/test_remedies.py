"""What to do about a failed import, held against the messages of status-messages.json.

Each of these is real: seen in a task, or on AWS's troubleshooting page. `says` is what its remedy has to speak of.
"""

import json
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NotRequired, TypedDict

import pytest

from tests.conftest import ROOT
from vm_image_import.domain import remedies
from vm_image_import.domain.remedies import cancelled_by_user, find_remedy, load_table


class Case(TypedDict):
    """A message, the row that is about it, what its remedy speaks of, and where it was seen."""

    message: str
    platform: NotRequired[str]
    row: str
    says: list[str]
    source: str


CASES: list[Case] = json.loads(Path(__file__).with_name("status-messages.json").read_text(encoding="utf-8"))
TABLE_FILE = json.loads(Path(remedies.__file__).with_name("remedies.json").read_text(encoding="utf-8"))
ROWS: list[dict[str, str]] = TABLE_FILE["remedies"]
PAGE = (ROOT / "docs" / "failed-imports.md").read_text(encoding="utf-8")
TABLE = load_table()
REMEDIES = {remedy for row in TABLE.rows for remedy in row.remedies.values()} | {TABLE.otherwise}

GUIDE = "https://docs.aws.amazon.com/vm-import/latest/userguide/"
ANCHORS = {
    "import-modify-vm.html": {"import-without-modifications"},
    "limitations-image-importing.html": {""},
    "prepare-vm-image.html": {"prepare-vm-image-linux"},
    "prerequisites.html": {
        "vmimport-image-formats",
        "vmimport-operating-systems",
        "vmimport-operating-systems-linux",
        "vmimport-boot-modes",
    },
    "required-permissions.html": {"vmimport-role"},
    "vmexport-limits.html": {""},
    "vmimport-troubleshooting.html": {
        "",
        "import-image-errors",
        "import-instance-errors",
        "instance-export-errors",
        "linux-vm-errors",
        "windows-vm-errors",
    },
}
"""Pages of the guide (its llms.txt names all) and anchors on them that a remedy may link."""


IDS = [f"{number}-{case['row']}" for number, case in enumerate(CASES)]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_message_gets_its_remedy(case: Case) -> None:
    """A status message gets the remedy that its source asks for, by the platform of the task."""
    remedy = find_remedy(case["message"], case.get("platform"))
    assert remedy.row == case["row"]
    assert [words for words in case["says"] if words not in remedy.text] == []


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_only_one_row_matches_a_message(case: Case) -> None:
    """No row matches a message of another row, so the order of the rows does not matter."""
    assert [row.id for row in TABLE.match(case["message"])] == [case["row"]]


def test_each_id_is_of_one_row() -> None:
    """No two rows have one id."""
    assert len({row.id for row in TABLE.rows}) == len(TABLE.rows)


VARIATIONS: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "lower case": str.lower,
    "no space": lambda message: message.replace("ClientError: ", "ClientError:"),
    "server": lambda message: message.replace("ClientError: ", "ServerError: "),
    "prefix": lambda message: f"CLIENT_ERROR : {message}",
    "lines": lambda message: message.replace(" ", "\r\n"),
    "white space": lambda message: message.replace(" ", "  \t"),
    "around": lambda message: f"\n {message} \x00",
    "brackets": lambda message: message.replace("<", "").replace(">", ""),
    "no full stop": lambda message: message.rstrip("."),
}


@pytest.mark.parametrize("variation", VARIATIONS)
def test_a_message_may_vary(variation: str) -> None:
    """Case, prefix, white space and angle brackets of a message make no difference."""
    found = [[row.id for row in TABLE.match(VARIATIONS[variation](case["message"]))] for case in CASES]
    assert found == [[case["row"]] for case in CASES]


@pytest.mark.parametrize(
    ("message", "row"),
    [
        ("The service role 'importer' provided does not exist or does not have sufficient permissions", "service-role"),
        ("ClientError: Multiple grub files found", "several-grub-files"),
        ("ClientError: Multiple directory found", "several-systems"),
        ("ClientError: Unknown OS", "unknown-os"),
        ("ClientError: Missing OS file", "unknown-os"),
        ("ClientError: Footers are not identical", "vhd-footers"),
        ("OVA with chunked disk file is not supported", "ova-chunked-disks"),
        ("We do not have access to the given resource. Reason 404 Not Found", "s3-access"),
        ("Task expired and automatically cancelled", "expired"),
        ("AWS-initiated cancelation", "aws-failure"),
        ("We were unable to read your import\u2019s initramfs", "initramfs"),
    ],
)
def test_a_wording_may_vary(message: str, row: str) -> None:
    """Singular and plural, and small differences of the wording, make no difference."""
    assert [found.id for found in TABLE.match(message)] == [row]


@pytest.mark.parametrize("platform", [None, "", "Linux", "linux", "WINDOWS", "macOS", "\x00"])
@pytest.mark.parametrize("message", [None, "", " ", "\x00\x1b[2J", "\ud800", "ClientError: Something new", "x" * 65536])
def test_the_rest_gets_the_page_of_the_guide(message: str | None, platform: str | None) -> None:
    """A message that no row matches, or none, gets the guide's troubleshooting page."""
    assert find_remedy(message, platform) == TABLE.otherwise
    assert TABLE.otherwise.url == f"{GUIDE}vmimport-troubleshooting.html"


@pytest.mark.parametrize(
    ("message", "platform", "other"),
    [
        ("because the instance failed to boot and establish network connectivity", "LINUX", "Linux"),
        ("because the instance failed to boot and establish network connectivity", "windows", "Windows"),
        ("because the Windows instance failed to boot and establish network connectivity", None, "Windows"),
        ("because the Linux instance failed to boot and establish network connectivity", "", "Linux"),
        ("because the instance failed to boot and establish network connectivity (Linux or Windows)", None, None),
        ("because the instance failed to boot and establish network connectivity", "macOS", None),
    ],
)
def test_the_platform_decides(message: str, platform: str | None, other: str | None) -> None:
    """The task's platform decides in any case; without one, the platform that the message names."""
    assert find_remedy(message, platform) == find_remedy("FirstBootFailure", other)


@pytest.mark.parametrize(
    ("message", "row"),
    [
        ("ClientError: Disk validation failed [Unsupported Specified File Format]", "disk-format"),
        ("ClientError: Disk validation failed [Unsupported VMDK File Format]", "vmdk-format"),
        ("ClientError: No valid partitions. Not a valid volume.", "partition-table"),
        ("ClientError: Unsupported kernel version 4.15.0-1021-aws", ""),
        ("ClientError: Something new", ""),
    ],
)
@pytest.mark.parametrize(
    ("file", "compressed"),
    [
        ("s3://my-bucket/rhcos-4.16.51-x86_64-aws.x86_64.vmdk.gz", True),
        *((f"https://h.example/web.raw{suffix}", True) for suffix in (".xz", ".zst", ".bz2", ".zip", ".7z", ".GZ")),
        ("s3://b/web.vmdk", False),
        ("s3://b/gz", False),
        ("s3://b/web.gz/web.raw", False),
        ("", False),
    ],
)
def test_a_compressed_file_is_to_be_decompressed(message: str, row: str, file: str, compressed: bool) -> None:  # noqa: FBT001 - a column
    """A message about the format of a file whose name ends like that of a compressed one says to decompress it."""
    remedy, other = find_remedy(message, None, ["s3://b/other.vmdk", file]), find_remedy(message)
    assert ("decompress the file first" in remedy.text) == (compressed and bool(row))
    assert remedy.text.endswith(other.text)
    assert (remedy.row, remedy.url) == (other.row, other.url)


def test_nothing_of_a_message_is_in_the_remedy() -> None:
    """A remedy is the table's, whatever the message says."""
    generator = random.Random(17)  # noqa: S311 (no secret: the same messages in each run)
    alphabet = "".join(case["message"] for case in CASES) + "\x00\x1b\n<>&{}%\\/'\"\u202e\U0001f600\ud800"
    for _ in range(500):
        case = generator.choice(CASES)
        noise = "".join(generator.choices(alphabet, k=generator.randrange(200)))
        assert find_remedy(f"{noise} {case['message']} {noise}", generator.choice([None, "Linux", noise])) in REMEDIES


def test_a_remedy_can_be_sent() -> None:
    """A remedy is one line of ASCII that fits into a chat message, and every URL in it is one that AWS has."""
    files = [f"s3://b/x{suffix}" for suffix in TABLE.compressed_suffixes]
    compressed = {find_remedy(case["message"], case.get("platform"), files) for case in CASES}
    assert len(compressed - REMEDIES) > 2
    for remedy in REMEDIES | compressed:
        # Without what chat takes for markup.
        assert re.fullmatch(r"[ !-%'-;=?-_a-~]{20,1700}", remedy.text)
        for link in [remedy.url, *re.findall(r"https?://\S+", remedy.text)]:
            page, _, anchor = link.removeprefix(GUIDE).partition("#")
            assert anchor in ANCHORS[page]


def test_each_row_says_where_it_is_from() -> None:
    """The source of a row is the page that documents its message, or the issue in which it was seen."""
    for row in ROWS:
        assert re.match(r"https://docs\.aws\.amazon\.com/|observed: ", row["source"])


def test_no_pattern_repeats_without_a_bound() -> None:
    """The time that a pattern takes is linear in the length of the message."""
    for row in ROWS:
        assert not re.search(r"(?<!\\)[*+]|,\}", row["pattern"])


@pytest.mark.parametrize(
    "unit", ["a", " ", ":", "a : ", "task ", "\x00", "the user ", "bucket is not in the "], ids=ascii
)
def test_a_long_message_is_read(unit: str) -> None:
    """64 KB of text that begins like a message again and again take less than two seconds of the processor."""
    before = time.process_time()
    assert find_remedy(unit * (65536 // len(unit))) == TABLE.otherwise
    assert not cancelled_by_user(unit * (65536 // len(unit)))
    assert time.process_time() - before < 2


@pytest.mark.parametrize(
    "message",
    [
        "Cancelled by user",
        "Canceled by user.",
        "Import cancelled by user",
        "Import task was canceled by the user: no longer needed",
        "CLIENT_ERROR : User initiated task cancellation",
        "User-initiated cancelation",
        "User requested to CANCEL task",
        "The user has cancelled the import task",
        "Cancelled at user's request",
        "Cancellation requested by customer",
        "The task has been cancelled by your\r\naccount owner",
        "Canceled",
        "Cancelled.",
        "Import task cancelled",
    ],
)
def test_a_cancellation_by_a_user_is_one(message: str) -> None:
    """A task that a user cancelled did not fail."""
    assert cancelled_by_user(message)


@pytest.mark.parametrize(
    "message",
    [
        *sorted({case["message"] for case in CASES}),
        None,
        "",
        "\x00",
        "Task expired and automatically cancelled",
        "Cancelled automatically",
        "Cancelled: task expired",
        "Canceled due to a timeout",
        "Cancelled by AWS",
        "Cancelled by the service",
        "Cancelled by AWS operator",
        "AWS initiated task cancellation requested by user",
        "Task was not cancelled by user",
        "User cannot cancel task",
        "Import failed and was cancelled",
        "ClientError: Unsupported kernel version 1.0 cancelled by user",
        "ClientError: Disk validation failed [Cancelled by user]",
        "ServerError: conversion failed: could not be cancelled by user",
        "cancel",
        "x" * 65536,
    ],
)
def test_any_other_end_is_a_failure(message: str | None) -> None:
    """A message that does not clearly say that a user cancelled the task is a failure."""
    assert not cancelled_by_user(message)


def test_the_page_of_failed_imports_links_the_guide() -> None:
    """Each row of docs/failed-imports.md links the page of AWS's guide that its remedy has."""
    page = PAGE.partition("## Messages")[2].replace("\\", "").replace("&lt;", "<").splitlines()
    for row in [*ROWS, TABLE_FILE["otherwise"]]:
        (line,) = (line for line in page if row["remedy"] in line)
        assert f"[Guide]({row['url']})" in line


def test_the_page_of_failed_imports_has_the_compressed_files() -> None:
    """docs/failed-imports.md has the suffixes of compressed files, and what their remedy begins with."""
    section = PAGE.partition("## Compressed files")[2].partition("\n## ")[0]
    assert TABLE_FILE["compressed"] in section
    assert re.findall(r"`(\.\w+)`", section) == TABLE_FILE["compressedSuffixes"]
