"""What a deployment can configure: the CDK context `vm-image-import`, as cdk.json has it with its defaults."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, cast

from aws_cdk.region_info import RegionInfo
from jsonschema import Draft202012Validator

CONTEXT_KEY: Final = "vm-image-import"

_SCHEMA: Final = json.loads(Path(__file__).with_name("configuration.schema.json").read_text(encoding="utf-8"))


class ConfigurationError(Exception):
    """The context cannot be deployed; the message names every problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The configuration of one deployment. The README says what each value does."""

    version_scheme: str = "date"
    name_tag: str = "Name"
    version_tag: str = "Version"
    os_version_tag: str = "OsVersion"
    tags: Mapping[str, str] = field(default_factory=dict)
    only_tasks_tagged: Mapping[str, str] = field(default_factory=dict)
    image_log_group: str = ""
    log_retention_days: int = 90
    notification_email: str = ""
    sweep_minutes: int = 15
    reserved_concurrency: int | None = None
    tracing: bool = False
    regions: Sequence[str] = field(default_factory=list)

    @classmethod
    def from_context(cls, context: object) -> Self:
        """Return the configuration that a context value states; what it leaves out has its default.

        The value is an object, or its JSON text as the command line's `--context` passes it. Raises ConfigurationError.
        """
        if isinstance(context, str):
            try:
                context = json.loads(context)
            except ValueError as error:
                message = f"The context {CONTEXT_KEY} is no JSON: {error}"
                raise ConfigurationError(message) from error
        stated = {} if context is None else context
        errors = sorted(Draft202012Validator(_SCHEMA).iter_errors(stated), key=lambda error: error.json_path)
        problems = [f"{error.json_path.replace('$', CONTEXT_KEY, 1)}: {error.message}" for error in errors]
        problems += [f"{CONTEXT_KEY}.regions: '{name}' is no Region that the CDK knows" for name in _unknown(stated)]
        if problems:
            raise ConfigurationError("\n".join(("The configuration cannot be deployed.", *problems)))
        valid = cast("Mapping[str, Any]", stated)
        return cls(**{_snake_case(key): value for key, value in valid.items()})

    def function_environment(self) -> dict[str, str]:
        """Return the variables that the function reads as its settings."""
        return {
            "VERSION_SCHEME": self.version_scheme,
            "NAME_TAG": self.name_tag,
            "VERSION_TAG": self.version_tag,
            "OS_VERSION_TAG": self.os_version_tag,
            "TAGS": json.dumps(dict(self.tags)),
            "ONLY_TASKS_TAGGED": json.dumps(dict(self.only_tasks_tagged)),
            "IMAGE_LOG_GROUP": self.image_log_group,
        }


def _unknown(stated: object) -> list[str]:
    """Return the names that are no Regions. What is no list of names at all, the schema refuses."""
    regions = stated.get("regions") if isinstance(stated, dict) else None
    if not isinstance(regions, list) or not regions:
        return []
    known = {region.name for region in RegionInfo.regions}
    return [name for name in regions if isinstance(name, str) and name not in known]


def _snake_case(key: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
