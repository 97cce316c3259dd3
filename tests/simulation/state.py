"""What the parts of one history share: the random numbers of its seed, the virtual time, AWS, and what happened."""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple, cast

import boto3
import time_machine
from moto.ssm.models import ssm_backends

from local.aws import image_builder, vm_import
from local.aws.image_builder import ImageBuilderBackend
from local.aws.local_aws import ACCOUNT
from local.aws.vm_import import VmImportBackend
from tests.simulation.features import ON, Feature

REGION: Final = "us-east-1"
MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class Import:
    """One import, and the name and the version that its image must have, if it must have one."""

    task: str
    kind: str
    key: str
    name: str
    version: str | None
    """None where the scheme `increment` decides it."""
    excluded: bool = False
    """Whether onlyTasksTagged excludes it."""


class Notification(NamedTuple):
    """A notification that the function has tried to send."""

    deployment: int
    outcome: str
    text: str
    accepted: bool = True
    """Whether SNS accepted it."""


class Claim(NamedTuple):
    """A claim of a record."""

    owner: str
    """The token of its invocation."""
    until: datetime
    """When it ends, or long ago where it has ended."""


@dataclass
class State:
    """One history so far."""

    seed: int
    random: random.Random
    clock: time_machine.Traveller
    features: frozenset[Feature] = ON
    counts: Counter[str] = field(default_factory=Counter)
    """How often each thing happened."""
    imports: list[Import] = field(default_factory=list)

    faulty: bool = False
    """Whether calls fail, events are lost, and operators interfere."""
    slow: bool = False
    """Whether calls take up to the read timeout."""
    topic_refuses: bool = False
    """Whether SNS refuses each notification."""
    filtered: bool = False
    """Whether the deployment sets onlyTasksTagged."""
    follow_up: bool = False
    """Whether the deployment sets tagAmis and parameterPrefix."""
    follow_up_refused: bool = False
    """Whether the role may neither tag AMIs nor write parameters."""
    operators_tags: dict[str, str] = field(default_factory=dict)
    """The tag `Name` that operators gave to AMIs and snapshots, by their ids."""
    refused: dict[str, str] = field(default_factory=dict)
    """Tasks that Image Builder refuses at present, and the kind of the error."""

    deployment: int = 0
    """The number of times that the idempotency table was lost."""
    registrations: Counter[tuple[int, str]] = field(default_factory=Counter)
    """How often an invocation answered that it registered an image, by deployment and ARN."""
    recorded: dict[tuple[int, str], str] = field(default_factory=dict)
    """The task of each image whose registration was recorded, by deployment and ARN."""
    claims: dict[str, Claim] = field(default_factory=dict)
    """The last claim of each record, by the id of the record."""
    calls: Counter[str] = field(default_factory=Counter)
    """How often each operation was called."""
    attempts: list[Notification] = field(default_factory=list)
    """The notifications that reached SNS, in their order."""
    repeatable: Counter[str] = field(default_factory=Counter)
    """How often a notification with this text may be sent again, because it could not be recorded."""
    token_mismatches: set[str] = field(default_factory=set)
    """Tasks whose client token came with other values."""
    violations: list[str] = field(default_factory=list)
    """What must not happen in the course of a history, as problems of `invariants`."""
    deregistered: set[str] = field(default_factory=set)
    """Tasks whose AMI an operator deregistered."""
    forced: Counter[str] = field(default_factory=Counter)
    """Forced invocations by task."""
    unrecorded_images: set[str] = field(default_factory=set)
    """Images of manual invocations that ended by an error and that no sweep repeats: the operator has to."""
    overridden: set[str] = field(default_factory=set)
    """Tasks for which a manual invocation stated other values than those that are derived."""
    manual: set[str] = field(default_factory=set)
    """Tasks that a manual invocation was to register."""
    foreign_images: set[str] = field(default_factory=set)
    """ARNs of images that are of no import task."""
    others_images: set[str] = field(default_factory=set)
    """ARNs of images of the imports that another user has requested."""
    deleted: set[str] = field(default_factory=set)
    """ARNs of images that an operator deleted."""
    hidden: set[str] = field(default_factory=set)
    """Those of them that Image Builder does not show any more."""
    images_before_loss: set[str] = field(default_factory=set)
    """ARNs of the images that existed when the idempotency table was lost."""
    tokens_forgotten: bool = False
    """Whether Image Builder forgot client tokens when the idempotency table was lost."""

    @property
    def notifications(self) -> list[Notification]:
        """The notifications that SNS accepted."""
        return [each for each in self.attempts if each.accepted]

    @property
    def recorded_tasks(self) -> set[str]:
        """The tasks with a registration that is recorded."""
        return {task for (deployment, _), task in self.recorded.items() if deployment == self.deployment}

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

    @property
    def parameters(self) -> Any:  # noqa: ANN401 - moto's
        """The versions of each parameter, by its name."""
        return ssm_backends[ACCOUNT][REGION]._parameters  # noqa: SLF001 - there is no other way

    def has(self, feature: Feature) -> bool:
        """Return whether a feature is on."""
        return feature in self.features

    def find_import(self, task: str) -> Import | None:
        """Return the import with this task."""
        return next((each for each in self.imports if each.task == task), None)

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
