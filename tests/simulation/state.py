"""What the parts of one history share: the random numbers of its seed, the virtual time, AWS, and what happened."""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, cast

import boto3
import time_machine

from local.aws import image_builder, vm_import
from local.aws.image_builder import ImageBuilderBackend
from local.aws.local_aws import ACCOUNT
from local.aws.vm_import import VmImportBackend

REGION: Final = "us-east-1"
MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class Import:
    """One import, and the name and the version that its image must have, if it must have one."""

    task: str
    kind: str
    key: str
    name: str
    version: str


@dataclass
class State:
    """One history so far."""

    seed: int
    random: random.Random
    clock: time_machine.Traveller
    counts: Counter[str] = field(default_factory=Counter)
    """How often each thing happened."""
    imports: list[Import] = field(default_factory=list)

    faulty: bool = False
    """Whether calls fail, events are lost, and operators interfere."""
    slow: bool = False
    """Whether calls take up to the read timeout."""
    topic_refuses: bool = False
    """Whether SNS refuses each notification."""

    notifications: list[tuple[str, str]] = field(default_factory=list)
    """Outcome and text of each notification that SNS accepted."""
    repeatable: Counter[str] = field(default_factory=Counter)
    """How often a notification with this text may be sent again, because it could not be recorded."""
    token_mismatches: set[str] = field(default_factory=set)
    """Tasks whose client token came with other values."""
    violations: list[str] = field(default_factory=list)
    """Requests that break a limit of ImportVmImage, and writes of a dry run."""
    deregistered: set[str] = field(default_factory=set)
    """Tasks whose AMI an operator deregistered."""
    forced: Counter[str] = field(default_factory=Counter)
    """Forced invocations by task."""
    unrecorded_images: set[str] = field(default_factory=set)
    """Images of forced invocations that ended by an error: the operator has to force the import again."""
    overridden: set[str] = field(default_factory=set)
    """Tasks for which a manual invocation stated other values than those that are derived."""

    @property
    def vm_import(self) -> VmImportBackend:
        """The import tasks of the local AWS."""
        return vm_import.backends[ACCOUNT][REGION]

    @property
    def image_builder(self) -> ImageBuilderBackend:
        """The images of the local AWS."""
        return image_builder.backends[ACCOUNT][REGION]

    @property
    def ec2(self) -> Any:  # noqa: ANN401 - moto's backend, whose dictionaries are changed here
        """The AMIs and the tags of the local AWS."""
        return self.vm_import.ec2

    def wait(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.clock.shift(seconds)


def now() -> datetime:
    """Return the virtual time."""
    return datetime.now(UTC)


@cache
def client(service: str) -> Any:  # noqa: ANN401 - the type depends on the name of the service
    """Return an operator's client. Creating one takes longer than a history."""
    return boto3.client(cast("Any", service))
