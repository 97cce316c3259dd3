"""The whole derivation, with the versions that Image Builder would list."""

from collections.abc import Iterable

from tests.unit.fakes import InMemoryAws
from vm_image_import.derive import Derivation, DerivedValue, Identity, identify
from vm_image_import.derive import derive as derive_request
from vm_image_import.idempotency.records import RegistrationId
from vm_image_import.models import Ami, ImportTask, Overrides
from vm_image_import.settings import Settings
from vm_image_import.version_claims import VersionClaims


def derive(
    task: ImportTask, ami: Ami, overrides: Overrides, settings: Settings, *, existing: Iterable[str] = (), token: str
) -> Derivation:
    """Return the derivation where these versions of the image exist. Raises RejectedError."""
    name, version = identify(task, ami, overrides, settings)
    if version is None:
        aws = InMemoryAws(versions=tuple(existing))
        claimed = VersionClaims(aws.clients(), aws.invocation()).claim(RegistrationId(task.id), name.value)
        version = DerivedValue(claimed, "highest existing version")
    return derive_request(task, ami, overrides, settings, Identity(name, version), token)
