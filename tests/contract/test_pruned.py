"""The pruned botocore of the bundle, compared with the full one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from infra import bundle
from infra.operations import OPERATIONS
from tests.contract import botocore_report

pytestmark = pytest.mark.acceptance

Report = dict[str, Any]


def ask(packages: Path) -> Report:
    """Return the answers of the botocore in a folder, with only the standard library beside it."""
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
        [sys.executable, "-I", "-S", botocore_report.__file__, str(packages)],
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
    """Give the answers of the bundle's botocore."""
    folder, _ = bundle.build()
    return ask(folder)


@pytest.fixture(scope="module")
def full() -> Report:
    """Give the answers of the installed botocore: both locks pin the same version."""
    return ask(Path(botocore.__file__).parent.parent)


def test_every_operation_is_compared() -> None:
    """Every operation of the function is compared."""
    asked = {(service, operation) for service, operations in OPERATIONS.items() for operation in operations}
    assert set(botocore_report.EXAMPLES) == asked


@pytest.mark.parametrize("part", ["shapes", "answered", "refused", "failed"])
def test_an_operation_is_the_same(pruned: Report, full: Report, part: str) -> None:
    """An operation of the pruned botocore has the same shapes, requests, answers, validation errors and retries."""
    for service, operations in OPERATIONS.items():
        for operation in operations:
            assert pruned[f"{service}:{operation}"][part] == full[f"{service}:{operation}"][part], operation
            assert pruned[f"{service}:{operation}"][part]


def test_a_service_is_the_same(pruned: Report, full: Report) -> None:
    """A service of the pruned botocore has the same protocol, signature and paginators."""
    for service in OPERATIONS:
        assert pruned[service] == full[service]


def test_every_endpoint_is_the_same(pruned: Report, full: Report) -> None:
    """Every endpoint is the same in every Region of every partition, with FIPS and with dual stack."""
    assert pruned["endpoints"] == full["endpoints"]
    assert len({region for _, region, _ in map(json.loads, full["endpoints"])}) > 30


def test_the_bundle_has_the_listed_operations_only(pruned: Report) -> None:
    """The bundle's botocore has exactly the operations of infra/operations.py."""
    assert pruned["known"] == {service: sorted(names) for service, names in OPERATIONS.items()}
