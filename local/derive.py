"""`make derive`: what an import would become, by the function's own rules and this folder's configuration; no AWS.

The rules need an AMI and a task: here they are an AMI of this moment and a task that has what the command line says.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.configuration import Configuration, ConfigurationError, folder_contexts

_ROOT: Final = Path(__file__).resolve().parent.parent
# `lambda` is a keyword: the folder is a source root, never a package.
sys.path.insert(0, str(_ROOT / "lambda"))

from vm_image_import.derive import (  # noqa: E402 - as said above
    NEXT_PATCH,
    Derivation,
    DerivedValue,
    Identity,
    derive,
    disks,
    formats,
    identify,
    names,
)
from vm_image_import.domain.errors import RejectedError  # noqa: E402
from vm_image_import.domain.models import (  # noqa: E402
    Ami,
    Disk,
    ImportTask,
    Overrides,
)
from vm_image_import.domain.text import visible  # noqa: E402
from vm_image_import.settings import Settings  # noqa: E402

_TASK_ID: Final = "import-ami-0123456789abcdef0"
_NEXT_PATCH: Final = DerivedValue("1.0.0", NEXT_PATCH)
"""Of the scheme `increment`: nothing is known of existing images here."""
_DAY: Final = re.compile(r"\d{4}\.\d\d\.\d\d", re.ASCII)
_LISTED: Final = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +\d+(?:(?:\.\d)? (?:Bytes|[KMGTPE]iB))? (?P<key>.+)", re.ASCII
)
"""An object as `aws s3 ls` prints it, with or without `--recursive` and `--human-readable`."""
_MOMENT: Final = re.compile(r"(?<![^/])(?:\d+|(?=[a-f]*\d)[\da-f]{7,40})/|\d[-\d._ T:/]{4,}", re.ASCII | re.IGNORECASE)
"""What differs in the folders of one VM over time: a number or a commit alone, a day, a time."""
_MOST_SHOWN: Final = 4
"""The most keys of one name and version, or of one name, that are shown."""
_NO_OBJECT: Final = re.compile(r"\s*|\s+PRE .+/|Total Objects: +\d+|\s*Total Size: .+", re.ASCII)
"""What else it prints."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the derivation of one import, or a line for each of several, and return 0; else what is wrong, and 1."""
    parser = argparse.ArgumentParser(prog="make derive")
    parser.add_argument("--key", default="", help="an S3 key, or a URL")
    parser.add_argument("--devices", default="", help="the disks of one import: /dev/sda1=KEY,/dev/sdb=KEY")
    parser.add_argument(
        "--keys", default="", help="a file of keys, URLs or lines of `aws s3 ls`: imports of one disk each"
    )
    parser.add_argument(
        "--formats", default="", help="key formats to try: releases/{name}/{version}/*.vmdk, {name}.ova"
    )
    parser.add_argument("--tags", default="", help="the import task's tags: Name=web,Version=1.4.2")
    parser.add_argument("--description", default="", help="the import task's description")
    given = parser.parse_args(arguments)
    sources = sum(map(bool, (given.key, given.devices, given.keys)))
    # An import of a snapshot has no key: then its tags and its description are all there is.
    if sources > 1 or not (sources or given.tags or given.description):
        parser.error("write one of KEY=exports/web-1.4.2.ova, DEVICES=/dev/sda1=KEY,/dev/sdb=KEY and KEYS=list.txt")
    console = Console(soft_wrap=True, highlight=False)
    try:
        tags = _pairs("TAGS", given.tags, "Name=web,Version=1.4.2")
        settings = _settings([text.strip() for text in given.formats.split(",") if text.strip()])
        if given.keys:
            keys = [*_keys(Path(given.keys))]
            derived = [_derive([_disk(key)], tags, given.description, settings) for key in keys]
            lines = (*_lines(keys, derived), *_counts(keys, settings), *_mixed(derived), *_twice(keys, derived))
            for line in (*lines, *_unused(derived)):
                console.print(visible(line), markup=False)
        else:
            devices = _pairs("DEVICES", given.devices, "/dev/sda1=web.vmdk,/dev/sdb=data.vmdk")
            of_import = [_disk(key, device) for device, key in devices.items()]
            of_import = of_import or [_disk(given.key) if given.key else Disk()]
            console.print(_table(_derive(of_import, tags, given.description, settings)))
    except OSError as error:
        console.print(visible(f"KEYS={given.keys} cannot be read: {error.strerror}."), markup=False)
        return 1
    except (ConfigurationError, RejectedError, ValueError) as error:
        for line in str(error).splitlines():
            console.print(visible(line), markup=False)
        return 1
    return 0


