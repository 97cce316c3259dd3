"""Reads that are eventually consistent: AWS answers them with its state of the last minutes."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from unittest import mock

from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.table import Table

from local.aws.image_builder import Image
from local.aws.local_aws import ACCOUNT
from tests.simulation.features import Feature
from tests.simulation.state import REGION, State, now

MAX_LAG: Final = timedelta(minutes=2)
"""Of Image Builder's lists (user guide)."""
_LIST: Final = "ListImageBuildVersions"
RECORDS: Final = "BatchGetItem, eventually consistent"


class Look(NamedTuple):
    """An image as it was at one moment."""

    image: Image
    state: dict[str, str]
    amis: list[dict[str, str]]


@dataclass(frozen=True)
class Snapshot:
    """What AWS showed at one moment."""

    time: datetime
    amis: frozenset[str] = frozenset()
    tasks: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    images: Mapping[str, Look] = field(default_factory=dict)
    records: Mapping[str, Any] = field(default_factory=dict)
    """The items of the idempotency table."""


@dataclass
class StaleReads:
    """The local AWS as it was at the last snapshots."""

    state: State
    _snapshots: list[Snapshot] = field(default_factory=lambda: [Snapshot(now())])
    """Those of the last two minutes, and the last one."""

    @property
    def snapshot(self) -> Snapshot:
        """The last snapshot."""
        return self._snapshots[-1]

    def take_snapshot(self) -> None:
        """Let stale reads show the present from now on. What is changed before the next one is changed now."""
        snapshot = Snapshot(
            now(),
            frozenset(self.state.ec2.amis),
            {task.id: task.answer for task in self.state.vm_import.tasks.values()},
            self._images(),
            copy.deepcopy(self._table().items),
        )
        self._snapshots = [*(each for each in self._snapshots if each.time > now() - MAX_LAG), snapshot]

    def looks(self, image: Image) -> list[Look]:
        """Return how an image looks in each list that Image Builder may answer; none if it may be missing in one."""
        if created(image) > now() - MAX_LAG or image.arn in self.state.hidden:
            return []
        found = [each.images.get(image.arn) for each in self._snapshots if each.time > now() - MAX_LAG]
        return [*filter(None, found), Look(image, image.state, image.amis)]

    @contextmanager
    def apply(self, operation: str, *, stale: bool) -> Iterator[None]:
        """Answer a request. Where it is stale, the snapshot answers it; a write is never stale."""
        if operation == _LIST:
            with self._show(self._listed_images()):
                yield
        elif operation == "GetImage":
            with self._show(self.snapshot.images if stale else self._images()):
                yield
        elif stale:
            with self._stale(operation):
                yield
        else:
            yield

    @contextmanager
    def _stale(self, operation: str) -> Iterator[None]:
        if operation == "DescribeImages":
            with self._stale_amis():
                yield
        elif operation == "DescribeImportImageTasks":
            with self._stale_tasks():
                yield
        elif operation == RECORDS:
            with mock.patch.object(self._table(), "items", self.snapshot.records):
                yield
        else:
            yield

    @contextmanager
    def _stale_amis(self) -> Iterator[None]:
        amis = {ami_id: ami for ami_id, ami in self.state.ec2.amis.items() if ami_id in self.snapshot.amis}
        with mock.patch.object(self.state.ec2, "amis", amis):
            yield

    @contextmanager
    def _stale_tasks(self) -> Iterator[None]:
        tasks = self.state.vm_import.tasks
        present = {task.id: task.answer for task in tasks.values()}
        for task_id, task in tasks.items():
            task.answer = self.snapshot.tasks.get(task_id, task.answer)
        yield
        for task_id, task in tasks.items():
            task.answer = present[task_id]

    def _table(self) -> Table:
        (table,) = dynamodb_backends[ACCOUNT][REGION].tables.values()
        return table

    def _images(self) -> dict[str, Look]:
        """Return the images as they are now, without those that are deleted and not shown any more."""
        images = self.state.image_builder.images
        return {
            arn: Look(image, image.state, image.amis) for arn, image in images.items() if arn not in self.state.hidden
        }

    def _listed_images(self) -> Mapping[str, Look]:
        """Return the images as they were at a time of the last two minutes."""
        if not self.state.has(Feature.LAGGING_LISTS):
            return self._images()
        since = now() - MAX_LAG * self.state.random.random()
        images = next((each.images for each in self._snapshots if each.time > since), self._images())
        return {arn: look for arn, look in images.items() if created(look.image) <= since}

    @contextmanager
    def _show(self, looks: Mapping[str, Look]) -> Iterator[None]:
        present = [(look.image, look.image.state, look.image.amis) for look in looks.values()]
        for look in looks.values():
            vars(look.image).update(state=look.state, amis=look.amis)
        with mock.patch.object(self.state.image_builder, "images", {arn: look.image for arn, look in looks.items()}):
            yield
        for image, state, amis in present:
            vars(image).update(state=state, amis=amis)


def created(image: Image) -> datetime:
    """Return when the image was created."""
    return datetime.fromisoformat(image.created)
