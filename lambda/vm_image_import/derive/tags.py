"""The tags of an image, and of the AMI that it was made from."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.models import Ami, ImportTask
from vm_image_import.settings import Settings

PREFIX: Final = "vm-image-import:"
"""Of the tags that name the origin of an image."""

_NAME: Final = "Name"
"""The key of the tag that EC2's console shows as name."""
_CREATED_BY: Final = "CreatedBy"
"""With the value `EC2 Image Builder`, lifecycle policies of Image Builder delete AMI and snapshots (user guide)."""
_MAX_AMI_KEY: Final = 127
"""The limit of a tag's key in EC2 (API reference, `Tag`)."""
MAX_TAGS: Final = 50
"""The most tags of an image. Seven are of provenance, so that a payload or the configuration has up to 43."""
_MAX_VALUE: Final = 256
_KEY: Final = re.compile(r"(?!aws:)[a-zA-Z0-9 _.:/=+\-@]{1,128}", re.ASCII)
"""The limits of the parameter `tags` (API reference, `ImportVmImage`); of white space only the plain space is taken."""


class Merged(NamedTuple):
    """The tags of the image, and the keys of those that were left out."""

    tags: dict[str, str]
    dropped: tuple[str, ...]


STATED_NAME: Final = f"{PREFIX}name"
"""The key of the tag that has what the name was made of, where this is another text."""


def merge(
    task: ImportTask, ami: Ami, payload: Mapping[str, str], settings: Settings, stated_name: str | None = None
) -> Merged:
    """Merge provenance, payload, configured and the task's own tags; of the same key the first one counts.

    Left out is what the API refuses, what is beyond its 50 tags, and any other tag with the prefix of provenance.
    """
    merged = _provenance(task, ami) | ({STATED_NAME: stated_name} if stated_name else {})
    for source in (payload, settings.tags, _own(task, settings)):
        # Sorted: the order in which they came must not decide which of too many are taken.
        merged |= {key: source[key] for key in sorted(source) if key not in merged and not key.startswith(PREFIX)}
    accepted = [key for key, value in merged.items() if _KEY.fullmatch(key) and len(value) <= _MAX_VALUE][:MAX_TAGS]
    return Merged({key: merged[key] for key in accepted}, tuple(key for key in merged if key not in accepted))


IMAGE: Final = f"{PREFIX}image"
"""The key of the tag that names the image of an AMI."""


def of_build(build: BuildArn) -> dict[str, str]:
    """Return those tags of an AMI that depend on its image."""
    return {_NAME: f"{build.name} {build.version}", IMAGE: build.text}


def of_ami(task: ImportTask, ami: Ami, build: BuildArn, settings: Settings) -> dict[str, str]:
    """Return the tags of the AMI of an image, and of the AMI's snapshots, the most important ones first.

    Of the task's tags there are those that `amiTagKeys` names and that are not configured: in accounts that authorise
    by tags, any other could grant access to the AMI.
    """
    tags = {**of_build(build), **_provenance(task, ami)}
    taken = {key.lower() for key in settings.tags}
    listed = {key: task.tags[key] for key in settings.ami_tag_keys if key in task.tags and key.lower() not in taken}
    for source in (listed, settings.tags):
        tags |= {key: value for key, value in source.items() if key not in {*tags, _CREATED_BY}}
    return {key: value for key, value in tags.items() if len(key) <= _MAX_AMI_KEY and len(value) <= _MAX_VALUE}


def _provenance(task: ImportTask, ami: Ami) -> dict[str, str]:
    known = {
        "task-id": task.id,
        "ami-id": ami.id,
        "source": task.boot_disk.source,
        "architecture": task.architecture or ami.architecture,
        # The task says legacy_bios, the AMI legacy-bios (both observed).
        "boot-mode": (task.boot_mode or ami.boot_mode or "").replace("_", "-"),
        "license-type": task.license_type,
    }
    return {PREFIX + key: value for key, value in known.items() if value}


def _own(task: ImportTask, settings: Settings) -> dict[str, str]:
    """Return those tags of the task that its image may have.

    IAM compares the keys of tags without their case (user guide, "Controlling access to AWS resources using tags"), so
    that a configured one is not repeated in another.
    """
    taken = {_CREATED_BY.lower(), *(key.lower() for key in settings.tags)}
    return {
        key: value
        for key, value in task.tags.items()
        if key not in settings.directive_tags
        and not key.startswith("aws:")
        and key.lower() not in taken
        and (settings.image_tag_keys is None or key in settings.image_tag_keys)
    }