def _pairs(variable: str, text: str, example: str) -> dict[str, str]:
    """Return the pairs of `Name=web,Version=1.4.2`; raises ValueError for anything else."""
    # A comma that no `KEY=` follows is part of a value.
    pairs = [pair.partition("=") for pair in re.split(r",(?=[^,=]*=)", text) if pair.strip()]
    if wrong := [key for key, equals, _ in pairs if not (key.strip() and equals)]:
        message = f"{variable} has {', '.join(wrong)}: write it like '{example}'."
        raise ValueError(message)
    counts = Counter(key.strip() for key, _, _ in pairs)
    if twice := [key for key, count in counts.items() if count > 1]:
        message = f"{variable} has {', '.join(twice)} more than once: write each once."
        raise ValueError(message)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _keys(path: Path) -> Iterator[str]:
    """Yield the keys and URLs of a file: one in each line, or as `aws s3 ls` prints them. Folders are left out.

    Raises OSError, and ValueError for a file that is empty or not in UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        message = f"KEYS={path} is not UTF-8: save it as UTF-8."
        raise ValueError(message) from error
    if not any(map(str.strip, lines)):
        message = f"KEYS={path} has no key: write one key or URL in each line."
        raise ValueError(message)
    for line in lines:
        listed = _LISTED.fullmatch(line)
        if not _NO_OBJECT.fullmatch(line) and not (listed and line.endswith("/")):
            yield listed["key"] if listed else line


def _lines(keys: Sequence[str], derived: Sequence[Derivation]) -> Iterator[str]:
    """Yield a line for each key: name, version, where they come from, and the key."""
    rows = [("name", "version", "from", "key")]
    for key, derivation in zip(keys, derived, strict=True):
        sources = dict.fromkeys(derivation.sources[part] for part in ("name", "semanticVersion"))
        rows.append((derivation.request.name, _version(derivation), ", ".join(sources), key))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _counts(keys: Sequence[str], settings: Settings) -> Iterator[str]:
    """Yield how many keys each key format matches, and how many none does."""
    if settings.key_formats:
        matched = [formats.match(settings.key_formats, disks.segments(_disk(key))) for key in keys]
        counts = Counter(each.format if each else "" for each in matched)
        yield ""
        for text in (*settings.key_formats, ""):
            yield f"{counts[text]} of {len(keys)} keys: {text or 'no key format'}"


def _mixed(derived: Sequence[Derivation]) -> Iterator[str]:
    """Yield the names that get both versions and dates."""
    kinds: dict[str, set[bool]] = {}
    for derivation in derived:
        dated = _is_of_ami(derivation) or _DAY.fullmatch(derivation.request.semantic_version) is not None
        kinds.setdefault(names.arn_name(derivation.request.name), set()).add(dated)
    if mixed := sorted(name for name, found in kinds.items() if len(found) > 1):
        yield ""
        yield f"These names get both versions and dates, and a date is higher for ever: {', '.join(mixed)}"


def _twice(keys: Sequence[str], derived: Sequence[Derivation]) -> Iterator[str]:
    """Yield the stated versions of a name that several keys get, but for the disks and files of one VM.

    Yield the names that keys of different folders get without a version, but for those of one VM over time.
    """
    found: dict[str, dict[str, str]] = {}
    for key, derivation in zip(keys, derived, strict=True):
        name, version = names.arn_name(derivation.request.name), derivation.request.semantic_version
        path = [*map(disks.stem_of, disks.segments(_disk(key)))]
        if derivation.sources["semanticVersion"] == _NEXT_PATCH.source or _is_of_ami(derivation):
            heading = f"These keys of different folders get one name, {name}:"
            place = _MOMENT.sub("", "".join(f"{folder}/" for folder in path[:-1]))
        else:
            heading, place = f"These keys get one name and version, {name} {version}:", "/".join(path)
        found.setdefault(heading, {}).setdefault(place, key)
    for heading, of_one in sorted(found.items()):
        if len(of_one) > 1:
            shown, left = [*of_one.values()][:_MOST_SHOWN], len(of_one) - _MOST_SHOWN
            yield ""
            yield heading
            yield from (f"  {key}" for key in shown)
            if left > 0:
                yield f"  and {left} more"


def _unused(derived: Sequence[Derivation]) -> Iterator[str]:
    """Yield the tags that state nothing, as their keys are written in another case."""
    for text in sorted({text for derivation in derived for text in derivation.unused_tags}):
        yield ""
        yield text


def _disk(key: str, device: str | None = None) -> Disk:
    return Disk(url=key, device_name=device) if "://" in key else Disk("BUCKET", key, device_name=device)


def _settings(key_formats: Sequence[str]) -> Settings:
    """Return the configured settings, with these key formats, if any, in place of the configured ones."""
    tried = {"keyFormats": [*key_formats]} if key_formats else None
    configured = Configuration.from_context(*folder_contexts(_ROOT), tried).function_environment()
    return Settings.from_environment({**configured, "TABLE_NAME": "TABLE", "TOPIC_ARN": "TOPIC"})


def _derive(of_import: Sequence[Disk], tags: Mapping[str, str], description: str, settings: Settings) -> Derivation:
    task = ImportTask(_TASK_ID, description=description or None, disks=tuple(of_import), tags=tags)
    ami = Ami("ami-0123456789abcdef0", created=datetime.now(UTC))
    name, version = identify(task, ami, Overrides(), settings)
    return derive(task, ami, Overrides(), settings, Identity(name, version or _NEXT_PATCH), "TOKEN")


def _is_of_ami(derivation: Derivation) -> bool:
    """Return whether the version is the day or the time of the AMI."""
    return derivation.sources["semanticVersion"].endswith(" of the AMI")


def _version(derivation: Derivation) -> str:
    stated = derivation.sources["semanticVersion"] != _NEXT_PATCH.source
    return derivation.request.semantic_version if stated else "next patch"


def _table(derivation: Derivation) -> Table:
    table = Table("part", "value", "source")
    table.columns[1].overflow = "fold"
    parameters = derivation.request.parameters()
    for part, source in derivation.sources.items():
        # There is no AMI here that has one.
        value = "?" if source == "AMI" else str(parameters[part])  # type: ignore[literal-required]
        value = _version(derivation) if part == "semanticVersion" else value
        table.add_row(part, escape(visible(value)), escape(visible(source)))
    for key, value in derivation.request.tags.items():
        table.add_row("tag", escape(visible(f"{key}={value}")), "")
    for key in derivation.dropped_tags:
        table.add_row("tag left out", escape(visible(key)), "the API refuses it")
    for key, wanted in derivation.similar_tags.items():
        table.add_row("tag not used", escape(visible(key)), f"it is not {wanted}")
    return table


if __name__ == "__main__":
    sys.exit(main())
