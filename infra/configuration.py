"""What a deployment can configure: the CDK context `vm-image-import`, whose defaults are in cdk.json."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self, cast

from jsonschema import Draft202012Validator, ValidationError

CONTEXT_KEY: Final = "vm-image-import"
PERMISSIONS_BOUNDARY: Final = "@aws-cdk/core:permissionsBoundary"
"""The CDK's own context for the permissions boundary of every role."""

_SCHEMA: Final = json.loads(Path(__file__).with_name("configuration.schema.json").read_text(encoding="utf-8"))
_EXAMPLE: Final = '{"versionScheme": "date"}'
_TAG_KEYS: Final = ("nameTag", "versionTag", "osVersionTag")
_OF_THE_REGION: Final = {
    "topicArn": "alarms and function use a topic of their Region: write one Region into regions, and a topic of it.",
    "keyArn": "services use a key of their Region: write one Region into regions, and a key of it.",
}
_MAX_ENVIRONMENT: Final = 3_200
"""Bytes of the configured variables. A function's environment has at most 4 KB (user guide, "Lambda quotas"), and the
names of table and topic, which CloudFormation makes, need the rest."""


class ConfigurationError(Exception):
    """The context cannot be deployed; the message names every problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The configuration of one deployment. docs/reference.md says what each value does.

    `regions` is for the app, which makes one stack for each. Raises ConfigurationError.
    """

    version_scheme: str = "date"
    name_tag: str = "Name"
    version_tag: str = "Version"
    os_version_tag: str = "OsVersion"
    key_formats: Sequence[str] = field(default_factory=list)
    allowed_names: Sequence[str] = field(default_factory=list)
    names_from: str = "anything"
    immutable_versions: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    image_tag_keys: Sequence[str] | None = None
    only_tasks_tagged: Mapping[str, str] = field(default_factory=dict)
    tag_amis: bool = False
    ami_tag_keys: Sequence[str] = field(default_factory=list)
    parameter_prefix: str = ""
    keep_versions: int | None = None
    delete_after_days: int | None = None
    image_log_group: str = ""
    log_retention_days: int = 90
    notification_email: str = ""
    topic_arn: str = ""
    key_arn: str = ""
    sweep_minutes: int = 15
    reserved_concurrency: int | None = None
    tracing: bool = False
    observe: bool = False
    architecture: str = "arm64"
    alarms: bool = True
    dashboard: bool = True
    regions: Sequence[str] = field(default_factory=list)

    @classmethod
    def from_context(cls, *contexts: object) -> Self:
        """Return the configuration that context values state. A key of a later value overrides an earlier one.

        A value is an object, or its JSON text as the command line's `--context` passes it, or None. A key that no value
        states has its default. Raises ConfigurationError.
        """
        stated: dict[str, Any] = {}
        for context in contexts:
            stated |= _parse(context)
        _check(stated)
        return cls(**{_snake_case(key): value for key, value in stated.items()})

    def __post_init__(self) -> None:
        _check(self.as_context())
        size = sum(len(f"{name}{value}".encode()) for name, value in self.function_environment().items())
        if size > _MAX_ENVIRONMENT:
            problem = f"the function's variables have {size} bytes: write at most {_MAX_ENVIRONMENT}, with fewer or"
            raise ConfigurationError(_message([f"{CONTEXT_KEY}: {problem} shorter tags and key formats."]))

    def as_context(self) -> dict[str, Any]:
        """Return the context value that states every key of this configuration."""
        return {_camel_case(key): [*each] if isinstance(each, tuple) else each for key, each in asdict(self).items()}

    def function_environment(self) -> dict[str, str]:
        """Return the variables that the function reads as its settings."""
        return {
            "VERSION_SCHEME": self.version_scheme,
            "NAME_TAG": self.name_tag,
            "VERSION_TAG": self.version_tag,
            "OS_VERSION_TAG": self.os_version_tag,
            "KEY_FORMATS": json.dumps([*self.key_formats]),
            "ALLOWED_NAMES": json.dumps([*self.allowed_names]),
            "NAMES_FROM": self.names_from,
            "IMMUTABLE_VERSIONS": json.dumps(self.immutable_versions),
            "TAGS": json.dumps(dict(self.tags)),
            "IMAGE_TAG_KEYS": json.dumps(None if self.image_tag_keys is None else [*self.image_tag_keys]),
            "ONLY_TASKS_TAGGED": json.dumps(dict(self.only_tasks_tagged)),
            "TAG_AMIS": json.dumps(self.tag_amis),
            "AMI_TAG_KEYS": json.dumps([*self.ami_tag_keys]),
            "PARAMETER_PREFIX": self.parameter_prefix,
            "KEEP_VERSIONS": json.dumps(self.keep_versions),
            "DELETE_AFTER_DAYS": json.dumps(self.delete_after_days),
            "IMAGE_LOG_GROUP": self.image_log_group,
            "OBSERVE": json.dumps(self.observe),
        }


