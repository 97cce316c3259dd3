"""botocore in the bundle does what botocore does: the same questions put to the pruned package and to the full one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from infra import bundle
from infra.operations import OPERATIONS
from tests.contract import asked_of_botocore

Report = dict[str, Any]


def ask(packages: Path) -> Report:
    """Return the answers of the botocore in a folder, with nothing else on the path but the standard library."""
    session = botocore.session.get_session()
    question = {
        "operations": {service: sorted(names) for service, names in OPERATIONS.items()},
        "regions": [
            region
            for partition in session.get_available_partitions()
            # EC2 is in all of them.
            for region in session.get_available_regions("ec2", partition, allow_non_regional=True)
        ],
    }
    run = subprocess.run(
        [sys.executable, "-I", "-S", asked_of_botocore.__file__, str(packages)],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=True,
    )
    report: Report = json.loads(run.stdout)
    assert report.pop("from") == str(packages)
    return report


@pytest.fixture(scope="module")
def pruned() -> Report:
    """Give what the bundle's botocore does."""
    folder, _ = bundle.build()
    return ask(folder)


@pytest.fixture(scope="module")
def full() -> Report:
    """Give what botocore does as it is installed here: both locks pin the same."""
    return ask(Path(botocore.__file__).parent.parent)


def test_every_operation_is_asked_about() -> None:
    """Who adds an operation says here what is asked, and what the answer is."""
    asked = {(service, operation) for service, operations in OPERATIONS.items() for operation in operations}
    assert set(asked_of_botocore.ASKED) == asked


@pytest.mark.parametrize("part", ["shapes", "answered", "refused", "failed"])
def test_an_operation_is_the_same(pruned: Report, full: Report, part: str) -> None:
    """Its whole model; requests and answers; what is refused before it is sent; errors, and how often it is tried."""
    for service, operations in OPERATIONS.items():
        for operation in operations:
            assert pruned[f"{service}:{operation}"][part] == full[f"{service}:{operation}"][part], operation
            assert pruned[f"{service}:{operation}"][part]


def test_a_service_is_the_same(pruned: Report, full: Report) -> None:
    """Its protocol and signature, and whether its lists have pages."""
    for service in OPERATIONS:
        assert pruned[service] == full[service]


def test_every_endpoint_is_the_same(pruned: Report, full: Report) -> None:
    """In every Region of every partition, with FIPS, with IPv6, and how it is signed for."""
    assert pruned["endpoints"] == full["endpoints"]
    assert len({region for _, region, _ in map(json.loads, full["endpoints"])}) > 30


def test_the_bundle_knows_the_operations_of_the_list_and_no_others(pruned: Report) -> None:
    """What the function does not use is not there; what IAM's tests hold against the role is this list, too."""
    assert pruned["known"] == {service: sorted(names) for service, names in OPERATIONS.items()}
