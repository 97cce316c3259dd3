"""Releases of one image, as vendors and teams name the files."""

import csv
import json
from collections import defaultdict
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from vm_image_import.derive import disks, names
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


PRODUCTS: Final[list[dict[str, Any]]] = json.loads(
    Path(__file__).with_name("families_2.json").read_text(encoding="utf-8")
)
"""Releases of public products in their order, with their `source`; also of those that change the form."""
VERSIONS_AND_DATES: Final = {"PMM server"}
"""Its first release has a day and the next one a version, which `make derive` marks."""
SAME: Final = {"dated in front", "Ubuntu images of osism (added after the answers were seen)"}
"""Both have Ubuntu 24.04."""
LEAST_RISING: Final = 0.7


def told(product: dict[str, Any]) -> list[tuple[str, tuple[int, ...] | None]]:
    """Return the names, as Image Builder compares them, and the numbers of a product's releases; None is a date."""
    found = []
    for key in product["keys"]:
        name, version = disks.read(Disk(url=key) if "://" in key else Disk(bucket="b", key=key))
        found.append((names.arn_name(name or ""), tuple(map(int, version.split("."))) if version else None))
    return found


def is_rising(releases: list[tuple[str, tuple[int, ...] | None]]) -> bool:
    """Return whether all releases have one name, and each a higher version than the one before it."""
    versions = [version for _, version in releases if version]
    one_name = len({name for name, _ in releases}) == 1
    return one_name and len(versions) == len(releases) and all(one < next_ for one, next_ in pairwise(versions))


def test_most_products_keep_one_name(capsys: pytest.CaptureFixture[str]) -> None:
    """At least 70 % of the products have one name and rising versions."""
    share = sum(is_rising(told(product)) for product in PRODUCTS) / len(PRODUCTS)
    with capsys.disabled():
        print(f"\n{share:.1%} of {len(PRODUCTS)} products keep one name with rising versions")  # noqa: T201 as above
    assert share >= LEAST_RISING


@pytest.mark.parametrize(
    "product",
    [
        pytest.param(product, id=product["product"])
        for product in PRODUCTS
        if product["product"] not in VERSIONS_AND_DATES
    ],
)
def test_no_release_is_lower_than_an_earlier_one(product: dict[str, Any]) -> None:
    """Under one name a later release is never lower, and never has a version where an earlier one has a date."""
    releases = defaultdict(list)
    for name, version in told(product):
        releases[name].append(version)
    for versions in releases.values():
        stated = [version for version in versions if version]
        assert len(stated) in {0, len(versions)}
        assert stated == sorted(stated)


def test_no_two_products_share_a_name() -> None:
    """Different products never become versions of one image."""
    by_product = {product["product"]: {name for name, _ in told(product)} for product in PRODUCTS}
    for one, other in combinations(by_product, 2):
        assert {one, other} == SAME or not by_product[one] & by_product[other], (one, other)