def folder_contexts(folder: Path) -> list[object]:
    """Return the context values in the cdk.json and the vm-image-import.json of a folder; the latter may be missing.

    Raises ConfigurationError where the latter cannot be read.
    """
    context = json.loads((folder / "cdk.json").read_text(encoding="utf-8"))["context"].get(CONTEXT_KEY)
    local = folder / f"{CONTEXT_KEY}.json"
    if not local.exists():
        return [context]
    try:
        text = local.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{local.name} cannot be read ({error}): write a file in UTF-8 like {_EXAMPLE}."
        raise ConfigurationError(message) from error
    return [context, _parse(text, local.name)]


def misplaced(contexts: Iterable[str], files: Iterable[str]) -> Iterator[str]:
    """Yield what is wrong with the names of contexts and files that look like a configuration and are ignored."""
    for name in contexts:
        if name in _SCHEMA["properties"]:
            yield f"The context {name} states nothing: write --context '{CONTEXT_KEY}={{\"{name}\": …}}'."
        elif _is_slip(name, CONTEXT_KEY):
            yield f"The context {name} states nothing: write {CONTEXT_KEY}."
    for name in files:
        if _is_slip(name, f"{CONTEXT_KEY}.json"):
            yield f"The file {name} states nothing: name it {CONTEXT_KEY}.json."


def _is_slip(name: str, meant: str) -> bool:
    """Return whether a name differs from what is meant by its case, or by what separates its words."""
    letters, wanted = (re.sub("[-_ ]", "", text).lower() for text in (name, meant))
    return name != meant and letters == wanted


def boundary_problems(context: object) -> Iterator[str]:
    """Yield what is wrong with a value of PERMISSIONS_BOUNDARY: the CDK ignores one that it cannot use."""
    stated = [*context.values()] if isinstance(context, dict) and context.keys() <= {"name", "arn"} else []
    if context is None or (len(stated) == 1 and isinstance(stated[0], str) and stated[0]):
        return
    where = " into cdk.json: on the command line it is text" if isinstance(context, str) else ""
    yield f'{PERMISSIONS_BOUNDARY}: {context!r} cannot be used: write {{"name": "NAME"}} or {{"arn": "ARN"}}{where}.'


def _check(stated: Mapping[str, Any]) -> None:
    """Raise ConfigurationError with every problem of the keys and values that a context value states."""
    problems = [*map(_describe, sorted(Draft202012Validator(_SCHEMA).iter_errors(stated), key=_path))]
    problems += [f"{CONTEXT_KEY}.{key}: {problem}" for key, problem in _problems(stated)]
    if problems:
        raise ConfigurationError(_message(problems))


def _message(problems: Sequence[str]) -> str:
    return "\n".join(("The configuration cannot be deployed.", *problems))


def _parse(context: object, where: str = f"The context {CONTEXT_KEY}") -> dict[str, Any]:
    """Return the object of one context value. Raises ConfigurationError."""
    if isinstance(context, str):
        try:
            context = json.loads(context, object_pairs_hook=_once)
        except ValueError as error:
            message = f"{where} is no JSON ({error}): write it like {_EXAMPLE}."
            raise ConfigurationError(message) from error
    if context is None:
        return {}
    if not isinstance(context, dict):
        message = f"{where} is no object: write it like {_EXAMPLE}."
        raise ConfigurationError(message)
    return cast("dict[str, Any]", context)


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Return the object of these pairs. Raises ValueError for a key that is stated more than once."""
    if twice := sorted(key for key, count in Counter(key for key, _ in pairs).items() if count > 1):
        message = f"it states {', '.join(twice)} more than once"
        raise ValueError(message)
    return dict(pairs)


def _path(error: ValidationError) -> str:
    return error.json_path.replace("$", CONTEXT_KEY, 1)


def _describe(error: ValidationError) -> str:
    """Return one problem: where it is, what is wrong, and what to write instead."""
    if error.absolute_path:
        wanted = _SCHEMA["properties"][error.absolute_path[0]]["description"]
    else:
        wanted = f"only {', '.join(_SCHEMA['properties'])}"
    wrong = f"{error.instance!r} cannot be used" if error.validator == "pattern" else error.message
    return f"{_path(error)}: {wrong}: write {wanted}."


def _problems(stated: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the keys and the problems that the schema cannot express."""
    for key, value in stated.items():
        # 3.0 is an integer of JSON Schema, and text that the function refuses.
        if isinstance(value, float) and value.is_integer():
            yield key, f"{value} has a point: write {value:.0f}."
        if any("\n" in text or "\r" in text for text in _texts(value)):
            yield key, "it has a line break: write it on one line."
    keys = [stated.get(key, default) for key, default in zip(_TAG_KEYS, ("Name", "Version", "OsVersion"), strict=True)]
    for number, key in enumerate(keys):
        if key in keys[:number]:
            yield _TAG_KEYS[number], f"{key!r} is also the key of {_TAG_KEYS[keys.index(key)]}: write another key."
    for text in _texts(stated.get("keyFormats")):
        yield from (("keyFormats", f"{text!r} {problem}") for problem in _format_problems(text))
    yield from _missing_options(stated)
    topic = stated.get("topicArn")
    if topic and stated.get("notificationEmail"):
        yield "notificationEmail", "topicArn states a topic of yours: leave this out and subscribe to that topic."
    if regions := [name for name in _list(stated.get("regions")) if isinstance(name, str)]:
        yield from (("regions", problem) for problem in _region_problems(regions))
        yield from _elsewhere(stated, regions)


