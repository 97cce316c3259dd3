"""The whole derivation, with the versions that Image Builder would list."""

from collections.abc import Iterable

from vm_image_import.derive import Derivation, DerivedValue, Identity, identify, versions
from vm_image_import.derive import derive as derive_request
from vm_image_import.models import Ami, ImportTask, Overrides
from vm_image_import.settings import Settings


def derive(
    task: ImportTask, ami: Ami, overrides: Overrides, settings: Settings, *, existing: Iterable[str] = (), token: str
) -> Derivation:
    """Return the derivation where these versions of the image exist."""
    name, version = identify(task, ami, overrides, settings)
    if version is None:
        version = DerivedValue(versions.after(existing) or "", "highest existing version")
    return derive_request(task, ami, overrides, settings, Identity(name, version), token)
