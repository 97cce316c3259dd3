"""Reads that are eventually consistent: AWS answers them with its state of the last minutes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from unittest import mock

from local.aws.image_builder import Image
from tests.simulation.features import Feature
from tests.simulation.state import State, now

MAX_LAG: Final = timedelta(minutes=2)
"""Of Image Builder's lists (user guide)."""
_LIST: Final = "ListImageBuildVersions"


@dataclass(frozen=True)
class Snapshot:
    """What EC2 and Image Builder showed at one moment."""

    amis: frozenset[str] = frozenset()
    tasks: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    image_states: Mapping[str, dict[str, str]] = field(default_factory=dict)


@dataclass
class StaleReads:
    """The local AWS as it was at the last snapshot."""

    state: State
    snapshot: Snapshot = field(default_factory=Snapshot)

    def take_snapshot(self) -> None:
        """Let stale reads show the present from now on."""
        self.snapshot = Snapshot(
            frozenset(self.state.ec2.amis),
            {task.id: task.answer for task in self.state.vm_import.tasks.values()},
            {arn: image.state for arn, image in self.state.image_builder.images.items()},
        )

    @contextmanager
    def apply(self, operation: str, *, stale: bool) -> Iterator[None]:
        """Answer a request. Where it is stale, the snapshot answers it; a write is never stale."""
        if self.state.has(Feature.LAGGING_LISTS) and operation == _LIST:
            with self._lagging_images():
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
        elif operation == "GetImage":
            with self._stale_images():
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

    @contextmanager
    def _lagging_images(self) -> Iterator[None]:
        image_builder = self.state.image_builder
        since = now() - MAX_LAG * self.state.random.random()
        listed = {arn: image for arn, image in image_builder.images.items() if created(image) <= since}
        with mock.patch.object(image_builder, "images", listed):
            yield

    @contextmanager
    def _stale_images(self) -> Iterator[None]:
        image_builder, states = self.state.image_builder, self.snapshot.image_states
        stale = {arn: image for arn, image in image_builder.images.items() if arn in states}
        present = {arn: image.state for arn, image in stale.items()}
        for arn, image in stale.items():
            image.state = states[arn]
        with mock.patch.object(image_builder, "images", stale):
            yield
        for arn, image in stale.items():
            image.state = present[arn]


def created(image: Image) -> datetime:
    """Return when the image was created."""
    return datetime.fromisoformat(image.created)
