"""The whole derivation, with the versions that Image Builder would list."""

from collections.abc import Iterable

from tests.unit.fakes import ENVIRONMENT, InMemoryAws, version_arn
from vm_image_import.builds import Builds
from vm_image_import.derive import NEXT_PATCH, Derivation, DerivedValue, Identity, identify
from vm_image_import.derive import derive as derive_request
from vm_image_import.domain.models import Ami, Build, ImportTask, Overrides
from vm_image_import.records.registration import RegistrationId
from vm_image_import.records.version_claims import VersionClaims
from vm_image_import.settings import Settings


def derive(
    task: ImportTask, ami: Ami, overrides: Overrides, settings: Settings, *, existing: Iterable[str] = (), token: str
) -> Derivation:
    """Return the derivation where these versions of the image exist. Raises RejectedError."""
    name, version = identify(task, ami, overrides, settings)
    if version is None:
        listed = [Build(version_arn(each), "AVAILABLE", is_import=False) for each in existing]
        builds = Builds(listed, ENVIRONMENT.account)
        claims = VersionClaims(InMemoryAws().clients().store, RegistrationId(task.id), name.value)
        version = DerivedValue(claims.claim(builds.highest_version("web-server")), NEXT_PATCH)
    return derive_request(task, ami, overrides, settings, Identity(name, version), token)
