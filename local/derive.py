"""`make derive`: what an import would become, by the function's own rules and this folder's configuration; no AWS.

The rules need an AMI and a task: here they are an AMI of this moment and a task that has what the command line says.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from infra.configuration import Configuration, ConfigurationError, folder_contexts

_ROOT: Final = Path(__file__).resolve().parent.parent
# `lambda` is a keyword: the folder is a source root, never a package.
sys.path.insert(0, str(_ROOT / "lambda"))

from vm_image_import.derive import Derivation, DerivedValue, Identity, derive, identify  # noqa: E402 - as said above
from vm_image_import.errors import RejectedError  # noqa: E402
from vm_image_import.models import (  # noqa: E402
    Ami,
    Disk,
    ImportTask,
    Overrides,
)
from vm_image_import.settings import Settings  # noqa: E402

_TASK_ID: Final = "import-ami-0123456789abcdef0"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the derivation of one import, or a line for each of several, and return 0; else what is wrong, and 1."""
    parser = argparse.ArgumentParser(prog="make derive")
    parser.add_argument("--key", default="", help="an S3 key, or a URL")
    parser.add_argument("--devices", default="", help="the disks of one import: /dev/sda1=KEY,/dev/sdb=KEY")
    parser.add_argument("--keys", default="", help="a file with one key or URL in each line: imports of one disk each")
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
        if given.keys:
            for line in _lines(Path(given.keys), tags, given.description):
                console.print(line, markup=False)
        else:
            devices = _pairs("DEVICES", given.devices, "/dev/sda1=web.vmdk,/dev/sdb=data.vmdk")
            disks = [_disk(key, device) for device, key in devices.items()] or [
                _disk(given.key) if given.key else Disk()
            ]
            console.print(_table(_derive(disks, tags, given.description)))
    except OSError as error:
        console.print(f"KEYS={given.keys} cannot be read: {error.strerror}.", markup=False)
        return 1
    except (ConfigurationError, RejectedError, ValueError) as error:
        console.print(str(error), markup=False)
        return 1
    return 0


def _pairs(variable: str, text: str, example: str) -> dict[str, str]:
    """Return the pairs of `Name=web,Version=1.4.2`; raises ValueError for anything else."""
    # A comma that no `KEY=` follows is part of a value.
    pairs = [pair.partition("=") for pair in re.split(r",(?=[^,=]*=)", text) if pair.strip()]
    if wrong := [key for key, equals, _ in pairs if not (key.strip() and equals)]:
        message = f"{variable} has {', '.join(wrong)}: write it like '{example}'."
        raise ValueError(message)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _lines(path: Path, tags: Mapping[str, str], description: str) -> Iterator[str]:
    """Yield a line for each key in the file: name, version, where they come from, and the key."""
    rows = [("name", "version", "from", "key")]
    for key in filter(None, path.read_text(encoding="utf-8").splitlines()):
        derivation = _derive([_disk(key)], tags, description)
        request, sources = derivation.request, derivation.sources
        rows.append((request.name, request.semantic_version, f"{sources['name']}, {sources['semanticVersion']}", key))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _disk(key: str, device: str | None = None) -> Disk:
    return Disk(url=key, device_name=device) if "://" in key else Disk("BUCKET", key, device_name=device)


@cache
def _settings() -> Settings:
    configured = Configuration.from_context(*folder_contexts(_ROOT)).function_environment()
    return Settings.from_environment({**configured, "TABLE_NAME": "TABLE", "TOPIC_ARN": "TOPIC"})


def _derive(disks: Sequence[Disk], tags: Mapping[str, str], description: str) -> Derivation:
    task = ImportTask(_TASK_ID, description=description or None, disks=tuple(disks), tags=tags)
    ami = Ami("ami-0123456789abcdef0", created=datetime.now(UTC))
    name, version = identify(task, ami, Overrides(), _settings())
    # Nothing is known of existing images here: `increment` shows the first version.
    identity = Identity(name, version or DerivedValue("1.0.0", "highest existing version"))
    return derive(task, ami, Overrides(), _settings(), identity, "TOKEN")


def _table(derivation: Derivation) -> Table:
    table = Table("part", "value", "source")
    table.columns[1].overflow = "fold"
    parameters = derivation.request.parameters()
    for part, source in derivation.sources.items():
        # There is no AMI here that could tell.
        value = "?" if source == "AMI" else str(parameters[part])  # type: ignore[literal-required]
        table.add_row(part, value, source)
    for key, value in derivation.request.tags.items():
        table.add_row("tag", f"{key}={value}", "")
    for key in derivation.dropped_tags:
        table.add_row("tag left out", key, "the API refuses it")
    return table


if __name__ == "__main__":
    sys.exit(main())
