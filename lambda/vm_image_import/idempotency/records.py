"""The keys of the records, and the record of a registration."""

import hashlib
import json
from typing import Final, Literal, NamedTuple

from vm_image_import.errors import InvalidRecordError

MAX_REGISTRATIONS: Final = 50
"""The most registrations of one task."""


class IdempotencyKey(NamedTuple):
    """What is done once: the kind of operation, and the id of what it is done for."""

    kind: Literal[
        "version",
        "registered",
        "rejected",
        "observed",
        "searched",
        "image-not-found",
        "tagged",
        "not-tagged",
        "terminal",
        "parameter",
        "parameter-not-written",
    ]
    subject: str

    @property
    def record_id(self) -> str:
        """The id of the record, as Powertools documents it: the prefix, and a hash of the data."""
        data = json.dumps({"subject": self.subject})
        return f"{self.kind}#{hashlib.md5(data.encode(), usedforsecurity=False).hexdigest()}"


class RegistrationId(NamedTuple):
    """The id of one registration of a task: number 0 is shared by all triggers, each forced one is one more."""

    import_task_id: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.import_task_id} {self.number}" if self.number else self.import_task_id

    @property
    def key(self) -> IdempotencyKey:
        """The key of the registration's record."""
        return IdempotencyKey("registered", str(self))


class Registration(NamedTuple):
    """The record of an image that was requested from Image Builder."""

    arn: str
    """Of the image build version."""
    ami_id: str
    tagged: bool = False
    """Whether the AMI and its snapshots were tagged at once."""
    request_id: str = ""
    """Lambda's request id of the forced invocation that made it; empty for the first registration of a task."""

    def to_json(self) -> str:
        """Return the value of the record."""
        return json.dumps(self._asdict())


def parse_registration(id_: RegistrationId, value: str) -> Registration:
    """Return the registration of a record's value. Keys that a later version of the function adds are ignored.

    Raises InvalidRecordError where the value is none that `to_json` returns.
    """
    try:
        found = json.loads(value)
    except ValueError as error:
        raise invalid_record(id_.key, error) from error
    match found:
        case {"arn": str(arn), "ami_id": str()} if arn:
            return Registration(**{key: found[key] for key in Registration._fields if key in found})
    raise invalid_record(id_.key, "it has no ARN or no AMI")


def invalid_record(key: IdempotencyKey, reason: object) -> InvalidRecordError:
    """Return the error for a record that cannot be read; it says which item of the table to delete."""
    return InvalidRecordError(
        f"The idempotency record of {key.kind} {key.subject} cannot be read ({reason}): delete the item with the id"
        f" {key.record_id} from the table. The next sweep then looks for the image in Image Builder."
    )
