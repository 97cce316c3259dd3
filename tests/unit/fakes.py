"""AWS in memory, for the tests of the use cases. It contains only what a test puts there, and fails on demand."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from vm_image_import.aws import Ec2, ImageBuilder, ParameterStore, TaskPage, Topic
from vm_image_import.clients import Clients
from vm_image_import.errors import InProgressError, InvalidRecordError
from vm_image_import.events import AmiAvailable, ManualImport
from vm_image_import.idempotency.records import (
    MAX_REGISTRATIONS,
    IdempotencyKey,
    Registration,
    RegistrationId,
    parse_registration,
)
from vm_image_import.idempotency.store import Claim, IdempotencyStore, Registrations
from vm_image_import.models import (
    Ami,
    AwsEnvironment,
    Disk,
    Image,
    ImageRequest,
    ImportBuild,
    ImportTask,
    Invocation,
    Outcome,
    Overrides,
    SweepResult,
)
from vm_image_import.register import Registrar
from vm_image_import.settings import Settings
from vm_image_import.sweep import Sweeper
from vm_image_import.track import ImageTracker

TASK_ID = "import-ami-fg4d51t0"
NOW = datetime(2026, 11, 23, 10, 15, tzinfo=UTC)
AMI = Ami(id="ami-0abcdef1234567890", created=NOW, name=TASK_ID)
TASK = ImportTask(
    id=TASK_ID, status="completed", image_id=AMI.id, disks=(Disk(bucket="b", key="web-server-1.4.2.ova"),)
)
ARN = "arn:aws:imagebuilder:us-east-1:123456789012:image/web-server/1.4.2/1"
ENVIRONMENT = AwsEnvironment("aws", "us-east-1", "123456789012")
REGISTERED = IdempotencyKey("registered", TASK_ID)


class Published(NamedTuple):
    """A notification that the topic accepted."""

    subject: str
    message: str
    outcome: str


@dataclass
class InMemoryAws:
    """One account, and the function in it."""

    task: ImportTask | None = None
    ami: Ami | None = None
    settings: Settings = field(default_factory=Settings)
    image: Image | None = None
    pages: list[Sequence[ImportTask] | Exception] | None = None
    """What EC2 lists as ended; by default the task."""
    builds: dict[str, list[ImportBuild]] = field(default_factory=dict)
    """What Image Builder lists of imports, by task."""
    age: timedelta = timedelta(0)
    """The time since the AMI was created, for sweeps and manual invocations."""
    versions: tuple[str, ...] = ()
    import_error: Exception | None = None
    publish_error: Exception | None = None
    errors: dict[str, Exception] = field(default_factory=dict)
    """By the id of the task or AMI, or the ARN of the image, that is read."""
    in_progress: set[IdempotencyKey] = field(default_factory=set)
    """What another invocation has claimed."""
    calls: list[str] = field(default_factory=list)
    reads: int = 0
    """How often the records were read."""
    requests: list[ImageRequest] = field(default_factory=list)
    """Those that Image Builder accepted."""
    published: list[Published] = field(default_factory=list)
    records: dict[IdempotencyKey, str] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of AMIs and snapshots that exist beside the AMI and its snapshots, too."""
    gone: set[str] = field(default_factory=set)
    """Ids of AMIs and snapshots to which no tag can be added."""
    parameters: dict[str, str] = field(default_factory=dict)
    newest: Image | None = None
    """What Image Builder returns for `x.x.x`."""
    calls_in_time: int = 10_000
    """The function has time for so many calls of EC2 and Image Builder in a sweep."""

    def on_event(self, age: timedelta = timedelta(seconds=1), image_id: str = AMI.id) -> Outcome:
        """Handle the event of an AMI of that age."""
        return self._registrar(age=age).register_ami(AmiAvailable(image_id, NOW))

    def manually(
        self,
        overrides: Overrides | None = None,
        request_id: str = "request-1",
        *,
        dry_run: bool = False,
        force: bool = False,
    ) -> Outcome:
        """Handle a manual invocation."""
        trigger = ManualImport(TASK_ID, overrides or Overrides(), dry_run=dry_run, force=force)
        return self._registrar(request_id, self.age).register_manually(trigger)

    def by_sweep(self, *, dry_run: bool = False) -> Outcome:
        """Handle the task as a sweep does that finds it without a record."""
        assert self.task
        return self._registrar(age=self.age).register_ended(self.task, dry_run=dry_run)

    def sweep(self, *, dry_run: bool = False) -> SweepResult:
        """Handle a sweep."""
        invocation = Invocation(ENVIRONMENT, "sweep", NOW + self.age, Remaining(self, len(self.calls)))
        return Sweeper(self.clients(), invocation).sweep(dry_run=dry_run)

    def check(self, arn: str = ARN) -> Outcome:
        """Check a registered image."""
        return ImageTracker(self.clients(), self.invocation()).check(arn)

    def on_image_event(self, arn: str = ARN) -> Outcome:
        """Handle the event of an image."""
        return ImageTracker(self.clients(), self.invocation()).check_event(arn)

    def outcomes_published(self) -> list[str]:
        """Return the outcomes of the notifications."""
        return [each.outcome for each in self.published]

    def clients(self) -> Clients:
        """Return the clients of a new execution environment."""
        clients = Clients(self.settings)
        clients.ec2 = InMemoryEc2(self)
        clients.image_builder = InMemoryImageBuilder(self)
        clients.parameter_store = InMemoryParameterStore(self)
        clients.topic = InMemoryTopic(self)
        clients.idempotency_store = InMemoryStore(self)
        return clients

    def invocation(self, request_id: str = "event", age: timedelta = timedelta(0)) -> Invocation:
        """Return an invocation with much time, this long after the AMI was created."""
        return Invocation(ENVIRONMENT, request_id, NOW + age, lambda: 300_000)

    def _registrar(self, request_id: str = "event", age: timedelta = timedelta(0)) -> Registrar:
        return Registrar(self.clients(), self.invocation(request_id, age))

    def called(self, name: str, argument: str) -> None:
        """Note a call, and fail on demand."""
        self.calls.append(f"{name} {argument}")
        if argument in self.errors:
            raise self.errors[argument]


