"""`make derive`: what an import would become, by the function's own rules and this folder's configuration; no AWS.

The rules need an AMI and a task: here they are an AMI of this moment and a task that has what the command line says.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from infra.configuration import CONTEXT_KEY, Configuration

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
    """Print the derivation and return 0, or what is wrong with it and return 1."""
    parser = argparse.ArgumentParser(prog="make derive")
    parser.add_argument("--key", required=True, help="an S3 key, or a URL")
    parser.add_argument("--tags", default="", help="the import task's tags: Name=web,Version=1.4.2")
    parser.add_argument("--description", help="the import task's description")
    given = parser.parse_args(arguments)
    if not given.key:
        parser.error("KEY is empty: write make derive KEY=exports/web-server-1.4.2.ova")
    console = Console(soft_wrap=True)
    try:
        derivation = _derive(given.key, _tags(given.tags), given.description)
    except (RejectedError, ValueError) as error:
        console.print(str(error), markup=False)
        return 1
    console.print(_table(derivation))
    return 0


def _tags(text: str) -> dict[str, str]:
    """Return the tags of `Name=web,Version=1.4.2`; raises ValueError for anything else."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    if wrong := [key for key, equals, _ in pairs if not (key and equals)]:
        message = f"TAGS has {', '.join(wrong)}: write it like 'Name=web,Version=1.4.2'."
        raise ValueError(message)
    return {key: value for key, _, value in pairs}


def _derive(key: str, tags: Mapping[str, str], description: str | None) -> Derivation:
    context = json.loads((_ROOT / "cdk.json").read_text(encoding="utf-8"))["context"].get(CONTEXT_KEY)
    configured = Configuration.from_context(context).function_environment()
    settings = Settings.from_environment({**configured, "TABLE_NAME": "TABLE", "TOPIC_ARN": "TOPIC"})
    disk = Disk(url=key) if "://" in key else Disk(bucket="BUCKET", key=key)
    task = ImportTask(_TASK_ID, description=description or None, disks=(disk,), tags=tags)
    ami = Ami("ami-0123456789abcdef0", created=datetime.now(UTC))
    name, version = identify(task, ami, Overrides(), settings)
    # Nothing is known of existing images here: `increment` shows the first version.
    identity = Identity(name, version or DerivedValue("1.0.0", "highest existing version"))
    return derive(task, ami, Overrides(), settings, identity, "TOKEN")


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
