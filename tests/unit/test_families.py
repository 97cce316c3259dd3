"""Releases of one image, as vendors and teams name the files."""

import csv
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from vm_image_import.derive import disks
from vm_image_import.domain.models import Disk

with Path(__file__).with_name("families.csv").open(encoding="utf-8", newline="") as file:
    FAMILIES: Final = list(csv.DictReader(file, strict=True))
"""In the form in which vendors name their files, not all with real build numbers; `files` in the order of releases."""


@pytest.mark.parametrize("family", [pytest.param(family, id=family["name"]) for family in FAMILIES])
def test_releases_are_versions_of_one_image(family: dict[str, str]) -> None:
    """Every release of an image has the same name and a higher version, so a recipe on `NAME/x.x.x` gets it."""
    told = [disks.read(Disk(bucket="b", key=key)) for key in family["files"].split(" ")]
    assert {name for name, _ in told} == {family["name"]}
    numbers = [tuple(map(int, (version or "").split("."))) for _, version in told]
    assert len(numbers) >= 2
    assert all(earlier < later for earlier, later in pairwise(numbers))


def test_there_are_many_families() -> None:
    """At least 40 families are tried, and none is listed twice."""
    assert len({family["name"] for family in FAMILIES}) == len(FAMILIES) >= 40
