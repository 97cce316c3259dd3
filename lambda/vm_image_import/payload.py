"""The contract of an invocation by hand, in payload.schema.json."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypedDict, cast

from aws_lambda_powertools.utilities.validation import SchemaValidationError, validate

from vm_image_import.errors import InvalidTriggerError
from vm_image_import.models import Platform

Schema = Mapping[str, Any]


def _schema(name: str) -> Schema:
    schema: Schema = json.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    return schema


SCHEMA: Final = _schema("payload.schema.json")
SWEEP_SCHEMA: Final = _schema("sweep.schema.json")

_SHOWN: Final = 10


class _Optional(TypedDict, total=False):
    name: str
    semanticVersion: str
    description: str
    platform: Platform
    osVersion: str
    tags: dict[str, str]
    dryRun: bool
    force: bool


class Payload(_Optional):
    """A payload that keeps to the schema."""

    importTaskId: str


class SweepPayload(TypedDict, total=False):
    """A payload that asks for a sweep."""

    action: str
    dryRun: bool


def check(payload: object) -> Payload:
    """Return the payload when it keeps to the schema; raises InvalidTriggerError that names every problem at once."""
    return cast("Payload", _checked(payload, SCHEMA))


def check_sweep(payload: object) -> SweepPayload:
    """Return the payload of a sweep when it keeps to its schema; raises InvalidTriggerError as `check` does."""
    return cast("SweepPayload", _checked(payload, SWEEP_SCHEMA))


def _checked(payload: object, schema: Schema) -> Mapping[str, object]:
    if not isinstance(payload, dict):
        raise InvalidTriggerError(['The payload is no object: write {"importTaskId": "import-ami-…"}.'])
    try:
        json.dumps(payload, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # It could be neither logged nor answered.
        raise InvalidTriggerError(["The payload has half a character, like \\ud800: write whole ones."]) from None
    if problems := list(_problems(payload, schema)):
        raise InvalidTriggerError(problems)
    return payload


def _problems(payload: Mapping[str, object], schema: Schema) -> Iterator[str]:
    known = schema["properties"]
    yield from (
        f"{key} is missing: write {known[key]['description']}." for key in schema["required"] if key not in payload
    )
    if unknown := [key for key in payload if key not in known]:
        yield f"{_listed(unknown)} unknown: write some of {', '.join(known)}."
    for key, value in payload.items():
        if key in known:
            yield from (
                f"{problem}: write {known[key]['description']}." for problem in _violations(key, value, known[key])
            )


def _violations(key: str, value: object, schema: Schema) -> Iterable[str]:
    """Return what is wrong with the value of a known key; with a map's entries one by one."""
    entries = [{name: item} for name, item in value.items()] if isinstance(value, dict) else []
    # The validator stops at the first problem, so it is asked for each entry, and once more for all together.
    return dict.fromkeys(problem for part in (*entries, value) if (problem := _violation(key, part, schema)))


def _violation(key: str, value: object, schema: Schema) -> str | None:
    try:
        validate({key: value}, {"properties": {key: schema}})
    except SchemaValidationError as error:
        if error.rule == "propertyNames" and isinstance(value, dict):
            return f"{key} cannot have {json.dumps(next(iter(value)))}" if len(value) == 1 else None
        return str(error.validation_message).removeprefix("data.")
    return None


def _listed(keys: Sequence[str]) -> str:
    """Return the first of some keys, for a sentence: nobody reads a thousand."""
    shown = ", ".join(json.dumps(key) for key in keys[:_SHOWN])
    more = len(keys) - _SHOWN
    return f"{shown} and {more} more are" if more > 0 else f"{shown} {'is' if len(keys) == 1 else 'are'}"
