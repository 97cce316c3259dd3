"""What the ledger keeps of the images that were asked for, by import task."""

import json
from collections.abc import Collection
from typing import NamedTuple, Self

from vm_image_import.ports import Fact, Ledger


class Registration(NamedTuple):
    """An image that was asked for, and whether people were told."""

    arn: str
    """Of its build version; empty where only the client token is known to be used: such an image cannot be followed."""
    ami_id: str
    told: bool = True
    """Whether the topic took the notice: it may refuse when the image is made already."""
    run: str = ""
    """The run that forced it, by its request id."""

    def as_record(self) -> str:
        """Return the ledger's value."""
        return json.dumps(self._asdict())

    @classmethod
    def of_record(cls, value: str) -> Self:
        """Return what `as_record` made the value of."""
        found = json.loads(value)
        # A later version of this program may have written more.
        return cls(**{key: found[key] for key in cls._fields if key in found})


def about(import_task_id: str, number: int) -> str:
    """Return what one registration of a task is about: all triggers share number 0, each that is forced is one more."""
    return f"{import_task_id} {number}" if number else import_task_id


def registrations(ledger: Ledger, import_task_ids: Collection[str]) -> dict[str, list[Registration]]:
    """Return what is recorded of each task, by number; of most tasks that is one registration or none."""
    found: dict[str, list[Registration]] = {task_id: [] for task_id in import_task_ids}
    asked = [*found]
    number = 0
    while asked:
        facts = {Fact("registered", about(task_id, number)): task_id for task_id in asked}
        records = ledger.known(facts)
        for fact, record in records.items():
            found[facts[fact]].append(Registration.of_record(record))
        asked = [facts[fact] for fact in records]
        number += 1
    return found
