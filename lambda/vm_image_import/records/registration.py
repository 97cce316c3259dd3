"""The record of one import task: its registration, what followed it, and what was reported of it."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Self

from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.errors import InvalidRecordError
from vm_image_import.domain.models import IMPORT_TASK_ID, Disk, ImportTask

MAX_REGISTRATIONS: Final = 50
"""The most registrations of one task, with the one that is not forced."""

VERSION: Final = "version"
"""How the ids of the items begin that are claimed versions."""


class RegistrationId(NamedTuple):
    """The id of one registration of a task: number 0 is shared by all triggers, each forced one is one more."""

    import_task_id: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.import_task_id} {self.number}" if self.number else self.import_task_id

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the id that `str` returns as `text`. Raises ValueError where its number is none."""
        import_task_id, _, number = text.partition(" ")
        return cls(import_task_id, int(number or 0))


class Unverified(NamedTuple):
    """What a step has written, and not read back."""

    value: str
    time: datetime
    previous: str = ""
    """The value before it; empty where there was none."""


class Registration(NamedTuple):
    """An image that Image Builder has of an import, and the facts that the steps need when EC2 lists the task no more.

    A mapping of steps has the name of each step as key.
    """

    arn: str
    """Of the image build version."""
    ami_id: str
    time: datetime
    """When it was recorded, with a time zone."""
    task: ImportTask
    """Without its status, and with its boot disk as the only disk."""
    sources: Mapping[str, str] = {}
    """Where the parts of the request come from."""
    warnings: Sequence[str] = ()
    """What was unusual when it was registered."""
    adopted: bool = False
    """Whether the image existed already: an earlier deployment or another user registered it."""
    request_id: str = ""
    """Lambda's request id of the invocation that made it."""
    results: Mapping[str, str] = {}
    """The result of each step that has ended."""
    unverified: Mapping[str, Unverified] = {}
    """What each step has written last, and not read back."""
    problems: Mapping[str, str] = {}
    """The problem that was reported last of each step."""
    overdue: Mapping[str, datetime] = {}
    """Since when each step is tried whose time is over."""

    @property
    def build(self) -> BuildArn:
        """The ARN in its parts. Raises ValueError where Image Builder answered another ARN."""
        return BuildArn.parse(self.arn)


class Record(NamedTuple):
    """What the table has of one import task, or of one of its forced registrations."""

    registration: Registration | None = None
    reported: str = ""
    """The outcome that was reported last, without a registration (`Outcome.report`)."""
    first_seen: Mapping[str, datetime] = {}
    """When what must last for a while was first seen, or when something was done, by what it is."""
    unreadable: InvalidRecordError | None = None
    """Why the registration cannot be read."""

    def readable(self) -> Self:
        """Return this record. Raises InvalidRecordError where its registration cannot be read."""
        if self.unreadable:
            raise self.unreadable
        return self

    def to_json(self) -> str:
        """Return the registration and the times as text."""
        registration = self.registration and _to_dict(self.registration)
        return json.dumps({"registration": registration, "firstSeen": self.first_seen}, default=_to_text)


def parse_record(id_: str, text: str | None, reported: str) -> Record:
    """Return the record of an item's attributes. A registration that cannot be read is in `unreadable`."""
    try:
        found = {} if text is None else json.loads(text)
        registration = found.get("registration")
        first_seen = {what: _parse_time(time) for what, time in found.get("firstSeen", {}).items()}
        return Record(None if registration is None else _parse_registration(registration), reported, first_seen)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        return Record(reported=reported, unreadable=unreadable(id_, error))


def _parse_registration(found: Mapping[str, Any]) -> Registration:
    """Return a registration. What a later version of the function adds to it is ignored."""
    parsed = {
        "ami_id": _text(found["ami_id"]),
        "time": _parse_time(found["time"]),
        "task": _parse_task(found["task"]),
        "warnings": tuple(map(_text, found.get("warnings", ()))),
        "adopted": found.get("adopted") is True,
        "unverified": {
            step: Unverified(_text(value), _parse_time(time), *map(_text, previous[:1]))
            for step, (value, time, *previous) in found["unverified"].items()
        },
    }
    parsed["overdue"] = {step: _parse_time(time) for step, time in found.get("overdue", {}).items()}
    parsed |= {field: _texts(found.get(field, {})) for field in ("sources", "results", "problems")}
    registration = Registration(**_known(Registration, found, parsed))
    BuildArn.parse(registration.arn)
    return registration


def _parse_task(found: Mapping[str, Any]) -> ImportTask:
    parsed = {
        "id": _text(found["id"]),
        "disks": tuple(Disk(**_known(Disk, disk, {})) for disk in found["disks"]),
        "tags": _texts(found.get("tags", {})),
    }
    return ImportTask(**_known(ImportTask, found, parsed))


def _known(
    kind: type[Registration | ImportTask | Disk], found: Mapping[str, Any], parsed: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields of a kind: those that are parsed, and the texts. Raises TypeError for what is none."""
    texts = {key: value for key, value in found.items() if key in kind._fields and key not in parsed}
    return {**{key: value if value is None else _text(value) for key, value in texts.items()}, **parsed}


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    message = f"{value!r} is no text"
    raise TypeError(message)


def _texts(found: Mapping[str, object]) -> dict[str, str]:
    return {key: _text(value) for key, value in found.items()}


def _parse_time(text: str) -> datetime:
    """Return a time with a time zone: without one it can be compared with no other. Raises ValueError or TypeError."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        message = f"{text!r} has no time zone"
        raise ValueError(message)
    return time


def _to_dict(registration: Registration) -> dict[str, Any]:
    task = registration.task
    disks = [disk._asdict() for disk in task.disks]
    return {**registration._asdict(), "task": {**task._asdict(), "disks": disks}}


def _to_text(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError


def unreadable(id_: str, reason: object) -> InvalidRecordError:
    """Return the error of an item that cannot be read, which names it."""
    return InvalidRecordError(
        f"The record {id_!r} cannot be read ({reason}): delete the item with this id from the idempotency table."
        f"{_what_follows(id_)}"
    )


def _what_follows(id_: str) -> str:
    """Return what follows the deletion of an item, as a sentence with a space before it."""
    first, _, number = id_.partition(" ")
    if first == VERSION:
        return " The version is then free, unless Image Builder lists an image of it."
    if not IMPORT_TASK_ID.fullmatch(first):
        return ""
    if number:
        return " The image stays in Image Builder: no sweep looks for the image of a forced registration."
    return " The next sweep then looks for the image in Image Builder."
