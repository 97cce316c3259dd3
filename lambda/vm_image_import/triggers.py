"""What starts the function: an event of EventBridge, or a payload written by a person."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from vm_image_import.errors import InvalidTriggerError
from vm_image_import.request import Overrides


@dataclass(frozen=True, slots=True)
class AmiAvailable:
    """EC2 says that an AMI became available. It does not say whether an import made it."""

    image_id: str
    time: datetime


@dataclass(frozen=True, slots=True)
class ManualImport:
    """A person asks for one import."""

    import_task_id: str
    overrides: Overrides = field(default_factory=Overrides)
    dry_run: bool = False


Trigger = AmiAvailable | ManualImport


def parse(event: object) -> Trigger:
    """Return the trigger that `event` is: the function's decoded input.

    Raises InvalidTriggerError, with every problem at once, for anything else.
    """
    if isinstance(event, dict) and "detail-type" in event:
        return _from_event_bridge(event)
    return _from_payload(event)


def _from_event_bridge(event: Mapping[str, object]) -> Trigger:
    kind = (event.get("source"), event["detail-type"])
    if kind != ("aws.ec2", "EC2 AMI State Change"):
        problem = f"No rule of this function sends {kind[1]!r} events of {kind[0]!r}: remove it from the other rule."
        raise InvalidTriggerError([problem])
    try:
        detail = cast("Mapping[str, str]", event["detail"])
        return AmiAvailable(detail["ImageId"], datetime.fromisoformat(cast("str", event["time"])))
    except (KeyError, TypeError, ValueError) as error:
        problem = f"An EC2 AMI State Change event needs detail.ImageId and an ISO 8601 time with a zone ({error!r})."
        raise InvalidTriggerError([problem]) from error


def _from_payload(payload: object) -> ManualImport:
    # Only this path validates against the schema; an event should not wait for its import.
    from vm_image_import.payload import check  # noqa: PLC0415

    valid = check(payload)
    return ManualImport(
        valid["importTaskId"],
        Overrides(
            name=valid.get("name"),
            semantic_version=valid.get("semanticVersion"),
            description=valid.get("description"),
            platform=valid.get("platform"),
            os_version=valid.get("osVersion"),
            tags=valid.get("tags", {}),
        ),
        dry_run=valid.get("dryRun", False),
    )