@dataclass
class Remaining:
    """The remaining time of an invocation, which ends after so many calls."""

    aws: InMemoryAws
    calls_before: int

    def __call__(self) -> int:
        """Return it in milliseconds."""
        return 300_000 if len(self.aws.calls) - self.calls_before < self.aws.calls_in_time else 0


class InMemoryEc2(Ec2):
    """EC2."""

    def __init__(self, aws: InMemoryAws) -> None:
        self._aws = aws

    def find_task(self, import_task_id: str) -> ImportTask | None:
        self._aws.called("find_task", import_task_id)
        return self._aws.task if self._aws.task and self._aws.task.id == import_task_id else None

    def list_ended_tasks(self, next_token: str | None) -> TaskPage:
        pages = self._aws.pages if self._aws.pages is not None else [[self._aws.task] if self._aws.task else []]
        number = int(next_token or 0)
        page = pages[number]
        if isinstance(page, Exception):
            raise page
        return TaskPage(page, str(number + 1) if number + 1 < len(pages) else None)

    def find_ami(self, image_id: str) -> Ami | None:
        self._aws.called("find_ami", image_id)
        return self._aws.ami if self._aws.ami and self._aws.ami.id == image_id else None

    def find_ami_named(self, name: str) -> Ami | None:
        self._aws.called("find_ami_named", name)
        return self._aws.ami if self._aws.ami and self._aws.ami.name == name else None

    def find_tags(self, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        self._aws.called("find_tags", " ".join(ids))
        return {id_: {**self._aws.tags[id_]} for id_ in ids if id_ in self._aws.tags}

    def create_tags(self, ids: Sequence[str], tags: Mapping[str, str]) -> bool:
        self._aws.called("create_tags", " ".join(ids))
        if self._aws.gone & {*ids}:
            return False
        for id_ in ids:
            self._aws.tags[id_] = {**self._aws.tags.get(id_, {}), **tags}
        return True


class InMemoryParameterStore(ParameterStore):
    """Parameter Store."""

    def __init__(self, aws: InMemoryAws) -> None:
        self._aws = aws

    def find(self, name: str) -> str | None:
        self._aws.called("find_parameter", name)
        return self._aws.parameters.get(name)

    def put_ami(self, name: str, ami_id: str, description: str) -> None:
        self._aws.called("put_parameter", name)
        assert description
        self._aws.parameters[name] = ami_id


class InMemoryImageBuilder(ImageBuilder):
    """Image Builder, with at most one image."""

    def __init__(self, aws: InMemoryAws) -> None:
        self._aws = aws

    def list_versions(self, arn: str, name: str) -> list[str]:
        self._aws.called("list_versions", f"{arn} {name}")
        return [*self._aws.versions]

    def import_vm_image(self, request: ImageRequest) -> str:
        self._aws.called("import_vm_image", request.import_task_id)
        if self._aws.import_error:
            raise self._aws.import_error
        self._aws.requests.append(request)
        return ARN

    def list_import_builds(self) -> dict[str, list[ImportBuild]]:
        self._aws.calls.append("list_import_builds")
        return self._aws.builds

    def find_image(self, arn: str) -> Image | None:
        self._aws.called("find_image", arn)
        return self._aws.newest if arn.endswith("/x.x.x") else self._aws.image


class InMemoryTopic(Topic):
    """SNS."""

    def __init__(self, aws: InMemoryAws) -> None:
        self._aws = aws

    def publish(self, subject: str, message: str, outcome: str) -> None:
        if self._aws.publish_error:
            raise self._aws.publish_error
        self._aws.published.append(Published(subject, json.loads(message)["default"], outcome))


class InMemoryStore(IdempotencyStore):
    """The records."""

    def __init__(self, aws: InMemoryAws) -> None:
        self._aws = aws

    @contextmanager
    def claim(self, key: IdempotencyKey, invocation: Invocation) -> Iterator[Claim]:  # noqa: ARG002 - the signature of the store
        if key in self._aws.in_progress:
            message = f"Another invocation is processing {key.subject}."
            raise InProgressError(message)
        claim = Claim(completed=self._aws.records.get(key))
        yield claim
        if claim.result is not None:
            self._aws.records[key] = claim.result

    def release(self, key: IdempotencyKey, result: str) -> None:
        if self._aws.records.get(key) == result:
            del self._aws.records[key]

    def get_registrations(self, import_task_ids: Collection[str]) -> Registrations:
        self._aws.reads += 1
        by_task: dict[str, dict[int, Registration]] = {task_id: {} for task_id in import_task_ids}
        unreadable: dict[str, InvalidRecordError] = {}
        for id_ in (RegistrationId(task_id, number) for task_id in by_task for number in range(MAX_REGISTRATIONS)):
            try:
                if id_.key in self._aws.records:
                    by_task[id_.import_task_id][id_.number] = parse_registration(id_, self._aws.records[id_.key])
            except InvalidRecordError as error:
                unreadable[id_.import_task_id] = error
        return Registrations(by_task, unreadable)

    def get_completed(self, keys: Iterable[IdempotencyKey]) -> dict[IdempotencyKey, str]:
        self._aws.reads += 1
        return {key: self._aws.records[key] for key in keys if key in self._aws.records}
