"""What starts the function: an event of EventBridge, or a payload written by a person."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from vm_image_import.errors import InvalidTriggerError
from vm_image_import.models import Overrides


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
    """Answer the request that would be sent, and change nothing."""
    force: bool = False
    """Register once more what is registered already."""


@dataclass(frozen=True, slots=True)
class ImageEnded:
    """Image Builder says that an image became available, or failed. Any image: of an import or not."""

    image_arn: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """The schedule, or a person, asks to look at every finished import."""

    dry_run: bool = False


Trigger = AmiAvailable | ImageEnded | ManualImport | Sweep


def parse(event: object) -> Trigger:
    """Return the trigger that `event` is: the function's decoded input.

    Raises InvalidTriggerError, with every problem at once, for anything else.
    """
    if isinstance(event, dict) and "detail-type" in event:
        return _from_event_bridge(event)
    return _from_payload(event)


def _from_event_bridge(event: Mapping[str, object]) -> Trigger:
    kind = (event.get("source"), event["detail-type"])
    if kind not in _EVENTS:
        problem = f"No rule of this function sends {kind[1]!r} events of {kind[0]!r}: remove it from the other rule."
        raise InvalidTriggerError([problem])
    return _EVENTS[kind](event)


def _ami_available(event: Mapping[str, object]) -> AmiAvailable:
    detail, time = event.get("detail"), event.get("time")
    image_id = detail.get("ImageId") if isinstance(detail, dict) else None
    try:
        moment = datetime.fromisoformat(time if isinstance(time, str) else "")
    except ValueError:
        moment = None
    if not isinstance(image_id, str) or not image_id.startswith("ami-") or moment is None or moment.tzinfo is None:
        problem = "An EC2 AMI State Change event needs detail.ImageId and an ISO 8601 time with a zone: send it whole."
        raise InvalidTriggerError([problem])
    return AmiAvailable(image_id, moment)


def _image_ended(event: Mapping[str, object]) -> ImageEnded:
    match event.get("resources"):
        case [str(arn), *_] if ":imagebuilder:" in arn:
            return ImageEnded(arn)
    raise InvalidTriggerError(["An EC2 Image Builder Image State Change event needs the image's ARN in resources."])


_EVENTS: Final[Mapping[tuple[object, object], Callable[[Mapping[str, object]], Trigger]]] = {
    ("aws.ec2", "EC2 AMI State Change"): _ami_available,
    ("aws.imagebuilder", "EC2 Image Builder Image State Change"): _image_ended,
}


def _from_payload(payload: object) -> ManualImport | Sweep:
    # Only this path validates against a schema; an event should not wait for its import.
    from vm_image_import.payload import check, check_sweep  # noqa: PLC0415

    if isinstance(payload, dict) and "action" in payload:
        return Sweep(dry_run=check_sweep(payload).get("dryRun", False))
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
        force=valid.get("force", False),
    )
