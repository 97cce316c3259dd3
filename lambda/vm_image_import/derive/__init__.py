"""Derives the request from the import task, the AMI and the payload's overrides: pure functions, no AWS.

Of several sources the first one that yields something wins. The same input gives the same request, so that Image
Builder recognises a retry by its client token.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID, uuid5

from vm_image_import.derive import disks, formats, names, tags, versions
from vm_image_import.domain.errors import RejectedError
from vm_image_import.domain.models import Ami, AwsEnvironment, Disk, ImageRequest, ImportTask, Overrides, Platform
from vm_image_import.domain.text import quote
from vm_image_import.settings import Settings

_MAX_DESCRIPTION: Final = 1024
"""The limit of the parameter `description` (API reference, `ImportVmImage`)."""

_AMI_DESCRIPTION: Final = re.compile(r"AWS-VMImport service: \w+ - (?P<release>.+?)(?: - \d\S*)?\s*")
"""What VM Import writes (observed output, for Linux; the kernel can be missing). Anything else gives no osVersion."""

_PLATFORMS: Final[dict[str, Platform]] = {"windows": "Windows", "linux": "Linux", "macos": "macOS"}

NEXT_PATCH: Final = "next patch of the name"
"""The source of a version that the scheme `increment` decides."""

_TOKENS: Final = UUID("62963441-6869-42d4-99c5-3445dc39de7c")
"""Any fixed namespace. Another one would give every import a new token, and so a second image."""


class DerivedValue(NamedTuple):
    """A derived value, and where it comes from."""

    value: str
    source: str


class Identity(NamedTuple):
    """The name of an image, and its semantic version."""

    name: DerivedValue
    version: DerivedValue


class Derivation(NamedTuple):
    """The request, where each part of it comes from, and what of the task's tags is not in it."""

    request: ImageRequest
    sources: dict[str, str]
    """The source of each part of the request, by the parameter's name."""
    dropped_tags: tuple[str, ...]
    """The keys of the tags that the API refuses."""
    similar_tags: Mapping[str, str] = {}
    """The keys of tags that state no part, as they differ in case from the key that would; with that key."""
    stated_tags: tuple[str, ...] = ()
    """Those of `dropped_tags` that the payload or the configuration states."""

    @property
    def unused_tags(self) -> list[str]:
        """What is to be said of `similar_tags` and `stated_tags`."""
        unused = [
            f"The tag {quote(key)} is not {wanted}: it states nothing." for key, wanted in self.similar_tags.items()
        ]
        keys = ", ".join(self.stated_tags)
        left_out = f"An image has at most {tags.MAX_TAGS} tags. These stated ones are left out: {keys}."
        return [*unused, left_out] if keys else unused


def identify(
    task: ImportTask, ami: Ami, overrides: Overrides, settings: Settings
) -> tuple[DerivedValue, DerivedValue | None]:
    """Return the name of the image of `task`, and its semantic version: None where the scheme `increment` decides it.

    Raises RejectedError, with every problem at once, when a stated name or version cannot be used: it never silently
    becomes another one.
    """
    if problems := dict(find_problems(task, overrides, settings, ami.created)):
        raise RejectedError(problems)
    from_key = _from_key(task, ami.created, settings)
    name = _name(task, overrides, settings, from_key.name)
    return name, _version(task, overrides, settings, from_key.version) or _by_scheme(settings, ami)


def derive(
    task: ImportTask, ami: Ami, overrides: Overrides, settings: Settings, identity: Identity, client_token: str
) -> Derivation:
    """Derive the request for `task`, once name and version are known."""
    platform = _platform(task, ami, overrides)
    os_version = _os_version(task, ami, overrides, settings)
    description = _description(task, overrides)
    stated = stated_name(task, overrides, settings, identity.name)
    merged = tags.merge(task, ami, overrides.tags, settings, stated if stated != identity.name.value else None)
    request = ImageRequest(
        name=identity.name.value,
        semantic_version=identity.version.value,
        description=description.value,
        platform=_PLATFORMS[platform.value.lower()],
        os_version=os_version.value if os_version else None,
        tags=merged.tags,
        import_task_id=task.id,
        client_token=client_token,
        log_group=settings.image_log_group or None,
    )
    parts = {
        "name": identity.name,
        "semanticVersion": identity.version,
        "platform": platform,
        "osVersion": os_version,
        "description": description,
    }
    sources = {key: part.source for key, part in parts.items() if part}
    stated_tags = tuple(key for key in merged.dropped if key in {*overrides.tags, *settings.tags})
    return Derivation(request, sources, merged.dropped, _similar_tags(task, sources, settings), stated_tags)


def stated_name(task: ImportTask, overrides: Overrides, settings: Settings, name: DerivedValue) -> str:
    """Return the text of the payload or the tag that `name` is made of; the name itself where it has another source."""
    stated = {"payload": overrides.name, f"tag {settings.name_tag}": task.tags.get(settings.name_tag)}
    return stated.get(name.source) or name.value


def make_client_token(environment: AwsEnvironment, registration_id: str) -> str:
    """Return the client token of a registration: 36 characters, the same for every retry."""
    return str(uuid5(_TOKENS, f"{environment.account}/{environment.region}/{registration_id}"))


