"""What is measured: artefacts, unpacked as Lambda has them."""

import os
import shutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from infra import bundle

_DATE_IN_ZIP: Final = 315532800
"""1980-01-01, which the CDK gives every file of an asset."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One artefact: its folder and handler."""

    name: str
    folder: Path
    handler: str


def build(folder: Path, python: str) -> list[Variant]:
    """Build all variants, those that are no product in an empty `folder`, with the bytecode of `python`."""
    shipped, _ = bundle.build()
    naive, stale = folder / "naive", folder / "stale"
    bundle.install(naive)
    for package in ("boto3", "s3transfer"):
        (folder_of_package,) = import_module(package).__path__
        # Its bytecode is that of the tools: perhaps of another Python, and checked by date.
        shutil.copytree(folder_of_package, naive / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).with_name("naive.py"), naive)
    shutil.copytree(naive, stale)
    bundle.compile_all(naive, naive, python)
    # As pip does it: checked by date. In the zip, every date is another one.
    bundle.compile_all(stale, stale, python, checked="timestamp")
    for path in stale.rglob("*.py"):
        os.utime(path, (_DATE_IN_ZIP, _DATE_IN_ZIP))
    return [
        Variant("shipped", shipped, "vm_image_import.handler.handler"),
        Variant("naive", naive, "naive.handler"),
        Variant("stale", stale, "naive.handler"),
    ]
