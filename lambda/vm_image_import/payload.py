"""The contract of an invocation by hand, in payload.schema.json."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypedDict, cast

from aws_lambda_powertools.utilities.validation import SchemaValidationError, validate

from vm_image_import.errors import InvalidTriggerError
from vm_image_import.request import Platform

SCHEMA: Final = json.loads(Path(__file__).with_name("payload.schema.json").read_text(encoding="utf-8"))

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


def check(payload: object) -> Payload:
    """Return the payload when it keeps to the schema; raises InvalidTriggerError that names every problem at once."""
    if not isinstance(payload, dict):
        raise InvalidTriggerError(['The payload is no object: write {"importTaskId": "import-ami-…"}.'])
    try:
        json.dumps(payload, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # It could be neither logged nor answered.
        raise InvalidTriggerError(["The payload has half a character, like \\ud800: write whole ones."]) from None
    if problems := list(_problems(payload)):
        raise InvalidTriggerError(problems)
    return cast("Payload", payload)


def _problems(payload: Mapping[str, object]) -> Iterator[str]:
    known = SCHEMA["properties"]
    yield from (
        f"{key} is missing: write {known[key]['description']}." for key in SCHEMA["required"] if key not in payload
    )
    if unknown := [key for key in payload if key not in known]:
        yield f"{_listed(unknown)} unknown: write some of {', '.join(known)}."
    for key, value in payload.items():
        if key in known:
            yield from (f"{problem}: write {known[key]['description']}." for problem in _violations(key, value))


def _violations(key: str, value: object) -> Iterable[str]:
    """Return what is wrong with the value of a known key; with a map's entries one by one."""
    entries = [{name: item} for name, item in value.items()] if isinstance(value, dict) else []
    # The validator stops at the first problem, so it is asked for each entry, and once more for all together.
    return dict.fromkeys(problem for part in (*entries, value) if (problem := _violation(key, part)))


def _violation(key: str, value: object) -> str | None:
    try:
        validate({key: value}, {"properties": {key: SCHEMA["properties"][key]}})
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
