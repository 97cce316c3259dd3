"""The version scheme `increment`, on the deployed template with the bundled artefact."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.aws import image_builder
from local.aws.local_aws import ACCOUNT, LocalAws
from tests.conftest import REGION
from tests.e2e.conftest import builds, lose_events, start_import


@pytest.fixture(scope="module")
def cloud(configured_assembly: Path) -> Iterator[LocalAws]:
    """Give a local AWS with the app deployed to it, configured with `increment`."""
    with LocalAws() as cloud:
        cloud.deploy(configured_assembly, f"VmImageImport-{REGION}")
        cloud.client("s3").create_bucket(Bucket="exports")
        yield cloud


def versions(cloud: LocalAws, name: str) -> list[str]:
    """Return the versions of an image, lowest first."""
    return sorted(image["version"] for image in builds(cloud, name))


def test_imports_of_one_name_get_one_version_each(cloud: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three imports of one name in one sweep get three versions, although Image Builder lists none of them yet."""
    for number in range(3):
        start_import(cloud, f"exports/{number}/disk.ova", Name="shared")
    lose_events(cloud)
    with monkeypatch.context() as lag:
        lag.setattr(image_builder.backends[ACCOUNT][REGION], "listed", lambda *_: [])
        cloud.sweep()
    assert versions(cloud, "shared") == ["1.0.0/1", "1.0.1/1", "1.0.2/1"]


def test_a_refused_import_gets_the_next_version_of_then(cloud: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that was refused, and registered when higher versions exist, gets a version above them."""
    task = start_import(cloud, "exports/first/disk.ova", Name="refused")
    lose_events(cloud)
    with monkeypatch.context() as refusal:
        refusal.setattr(image_builder.backends[ACCOUNT][REGION], "failure", lambda _: "Not now.")
        cloud.sweep()
    assert versions(cloud, "refused") == []
    cloud.client("imagebuilder").import_vm_image(
        name="refused", semanticVersion="3.0.0", platform="Linux", vmImportTaskId=task, clientToken="higher"
    )
    lose_events(cloud)
    cloud.sweep()
    assert versions(cloud, "refused") == ["3.0.0/1", "3.0.1/1"]
