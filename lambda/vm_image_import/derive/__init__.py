"""Derives the request from the import task, the AMI and what a person overrules: pure functions, no AWS.

Of several sources the first one that yields something wins. The same input gives the same request, so that a repeat is
recognised by its client token.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID, uuid5

from vm_image_import.derive import disks, names, tags, versions
from vm_image_import.errors import RejectedError
from vm_image_import.models import Ami, ImageRequest, ImportTask, Overrides, Platform
from vm_image_import.settings import Settings

_MAX_DESCRIPTION: Final = 1024
"""The limit of the parameter `description` (API reference, `ImportVmImage`)."""

_AMI_DESCRIPTION: Final = re.compile(r"AWS-VMImport service: \w+ - (?P<release>.+?)(?: - \d\S*)?\s*")
"""What VM Import writes (observed output, for Linux; the kernel can be missing). Anything else gives no osVersion."""

_PLATFORMS: Final[dict[str, Platform]] = {"windows": "Windows", "linux": "Linux", "macos": "macOS"}

_TOKENS: Final = UUID("62963441-6869-42d4-99c5-3445dc39de7c")
"""Any fixed namespace: another one would give every import a new token, and so a second image."""

NextVersion = Callable[[str], str]
"""Returns the semantic version after all those of the images with a name. Asked only where `increment` decides."""


class DerivedValue(NamedTuple):
    """A derived value and, for a person, where it comes from."""

    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Derivation:
    """The request, where each of its parts comes from, and the keys of the tags that it could not take."""

    request: ImageRequest
    sources: dict[str, str]
    dropped_tags: tuple[str, ...]


def derive(
    task: ImportTask, ami: Ami, overrides: Overrides, settings: Settings, *, token: str, next_version: NextVersion
) -> Derivation:
    """Derive the request for `task`, to be sent with the client token `token`.

    Raises RejectedError, with every problem at once, when a name or a version that somebody stated cannot be used: it
    must not silently become another one.
    """
    if problems := list(_problems(task, overrides, settings)):
        raise RejectedError(problems)
    from_path = disks.read(task.boot_disk, ami.created)
    name = _name(task, overrides, settings, from_path.name)
    version = _version(task, overrides, settings, from_path.version) or _by_scheme(
        settings, ami, lambda: next_version(name.value)
    )
    platform = _platform(task, ami, overrides)
    os_version = _os_version(task, ami, overrides, settings)
    description = _description(task, overrides)
    merged = tags.merge(task, ami, overrides.tags, settings)
    request = ImageRequest(
        name=name.value,
        semantic_version=version.value,
        description=description.value,
        platform=_PLATFORMS[platform.value.lower()],
        os_version=os_version.value if os_version else None,
        tags=merged.tags,
        import_task_id=task.id,
        client_token=token,
        log_group=settings.image_log_group or None,
    )
    parts = {
        "name": name,
        "semanticVersion": version,
        "platform": platform,
        "osVersion": os_version,
        "description": description,
    }
    return Derivation(request, {key: part.source for key, part in parts.items() if part}, merged.dropped)


def client_token(account: str, region: str, registration: str) -> str:
    """Return the token that makes every repeat of one registration the same request: 36 characters, always the same.

    `registration` is the import task's id, with a number where the import is registered once more.
    """
    return str(uuid5(_TOKENS, f"{account}/{region}/{registration}"))


def _problems(task: ImportTask, overrides: Overrides, settings: Settings) -> Iterator[str]:
    where, name = "name", overrides.name
    if name is None:
        where, name = f"The import task's tag {settings.name_tag}", task.tags.get(settings.name_tag)
    if name is not None and names.normalise(name) is None:
        yield f"{where} '{name}' leaves fewer than 3 characters of A-Z a-z 0-9 - _: write a longer one."
    where, version = "semanticVersion", overrides.semantic_version
    if version is None:
        where, version = f"The import task's tag {settings.version_tag}", task.tags.get(settings.version_tag)
    if version is not None and versions.parse(version) is None:
        yield f"{where} '{version}' is no version: write it like {versions.FORMS}."


def _name(task: ImportTask, overrides: Overrides, settings: Settings, from_path: str | None) -> DerivedValue:
    candidates = (
        (overrides.name, "payload"),
        (task.tags.get(settings.name_tag), f"tag {settings.name_tag}"),
        (from_path, "file name"),
        (task.description, "task description"),
    )
    for text, source in candidates:
        if name := names.normalise(text or ""):
            return DerivedValue(name, source)
    return DerivedValue(task.id, "task id")


def _version(task: ImportTask, overrides: Overrides, settings: Settings, from_path: str | None) -> DerivedValue | None:
    candidates = (
        (overrides.semantic_version, "payload"),
        (task.tags.get(settings.version_tag), f"tag {settings.version_tag}"),
        (from_path, "file name"),
    )
    for text, source in candidates:
        if version := versions.parse(text or ""):
            return DerivedValue(version, source)
    return None


def _by_scheme(settings: Settings, ami: Ami, next_version: Callable[[], str]) -> DerivedValue:
    if settings.version_scheme == "date":
        return DerivedValue(versions.of_day(ami.created), "AMI's creation day")
    if settings.version_scheme == "timestamp":
        return DerivedValue(versions.of_second(ami.created), "AMI's creation time")
    return DerivedValue(next_version(), "highest existing version")


def _platform(task: ImportTask, ami: Ami, overrides: Overrides) -> DerivedValue:
    candidates = ((overrides.platform, "payload"), (task.platform, "task"), (ami.platform, "AMI"))
    for text, source in candidates:
        if text and text.lower() in _PLATFORMS:
            return DerivedValue(_PLATFORMS[text.lower()], source)
    return DerivedValue("Linux", "AMI")


def _os_version(task: ImportTask, ami: Ami, overrides: Overrides, settings: Settings) -> DerivedValue | None:
    match = _AMI_DESCRIPTION.fullmatch(ami.description or "")
    candidates = (
        (overrides.os_version, "payload"),
        (task.tags.get(settings.os_version_tag), f"tag {settings.os_version_tag}"),
        (match["release"] if match else None, "AMI description"),
    )
    return next((DerivedValue(text.strip(), source) for text, source in candidates if text and text.strip()), None)


def _description(task: ImportTask, overrides: Overrides) -> DerivedValue:
    origin = f" from {task.boot_disk.source}" if task.boot_disk.source else ""
    candidates = (
        (overrides.description, "payload"),
        (task.description, "task description"),
        (f"Imported{origin} by {task.id}", "import"),
    )
    return next(DerivedValue(text[:_MAX_DESCRIPTION], source) for text, source in candidates if text and text.strip())
