"""The keys of the records, and the record of a registration."""

import json
from typing import Literal, NamedTuple, Self


class IdempotencyKey(NamedTuple):
    """What is done once: the kind of operation, and the id of what it is done for."""

    kind: Literal["version", "registered", "notified", "rejected", "terminal"]
    subject: str


class Registration(NamedTuple):
    """The record of an image that was requested from Image Builder."""

    arn: str
    """Of the image build version. Empty where an earlier invocation made the image and was ended before it could
    record its ARN."""
    ami_id: str
    notified: bool = True
    """Whether SNS accepted the notification. The image exists either way."""
    request_id: str = ""
    """Lambda's request id of the forced invocation that made it; empty for the first registration of a task."""

    def to_json(self) -> str:
        """Return the value of the record."""
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, value: str) -> Self:
        """Return the registration of a record's value. Keys that a later version of the function adds are ignored."""
        found = json.loads(value)
        return cls(**{key: found[key] for key in cls._fields if key in found})


class RegistrationId(NamedTuple):
    """The id of one registration of a task: number 0 is shared by all triggers, each forced one is one more."""

    import_task_id: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.import_task_id} {self.number}" if self.number else self.import_task_id
