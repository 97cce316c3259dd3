"""Two deployments of this app in one account and Region."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.aws.local_aws import LocalAws
from tests.conftest import REGION
from tests.e2e.conftest import builds, finish_imports, finish_imports_without_events, start_import

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def aws(assembly: Path, configured_assembly: Path) -> Iterator[LocalAws]:
    """Give a local AWS with two deployments, which give versions by different schemes."""
    with LocalAws() as aws:
        aws.deploy(assembly, "VmImageImport")
        aws.deploy(configured_assembly, f"VmImageImport-{REGION}")
        yield aws


def test_two_deployments_make_one_image(aws: LocalAws) -> None:
    """Two deployments in one Region make one image of each import, whether its events arrive or not."""
    for name, finish in (("both", finish_imports), ("both-swept", finish_imports_without_events)):
        task = start_import(aws, f"exports/{name}.ova")
        finish(aws)
        for _ in range(3):
            aws.fire_schedules()
            finish_imports(aws)
        (image,) = builds(aws, name)
        assert image["state"]["status"] == "AVAILABLE"
        assert image["tags"]["vm-image-import:task-id"] == task
