"""Paths as the tools write them that export disks, and what the rules of docs/names.md make of each."""

import csv
from pathlib import Path
from typing import Final

import pytest

from vm_image_import.derive import disks, names
from vm_image_import.domain.models import Disk

with Path(__file__).with_name("exports.csv").open(encoding="utf-8", newline="") as file:
    EXPORTS: Final = list(csv.DictReader(file, strict=True))
"""`name` and `version` are empty where the path tells none; `rule` is the reason where an example needs one."""

PRODUCTS: Final = {
    # Hypervisors, and the tools around them.
    "VMware vSphere",
    "OVF Tool",
    "VMware Workstation",
    "VirtualBox",
    "Hyper-V",
    "Windows",
    "Azure",
    "Proxmox",
    "Nutanix",
    "KVM",
    "OpenStack",
    # What is made to be distributed, kept or rebuilt.
    "cloud image",
    "Packer",
    "appliance",
    "backup",
    "CI build",
    # Forms of paths that any of them can have.
    "S3 layout",
    "Unicode",
    "URL",
    "archive",
    "other extension",
    "generic stem",
    "date",
    "version",
    "name",
}


@pytest.mark.parametrize("export", [pytest.param(export, id=export["location"]) for export in EXPORTS])
def test_an_export_tells_name_and_version(export: dict[str, str]) -> None:
    """An export's path gives the name and the version that a person reading the rules expects, and no others."""
    location = export["location"]
    disk = Disk(url=location) if "://" in location else Disk(bucket="b", key=location)
    assert disks.read(disk) == (export["name"] or None, export["version"] or None)


@pytest.mark.parametrize("name", sorted({export["name"] for export in EXPORTS if export["name"]}))
def test_the_name_of_an_export_is_taken_as_it_is(name: str) -> None:
    """A name of 3 to 128 characters is the image's as it stands; a shorter one gives way to the next source."""
    assert names.normalise(name) == (name if len(name) >= 3 else None)
    assert len(name) <= 128


def test_the_corpus_covers_what_people_export() -> None:
    """Every product group has several exports, and no group is in the file under another spelling."""
    assert len(EXPORTS) >= 150
    groups = [export["product"] for export in EXPORTS]
    assert set(groups) == PRODUCTS
    assert min(map(groups.count, PRODUCTS)) >= 5
