"""What the deployment configures, as the function finds it in its environment."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self, get_args

from vm_image_import.errors import InvalidSettingsError

VersionScheme = Literal["date", "timestamp", "increment"]
"""What gives the version of an import that states none."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration; every field has the variable of its name in capitals. The defaults are those of cdk.json."""

    version_scheme: VersionScheme = "date"
    name_tag: str = "Name"
    version_tag: str = "Version"
    os_version_tag: str = "OsVersion"
    """The task's tags that carry a part of the request."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of every image."""
    only_tasks_tagged: Mapping[str, str] = field(default_factory=dict)
    """Tags that a task has to have, all of them; another one is left alone."""
    table_name: str = ""
    """The ledger."""
    topic_arn: str = ""
    """Of the notices."""
    image_log_group: str = ""
    """Where Image Builder writes its logs of an import; empty for its own default."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return the settings of an environment like `os.environ`; a variable that is not there has its default.

        Raises InvalidSettingsError, with every problem at once, where a variable is not as it should be.
        """
        given = {name: environment[name.upper()] for name in cls.__dataclass_fields__ if name.upper() in environment}
        if problems := list(_problems(given)):
            raise InvalidSettingsError(problems)
        values: dict[str, Any] = {name: json.loads(text) if name in _MAPS else text for name, text in given.items()}
        return cls(**values)

    @property
    def directive_tags(self) -> frozenset[str]:
        """The tags of a task that carry a part of the request and are no tags of the image."""
        return frozenset({self.name_tag, self.version_tag, self.os_version_tag})


_MAPS: Final = ("tags", "only_tasks_tagged")
_KEYS: Final = ("name_tag", "version_tag", "os_version_tag")


def _problems(given: Mapping[str, str]) -> Iterator[str]:
    for name, text in given.items():
        if name == "version_scheme" and text not in get_args(VersionScheme):
            yield f"{name.upper()} is '{text}': write one of {', '.join(get_args(VersionScheme))}."
        if name in _KEYS and not text:
            yield f"{name.upper()} is empty: write the key of a tag."
        if name in _MAPS and not _is_map(text):
            yield f'{name.upper()} is \'{text}\': write JSON like {{"Team": "web"}}.'


def _is_map(text: str) -> bool:
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