def _elsewhere(stated: Mapping[str, Any], regions: Sequence[str]) -> Iterator[tuple[str, str]]:
    for key, problem in _OF_THE_REGION.items():
        arn = stated.get(key)
        if isinstance(arn, str) and arn and any(f":{name}:" not in arn for name in regions):
            yield key, problem


def _missing_options(stated: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the keys that have no effect without another key, and the problems."""
    if stated.get("amiTagKeys") and not stated.get("tagAmis"):
        yield "amiTagKeys", "without tagAmis no AMI is tagged: write true for tagAmis, or leave this out."
    if stated.get("deleteAfterDays") and not stated.get("keepVersions"):
        yield "deleteAfterDays", "without keepVersions no image is superseded: write a number for keepVersions, like 3."
    if stated.get("deleteAfterDays") and not stated.get("tagAmis"):
        yield "deleteAfterDays", "only AMIs that have tags of this system are deleted: write true for tagAmis."


def _region_problems(regions: Sequence[str]) -> Iterator[str]:
    # The CDK starts Node when it is imported: programs that only read a configuration do without.
    from aws_cdk.region_info import RegionInfo  # noqa: PLC0415

    known = {region.name: region for region in RegionInfo.regions}
    for name in regions:
        if name not in known:
            yield f"{name!r} is no Region that the CDK knows: write names like eu-west-1."
    partitions = sorted({str(known[name].partition) for name in regions if name in known})
    if len(partitions) > 1:
        yield f"they are of the partitions {' and '.join(partitions)}: write Regions of one partition."


def _format_problems(text: str) -> Iterator[str]:
    """Yield what is wrong with a key format."""
    placeholders = re.findall(r"\{name\}|\{version\}|\*", text)
    if "{name}" not in placeholders:
        yield "has no {name}: write it where the name is, like releases/{name}/{version}/*.vmdk."
    for placeholder in ("{name}", "{version}"):
        if placeholders.count(placeholder) > 1:
            yield f"has {placeholder} more than once: write * for the others."
    if others := re.findall(r"[{}]", text.replace("{name}", "").replace("{version}", "")):
        yield f"has {' and '.join(sorted({*others}))} of neither {{name}} nor {{version}}: write only these two."
    if found := sorted(set(re.findall(r"[\\^$|?()\[\]]", text))):
        yield f"has {' '.join(found)}: write * for anything within one part, and / for a \\ between two parts."
    if "**" in text:
        yield "has **: write *, and leave out the parts in front, as a format is matched against the end of the key."
    elif re.search(r"(?:\{name\}|\{version\}|\*){2}", text):
        yield "has placeholders with nothing between them: write what separates them, like {name}-{version}."
    if "://" in text:
        yield "has a scheme: write the end of the key only."
    elif "" in text.split("/"):
        yield "has a / with nothing before or behind it: write the parts of the key with one / between them."


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (text for text in (key, item) if isinstance(text, str))
    elif isinstance(value, list):
        yield from (item for item in value if isinstance(item, str))


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else []


def _camel_case(key: str) -> str:
    first, *rest = key.split("_")
    return "".join((first, *(word.capitalize() for word in rest)))


def _snake_case(key: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
