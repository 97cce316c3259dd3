"""The contract of an invocation by hand, in payload.schema.json."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TypedDict, cast

from aws_lambda_powertools.utilities.validation import SchemaValidationError, validate

from vm_image_import.errors import InvalidTriggerError
from vm_image_import.request import Platform

SCHEMA: Final = json.loads(Path(__file__).with_name("payload.schema.json").read_text(encoding="utf-8"))


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
    if problems := list(_problems(payload)):
        raise InvalidTriggerError(problems)
    return cast("Payload", payload)


def _problems(payload: Mapping[str, object]) -> Iterable[str]:
    # Key by key, since the validator stops at the first problem.
    known = SCHEMA["properties"]
    for key in SCHEMA["required"]:
        if key not in payload:
            yield f"{key} is missing: write {known[key]['description']}."
    for key, value in payload.items():
        if key not in known:
            yield f"{key} is unknown: write one of {', '.join(known)}."
            continue
        try:
            validate({key: value}, {"properties": {key: known[key]}})
        except SchemaValidationError as error:
            yield f"{str(error.validation_message).removeprefix('data.')}: write {known[key]['description']}."
