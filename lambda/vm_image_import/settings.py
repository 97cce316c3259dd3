"""What the deployment configures, as the function finds it in its environment."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Self, get_args

from vm_image_import.domain.errors import InvalidSettingsError
from vm_image_import.domain.text import quote

VersionScheme = Literal["date", "timestamp", "increment"]
"""What gives the version of an import that states none."""
NamesFrom = Literal["anything", "tags"]
"""What names and versions may come from."""


class Settings(NamedTuple):
    """The configuration. Every field has the variable of its name in capitals. The defaults are those of cdk.json."""

    version_scheme: VersionScheme = "date"
    name_tag: str = "Name"
    version_tag: str = "Version"
    os_version_tag: str = "OsVersion"
    """The keys of the task's tags that state a part of the request."""
    key_formats: Sequence[str] = []
    """The formats of keys that state name and version; the first one that matches counts."""
    allowed_names: Sequence[str] = []
    """Patterns of the names, as ARNs have them, that may be registered; none for every name."""
    names_from: NamesFrom = "anything"
    immutable_versions: bool = False
    """Whether a version that another import has is rejected."""
    tags: Mapping[str, str] = {}
    """Tags of every image."""
    image_tag_keys: Sequence[str] | None = None
    """The keys of those tags of a task that its image gets; None for all."""
    only_tasks_tagged: Mapping[str, str] = {}
    """Tags that a task must have, all of them; a task without them is excluded."""
    table_name: str = ""
    """The idempotency table."""
    topic_arn: str = ""
    """The topic of the notifications."""
    observe: bool = False
    """Whether events and sweeps only report what they would register."""
    tag_amis: bool = False
    """Whether the AMIs of registered imports and their snapshots are tagged."""
    ami_tag_keys: Sequence[str] = []
    """The keys of those tags of a task that its AMI and snapshots get."""
    parameter_prefix: str = ""
    """The path of the parameters that hold the newest AMI of each name; empty for none."""
    image_log_group: str = ""
    """Where Image Builder writes its logs of an import; empty for its own default."""
    keep_versions: int | None = None
    """How many versions of each name are kept; None where no image is marked as superseded."""
    delete_after_days: int | None = None
    """The days from an image's mark to its deletion; None where none is deleted."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return the settings of an environment like `os.environ`.

        `TABLE_NAME` and `TOPIC_ARN` are required; any other variable has a default. Raises InvalidSettingsError, with
        every problem at once.
        """
        given = {name: environment[name.upper()] for name in cls._fields if name.upper() in environment}
        if problems := list(_problems(given)):
            raise InvalidSettingsError(problems)
        parsed = (*_MAPS, *_FLAGS, *_LISTS, *_NUMBERS)
        values: dict[str, Any] = {name: json.loads(text) if name in parsed else text for name, text in given.items()}
        return cls(**values)

    @property
    def directive_tags(self) -> frozenset[str]:
        """The keys of those tags of a task that state a part of the request, and are no tags of the image."""
        return frozenset({self.name_tag, self.version_tag, self.os_version_tag})


_MAPS: Final = ("tags", "only_tasks_tagged")
_FLAGS: Final = ("immutable_versions", "observe", "tag_amis")
_LISTS: Final = {
    "allowed_names": '["team-a-*"]',
    "ami_tag_keys": '["Team"]',
    "image_tag_keys": '["Team"]',
    "key_formats": '["{name}/{version}/*.vmdk"]',
}
_CHOICES: Final = {"version_scheme": get_args(VersionScheme), "names_from": get_args(NamesFrom)}
_MAY_BE_NULL: Final = "image_tag_keys"
_NUMBERS: Final = ("keep_versions", "delete_after_days")
_NOT_EMPTY: Final = {
    "name_tag": "the key of a tag",
    "version_tag": "the key of a tag",
    "os_version_tag": "the key of a tag",
    "table_name": "the name of the idempotency table",
    "topic_arn": "the ARN of the topic",
}
_REQUIRED: Final = ("table_name", "topic_arn")


def _problems(given: Mapping[str, str]) -> Iterator[str]:
    for name in _REQUIRED:
        if name not in given:
            yield f"{name.upper()} is missing: write {_NOT_EMPTY[name]}."
    for name, text in given.items():
        if text not in _CHOICES.get(name, (text,)):
            yield f"{name.upper()} is {quote(text)}: write one of {', '.join(_CHOICES[name])}."
        if name in _NOT_EMPTY and not text:
            yield f"{name.upper()} is empty: write {_NOT_EMPTY[name]}."
        if name in _FLAGS and text not in {"true", "false"}:
            yield f"{name.upper()} is {quote(text)}: write true or false."
        if name in _NUMBERS and not re.fullmatch(r"null|[1-9][0-9]{0,3}", text):
            yield f"{name.upper()} is {quote(text)}: write a whole number from 1 to 9999, or null."
        if name in _MAPS and not _is_json(text, dict):
            yield f'{name.upper()} is {quote(text)}: write JSON like {{"Team": "web"}}.'
        if name in _LISTS and not _is_json(text, list) and (name, text) != (_MAY_BE_NULL, "null"):
            yield f"{name.upper()} is {quote(text)}: write JSON like {_LISTS[name]}."


def _is_json(text: str, kind: type[dict[str, str]] | type[list[str]]) -> bool:
    """Whether a text is JSON of an object or an array that has nothing but texts."""
    try:
        value = json.loads(text)
    except ValueError:
        return False
    if not isinstance(value, kind):
        return False
    return all(isinstance(item, str) for item in (value.values() if isinstance(value, dict) else value))
