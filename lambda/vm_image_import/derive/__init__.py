"""Derives the request from the import task, the AMI and what a person overrules: pure functions, no AWS.

Of several sources the first one that yields something wins. The same input gives the same request, so that a repeat is
recognised by its client token.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID, uuid5

from vm_image_import.derive import disks, names, tags, versions
from vm_image_import.errors import RejectedError
from vm_image_import.request import ImageRequest, Overrides, Platform
from vm_image_import.task import Ami, Disk, ImportTask

_MAX_DESCRIPTION: Final = 1024
"""The limit of the parameter `description` (API reference, `ImportVmImage`)."""

_AMI_DESCRIPTION: Final = re.compile(r"AWS-VMImport service: \w+ - (?P<release>.+?)(?: - \d\S*)?\s*")
"""What VM Import writes (observed output, for Linux; the kernel can be missing). Anything else gives no osVersion."""

_TOKENS: Final = UUID("62963441-6869-42d4-99c5-3445dc39de7c")
"""Any fixed namespace: another one would give every import a new token, and so a second image."""


class Sourced(NamedTuple):
    """A derived value and, for a person, where it comes from."""

    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Derivation:
    """The request, where its parts come from, and the keys of the tags that it could not take."""

    request: ImageRequest
    sources: dict[str, str]
    tags_left_out: tuple[str, ...]


def derive(task: ImportTask, ami: Ami, overrides: Overrides, client_token: str) -> Derivation:
    """Derive the request for `task`.

    Raises RejectedError, with every problem at once, when a name or a version that somebody stated cannot be used: it
    must not silently become another one.
    """
    if problems := list(_problems(task, overrides)):
        raise RejectedError(problems)
    from_path = disks.read(next(iter(task.disks), Disk()))
    name = _name(task, overrides, from_path.name)
    version = _version(task, ami, overrides, from_path.version)
    merged = tags.merge(task, ami, overrides.tags)
    request = ImageRequest(
        name=name.value,
        semantic_version=version.value,
        description=_description(task, overrides),
        platform=_platform(task, ami, overrides),
        os_version=_os_version(task, ami, overrides),
        tags=merged.tags,
        import_task_id=task.id,
        client_token=client_token,
    )
    return Derivation(request, {"name": name.source, "semanticVersion": version.source}, merged.left_out)


def client_token(account: str, region: str, import_task_id: str) -> str:
    """Return the token that makes every repeat of one import the same request: 36 characters, always the same."""
    return str(uuid5(_TOKENS, f"{account}/{region}/{import_task_id}"))


def _problems(task: ImportTask, overrides: Overrides) -> Iterable[str]:
    if overrides.name is not None and names.normalise(overrides.name) is None:
        yield f"name '{overrides.name}' leaves fewer than 3 characters of A-Z a-z 0-9 - _: write a longer one."
    where, version = "semanticVersion", overrides.semantic_version
    if version is None:
        where, version = "The import task's tag Version", task.tags.get("Version")
    if version is not None and versions.parse(version) is None:
        yield f"{where} '{version}' is no version: write it like {versions.FORMS}."


def _name(task: ImportTask, overrides: Overrides, from_path: str | None) -> Sourced:
    candidates = (
        Sourced(overrides.name or "", "payload"),
        Sourced(task.tags.get("Name", ""), "tag Name"),
        Sourced(from_path or "", "file name"),
        Sourced(task.description or "", "task description"),
    )
    for text, source in candidates:
        if name := names.normalise(text):
            return Sourced(name, source)
    return Sourced(task.id, "task id")


def _version(task: ImportTask, ami: Ami, overrides: Overrides, from_path: str | None) -> Sourced:
    candidates = (
        Sourced(overrides.semantic_version or "", "payload"),
        Sourced(task.tags.get("Version", ""), "tag Version"),
        Sourced(from_path or "", "file name"),
    )
    for text, source in candidates:
        if version := versions.parse(text):
            return Sourced(version, source)
    return Sourced(versions.of_day(ami.created), "AMI's creation day")


def _description(task: ImportTask, overrides: Overrides) -> str:
    origin = next((f" from {disk.source}" for disk in task.disks if disk.source), "")
    text = overrides.description or task.description or f"Imported{origin} by {task.id}"
    return text[:_MAX_DESCRIPTION]


def _platform(task: ImportTask, ami: Ami, overrides: Overrides) -> Platform:
    if overrides.platform:
        return overrides.platform
    told = (task.platform or "").lower()
    if told not in {"windows", "linux"}:
        told = (ami.platform or "").lower()
    return "Windows" if told == "windows" else "Linux"


def _os_version(task: ImportTask, ami: Ami, overrides: Overrides) -> str | None:
    match = _AMI_DESCRIPTION.fullmatch(ami.description or "")
    return overrides.os_version or task.tags.get("OsVersion") or (match["release"] if match else None)