def find_problems(
    task: ImportTask, overrides: Overrides, settings: Settings, created: datetime | None
) -> Iterator[tuple[str, str]]:
    """Yield what is stated wrongly or not allowed, and the text that says so. The AMI was `created` then."""
    if settings.names_from == "tags":
        yield from _find_unstated(task, overrides, settings)
    where, name = "name", overrides.name
    if name is None:
        where, name = f"tag {settings.name_tag}", task.tags.get(settings.name_tag)
    if name is not None and names.normalise(name) is None:
        text = "leaves fewer than 3 characters of A-Z a-z 0-9 - _: write a longer one."
        yield where, f"{_place(where)} {quote(name)} {text}"
    else:
        yield from _find_forbidden(_name(task, overrides, settings, _from_key(task, created, settings).name), settings)
    where, version = "semanticVersion", overrides.semantic_version
    if version is None:
        where, version = f"tag {settings.version_tag}", task.tags.get(settings.version_tag)
    if version is not None and versions.parse(version) is None:
        yield where, f"{_place(where)} {quote(version)} is no version: write it like {versions.FORMS}."


def _find_unstated(task: ImportTask, overrides: Overrides, settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield what no tag of the task states, and the tags that a condition of IAM would take for those that state it.

    IAM compares the keys of tags without their case (user guide, "Controlling access to AWS resources using tags").
    """
    ours = {*settings.directive_tags, *settings.only_tasks_tagged}
    folded = {key.casefold() for key in ours}
    if similar := [quote(key) for key in sorted(task.tags) if key not in ours and key.casefold() in folded]:
        text = f"The import task has {', '.join(similar)}: keys that differ from configured ones in their case only."
        yield "tags in another case", f"{text} Remove these tags."
    for key, stated in (("name", overrides.name), ("semanticVersion", overrides.semantic_version)):
        if stated is not None:
            yield key, f"{key} of the payload cannot be used, as namesFrom is tags: tag the import task."
    for key in (settings.name_tag, settings.version_tag):
        if key not in task.tags:
            yield f"tag {key}", f"The import task has no tag {key}, and namesFrom is tags: add it."


def _find_forbidden(name: DerivedValue, settings: Settings) -> Iterator[tuple[str, str]]:
    arn_name = names.arn_name(name.value)
    if not names.is_allowed(arn_name, settings.allowed_names):
        text = f"matches none of allowedNames, {', '.join(settings.allowed_names)}: state a name that does."
        yield "allowedNames", f"The name {quote(arn_name)} (from {name.source}) {text}"


def _place(where: str) -> str:
    return f"The import task's {where}" if where.startswith("tag ") else where


class _FromKey(NamedTuple):
    """What the key or URL of the boot disk states."""

    name: DerivedValue | None
    version: DerivedValue | None


def _from_key(task: ImportTask, created: datetime | None, settings: Settings) -> _FromKey:
    """Return what the boot disk's key states: by the first key format that matches, and by the rules of file names."""
    read = disks.read(task.boot_disk, created)
    alone = disks.read(Disk(key=disks.file_name(task.boot_disk)), created)
    name = DerivedValue(read.name, "file name" if read.name == alone.name else "folder") if read.name else None
    source = "file name" if read.version == alone.version else "folder"
    version = DerivedValue(read.version, source) if read.version else None
    if matched := formats.match(settings.key_formats, disks.segments(task.boot_disk)):
        source = f"key format {matched.format}"
        name = DerivedValue(matched.name, source)
        version = DerivedValue(matched.version, source) if matched.version else version
    return _FromKey(name, version)


def _name(task: ImportTask, overrides: Overrides, settings: Settings, from_key: DerivedValue | None) -> DerivedValue:
    candidates = (
        (overrides.name, "payload"),
        (task.tags.get(settings.name_tag), f"tag {settings.name_tag}"),
        from_key or (None, ""),
        (task.description, "task description"),
    )
    for text, source in candidates:
        if name := names.normalise(text or ""):
            return DerivedValue(name, source)
    return DerivedValue(task.id, "task id")


def _version(
    task: ImportTask, overrides: Overrides, settings: Settings, from_key: DerivedValue | None
) -> DerivedValue | None:
    candidates = (
        (overrides.semantic_version, "payload"),
        (task.tags.get(settings.version_tag), f"tag {settings.version_tag}"),
    )
    for text, source in candidates:
        if version := versions.parse(text or ""):
            return DerivedValue(version, source)
    return from_key


def _by_scheme(settings: Settings, ami: Ami) -> DerivedValue | None:
    if settings.version_scheme == "increment":
        return None
    if ami.created is None:
        problem = f"EC2 shows no creation date of {ami.id}, which gives the version: state the version."
        raise RejectedError({"creation date": problem})
    if settings.version_scheme == "date":
        return DerivedValue(versions.of_day(ami.created), "date of the AMI")
    return DerivedValue(versions.of_second(ami.created), "time of the AMI")


def _similar_tags(task: ImportTask, sources: dict[str, str], settings: Settings) -> dict[str, str]:
    directives = {
        "name": settings.name_tag,
        "semanticVersion": settings.version_tag,
        "osVersion": settings.os_version_tag,
    }
    unstated = {
        key.lower(): key for part, key in directives.items() if sources.get(part) not in {"payload", f"tag {key}"}
    }
    return {key: unstated[key.lower()] for key in sorted(task.tags) if key.lower() in unstated}


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
