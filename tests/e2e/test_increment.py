"""The version scheme `increment`, with the deployed template and the bundled artefact."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.aws import image_builder
from local.aws.local_aws import ACCOUNT, LocalAws
from tests.conftest import REGION
from tests.e2e.conftest import builds, finish_imports_without_events, start_import

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def aws(configured_assembly: Path) -> Iterator[LocalAws]:
    """Give a local AWS with the app deployed to it, configured with `increment`."""
    with LocalAws() as aws:
        aws.deploy(configured_assembly, f"VmImageImport-{REGION}")
        yield aws


def versions(aws: LocalAws, name: str) -> list[str]:
    """Return the versions of an image, lowest first."""
    return sorted(image["version"] for image in builds(aws, name))


def test_imports_of_one_name_get_one_version_each(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three imports of one name in one sweep get three versions, although Image Builder lists none of them yet."""
    for number in range(3):
        start_import(aws, f"exports/{number}/disk.ova", Name="shared")
    finish_imports_without_events(aws)
    with monkeypatch.context() as patch:
        patch.setattr(image_builder.backends[ACCOUNT][REGION], "builds", lambda *_: [])
        aws.fire_schedules()
    assert versions(aws, "shared") == ["1.0.0/1", "1.0.1/1", "1.0.2/1"]
