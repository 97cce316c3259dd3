"""What starts the function: events of EventBridge, and payloads of manual invocations."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.errors import InvalidTriggerError
from vm_image_import.domain.models import NO_OVERRIDES, Overrides
from vm_image_import.domain.text import one_line, quote


class AmiAvailable(NamedTuple):
    """The event `EC2 AMI State Change`: an AMI became available. It does not say whether an import made it."""

    image_id: str
    time: datetime


class ImageStateChanged(NamedTuple):
    """The event `EC2 Image Builder Image State Change`, of any image of the account."""

    image_arn: str


class ManualImport(NamedTuple):
    """The payload of a manual invocation for one import task."""

    import_task_id: str
    overrides: Overrides = NO_OVERRIDES
    dry_run: bool = False
    """Answer the request that would be sent, and change nothing."""
    force: bool = False
    """Register the import once more, as another build."""


class Sweep(NamedTuple):
    """The payload of the schedule, or of a manual invocation: look at every ended import task."""

    dry_run: bool = False


Trigger = AmiAvailable | ImageStateChanged | ManualImport | Sweep

_AMI_ID: Final = re.compile(r"ami-[0-9a-z]{1,64}")
_MAX_LISTED: Final = 10
"""An error lists this many keys or entries and counts the others."""
_MAX_KEY: Final = 40
_MAX_MESSAGE: Final = 200
"""Characters of a key, and of a message of the validator, which has keys in it."""


def parse(event: object) -> Trigger:
    """Return the trigger in `event`, the function's decoded input.

    Raises InvalidTriggerError, with every problem at once, for anything else.
    """
    if not isinstance(event, dict):
        raise InvalidTriggerError(['The payload is no object: write {"importTaskId": "import-ami-…"}.'])
    try:
        json.dumps(event, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # It could be neither sent to AWS, nor logged, nor answered.
        problem = "The input has an unpaired surrogate, like \\ud800: write whole characters."
        raise InvalidTriggerError([problem]) from None
    if "detail-type" in event:
        return _parse_event(event)
    return _parse_payload(event)


def _parse_event(event: Mapping[str, object]) -> Trigger:
    match event:
        case {"source": "aws.ec2", "detail-type": "EC2 AMI State Change"}:
            return _parse_ami_event(event)
        case {"source": "aws.imagebuilder", "detail-type": "EC2 Image Builder Image State Change"}:
            return _parse_image_event(event)
    source, detail_type = quote(event.get("source")), quote(event["detail-type"])
    problem = f"No rule of this function sends {detail_type} events of {source}: remove it from the other rule."
    raise InvalidTriggerError([problem])


def _parse_ami_event(event: Mapping[str, object]) -> AmiAvailable:
    match event:
        case {"detail": {"ImageId": str(image_id)}, "time": str(text)} if _AMI_ID.fullmatch(image_id):
            if time := _parse_time(text):
                return AmiAvailable(image_id, time)
    problem = "An EC2 AMI State Change event needs detail.ImageId and an ISO 8601 time with a zone: send it whole."
    raise InvalidTriggerError([problem])


def _parse_time(text: str) -> datetime | None:
    """Return the time in UTC, or None where the text is none with a time zone."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else None
    except (OverflowError, ValueError):
        return None


def _parse_image_event(event: Mapping[str, object]) -> ImageStateChanged:
    match event:
        case {"resources": [str(arn), *_]}:
            with suppress(ValueError):
                return ImageStateChanged(BuildArn.parse(arn).text)
    problem = "An EC2 Image Builder Image State Change event needs the ARN of an image build version in resources."
    raise InvalidTriggerError([problem])


def _parse_payload(payload: Mapping[str, Any]) -> ManualImport | Sweep:
    schema = read_schema("sweep" if "action" in payload else "payload")
    if problems := list(_problems(payload, schema)):
        raise InvalidTriggerError(problems)
    if "action" in payload:
        return Sweep(dry_run=payload.get("dryRun", False))
    overrides = {
        "name": payload.get("name"),
        "semantic_version": payload.get("semanticVersion"),
        "description": payload.get("description"),
        "platform": payload.get("platform"),
        "os_version": payload.get("osVersion"),
        "tags": payload.get("tags", {}),
    }
    return ManualImport(
        payload["importTaskId"],
        Overrides(**overrides),
        dry_run=payload.get("dryRun", False),
        force=payload.get("force", False),
    )


def read_schema(name: str) -> Mapping[str, Any]:
    """Return the JSON Schema of a payload: `payload` of one import, `sweep` of a sweep."""
    schema: Mapping[str, Any] = json.loads(Path(__file__).with_name(f"{name}.schema.json").read_text(encoding="utf-8"))
    return schema


def _problems(payload: Mapping[str, object], schema: Mapping[str, Any]) -> Iterator[str]:
    properties = schema["properties"]
    for key in schema["required"]:
        if key not in payload:
            yield f"{key} is missing: write {properties[key]['description']}."
    if unknown := [key for key in payload if key not in properties]:
        verb = "is" if len(unknown) == 1 else "are"
        yield f"{_list(unknown)} {verb} unknown: write some of {', '.join(properties)}."
    for key, value in payload.items():
        if key in properties:
            for problem in _violations(key, value, properties[key]):
                yield f"{problem}: write {properties[key]['description']}."


def _violations(key: str, value: object, schema: Mapping[str, Any]) -> Iterable[str]:
    # The validator stops at the first problem of a value: a map is checked as a whole, and entry by entry.
    entries = [{name: item} for name, item in value.items()] if isinstance(value, dict) else []
    parts = (value, *entries[: schema.get("maxProperties", 0) + _MAX_LISTED])
    return dict.fromkeys(problem for part in parts if (problem := _violation(key, part, schema)))


def _violation(key: str, value: object, schema: Mapping[str, Any]) -> str | None:
    # Only a manual invocation validates against a schema; an event does not wait for this import.
    from aws_lambda_powertools.utilities.validation import SchemaValidationError, validate  # noqa: PLC0415

    try:
        validate({key: value}, {"properties": {key: schema}})
    except SchemaValidationError as error:
        if error.rule == "propertyNames" and isinstance(value, dict):
            return f"{key} cannot have {_list([*value])}" if len(value) == 1 else None
        return one_line(str(error.validation_message).removeprefix("data."), _MAX_MESSAGE)
    return None


def _list(keys: Sequence[str]) -> str:
    listed = ", ".join(json.dumps(one_line(key, _MAX_KEY), ensure_ascii=False) for key in keys[:_MAX_LISTED])
    more = len(keys) - _MAX_LISTED
    return f"{listed} and {more} more" if more > 0 else listed
