"""AWS in memory, for the tests of the use cases. It contains only what a test puts there, and fails on demand."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import NamedTuple

from vm_image_import.aws.ec2 import Ec2, TaskPage
from vm_image_import.aws.image_builder import ImageBuilder, ImportAnswer
from vm_image_import.aws.sns import Topic
from vm_image_import.aws.ssm import AMI as AMI_TYPE
from vm_image_import.aws.ssm import Parameter, ParameterStore
from vm_image_import.deadline import Deadline
from vm_image_import.derive import names
from vm_image_import.domain.errors import InProgressError, TransientError
from vm_image_import.domain.models import (
    DELETE,
    SUPERSEDED,
    Ami,
    AwsEnvironment,
    Build,
    Disk,
    Image,
    ImageRequest,
    ImportTask,
    Overrides,
)
from vm_image_import.domain.outcomes import Outcome, SweepResult
from vm_image_import.domain.retention import is_of, newest_builds
from vm_image_import.events import AmiAvailable, ManualImport
from vm_image_import.imports.ami_event import on_ami_event
from vm_image_import.imports.image_event import on_image_event
from vm_image_import.imports.manual import on_manual_invocation
from vm_image_import.imports.sweep import sweep
from vm_image_import.invocation import Clients, Invocation
from vm_image_import.records.registration import Record, Registration, parse_record
from vm_image_import.records.store import Claim, Store, Taken
from vm_image_import.settings import Settings

TASK_ID = "import-ami-fg4d51t0"
NOW = datetime(2026, 11, 23, 10, 15, tzinfo=UTC)
AMI = Ami(id="ami-0abcdef1234567890", created=NOW, name=TASK_ID)
TASK = ImportTask(
    id=TASK_ID, status="completed", image_id=AMI.id, disks=(Disk(bucket="b", key="web-server-1.4.2.ova"),)
)
ARN = "arn:aws:imagebuilder:us-east-1:123456789012:image/web-server/1.4.2/1"
PENDING = Image(ARN, status="PENDING", tagged_task_id=TASK_ID)
AVAILABLE = Image(ARN, status="AVAILABLE", ami_id=AMI.id, tagged_task_id=TASK_ID)
ENVIRONMENT = AwsEnvironment("aws", "us-east-1", "123456789012")
SWEEP = "sweep"


def version_arn(version: str, name: str = "web-server", build: int = 1) -> str:
    """Return the ARN of a build version."""
    return f"arn:aws:imagebuilder:us-east-1:123456789012:image/{name}/{version}/{build}"


class Published(NamedTuple):
    """A notification that the topic accepted."""

    subject: str
    message: str
    outcome: str
    raw: str = ""
    """The message with all forms."""


class Item(NamedTuple):
    """An item of the table."""

    data: str | None = None
    reported: str = ""
    is_open: bool = False


@dataclass
class InMemoryAws:
    """One account, and the function in it."""

    task: ImportTask | None = None
    ami: Ami | None = None
    settings: Settings = field(default_factory=Settings)
    other_ami: Ami | None = None
    """One more AMI."""
    other_task: ImportTask | None = None
    """One more task, which EC2 lists only in `pages`."""
    image: Image | None = PENDING
    """The image that Image Builder shows by its ARN."""
    pages: list[Sequence[ImportTask] | Exception] | None = None
    """What EC2 lists; by default the task."""
    builds: list[Build] = field(default_factory=list)
    """What Image Builder lists."""
    builds_after_request: list[Build] | None = None
    """What Image Builder lists once it was asked for an image."""
    builds_error: Exception | None = None
    current_builds: list[Build] | None = None
    """What Image Builder knows, where its list is late; by default what it lists, and the registered image."""
    age: timedelta = timedelta(0)
    """The time since the AMI was created, for sweeps and manual invocations."""
    elapsed: timedelta = timedelta(0)
    """The time since the invocation began."""
    import_error: Exception | None = None
    publish_error: Exception | None = None
    errors: dict[str, Exception] = field(default_factory=dict)
    """By the id of the task or AMI, the ARN of the image, or the name of the parameter, that is read."""
    in_progress: set[str] = field(default_factory=set)
    """The ids of the records that another invocation has claimed."""
    calls: list[str] = field(default_factory=list)
    reads: int = 0
    """How often the records were read."""
    consistent_reads: int = 0
    """How often they were read at the double price."""
    writes: int = 0
    """How often a record was claimed."""
    requests: list[ImageRequest] = field(default_factory=list)
    """Those that Image Builder accepted."""
    images_by_token: dict[str, str] = field(default_factory=dict)
    """The ARN of the image that was made for each client token."""
    published: list[Published] = field(default_factory=list)
    items: dict[str, Item] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of AMIs and snapshots."""
    gone: set[str] = field(default_factory=set)
    """Ids of AMIs and snapshots that do not exist: no tag can be added to them."""
    parameters: dict[str, str] = field(default_factory=dict)
    """By default, the function wrote them."""
    parameter_types: dict[str, str] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    keeps_parameters: bool = True
    """Whether Systems Manager keeps what is written."""
    calls_in_time: int = 10_000
    """The function has time for so many calls of EC2 and Image Builder in an invocation."""
    slept: float = 0
    """Seconds."""
    ami_after_sleep: Ami | None = None
    """The AMI, once the function has waited."""
    task_after_sleep: ImportTask | None = None
    """The task, once the function has waited."""
    outcomes: list[Outcome] = field(default_factory=list)
    """Those of the last invocation, or of the last attempt of it."""

    def on_event(self, age: timedelta | None = None, image_id: str = AMI.id) -> Outcome:
        """Handle the event of an AMI of that age."""
        return self._first(on_ami_event(AmiAvailable(image_id, NOW), self.invocation(age=age)))

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
        return self._first(on_manual_invocation(trigger, self.invocation(request_id)))

    def sweep(self, *, dry_run: bool = False) -> SweepResult:
        """Handle a sweep."""
        return sweep(self.invocation("sweep"), dry_run=dry_run)

    def by_sweep(self, *, dry_run: bool = False) -> Outcome:
        """Handle a sweep, and return its first outcome."""
        return self.sweep(dry_run=dry_run).outcomes[0]

    def on_image_event(self, arn: str = ARN) -> Outcome:
        """Handle the event of an image."""
        return self._first(on_image_event(arn, self.invocation()))

    def outcomes_published(self) -> list[str]:
        """Return the outcomes of the notifications."""
        return [each.outcome for each in self.published]

    def record(self, id_: str = TASK_ID) -> Record:
        """Return a record."""
        item = self.items.get(id_, Item())
        return parse_record(id_, item.data, item.reported)

    def registration(self, id_: str = TASK_ID) -> Registration:
        """Return a registration that is recorded."""
        registration = self.record(id_).registration
        assert registration
        return registration

    def put(self, record: Record, id_: str = TASK_ID, *, is_open: bool = True) -> None:
        """Put a record into the table."""
        self.items[id_] = Item(record.to_json(), record.reported, is_open)

    def put_registration(self, id_: str = TASK_ID, **changes: object) -> None:
        """Put a registration into the table."""
        task = TASK._replace(id=id_.partition(" ")[0])
        known = {"arn": ARN, "ami_id": AMI.id, "time": NOW, "task": task}
        self.put(Record(Registration(**{**known, **changes})), id_)  # type: ignore[arg-type]

    def known_builds(self) -> list[Build]:
        """Return what Image Builder knows."""
        if self.current_builds is not None:
            return self.current_builds
        registration = self.record().registration
        if registration is None or self.image is None:
            return self.builds
        itself = Build(registration.arn, self.image.status, is_import=True)
        return [*(build for build in self.builds if build.arn != itself.arn), itself]

    def change_marks(self, arn: str, tags: Mapping[str, str | None]) -> bool:
        """Change the marks of a build, and return whether it exists."""
        changed = [
            build._replace(
                marks=build.marks._replace(
                    superseded=tags.get(SUPERSEDED, build.marks.superseded), delete=tags.get(DELETE, build.marks.delete)
                )
            )
            for build in self.builds
            if build.arn == arn
        ]
        self.builds = [each for each in self.builds if each.arn != arn] + changed
        known = self.builds if self.current_builds is None else self.current_builds
        return any(build.arn == arn for build in known)

    def clients(self) -> Clients:
        """Return the clients of a new execution environment."""
        clients = Clients(self.settings)
        clients.ec2 = InMemoryEc2(self)
        clients.image_builder = InMemoryImageBuilder(self)
        clients.parameter_store = InMemoryParameterStore(self)
        clients.topic = InMemoryTopic(self)
        clients.store = InMemoryStore(self)
        return clients

    def invocation(self, request_id: str = "event", age: timedelta | None = None) -> Invocation:
        """Return an invocation, this long after the AMI was created."""
        began = NOW + (self.age if age is None else age)
        return Invocation(
            self.clients(),
            ENVIRONMENT,
            request_id,
            began,
            Deadline(Remaining(self, len(self.calls))),
            self._sleep,
            lambda: began + self.elapsed,
        )

    def _first(self, outcomes: Iterator[Outcome]) -> Outcome:
        self.outcomes = [*outcomes]
        return self.outcomes[0]

    def _sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.task, self.ami = self.task_after_sleep or self.task, self.ami_after_sleep or self.ami

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
        tasks = (self._aws.task, self._aws.other_task)
        return next((task for task in tasks if task and task.id == import_task_id), None)

    def list_tasks(self, next_token: str | None) -> TaskPage:
        pages = self._aws.pages if self._aws.pages is not None else [[self._aws.task] if self._aws.task else []]
        number = int(next_token or 0)
        page = pages[number]
        if isinstance(page, Exception):
            raise page
        return TaskPage(page, str(number + 1) if number + 1 < len(pages) else None)

    def find_ami(self, image_id: str) -> Ami | None:
        self._aws.called("find_ami", image_id)
        return next((ami for ami in (self._aws.ami, self._aws.other_ami) if ami and ami.id == image_id), None)

    def find_available(self, ids: Collection[str], deadline: Deadline) -> set[str]:  # noqa: ARG002 - the signature of EC2
        if ids:
            self._aws.called("find_available", " ".join(sorted(ids)))
        return {*ids} - self._aws.gone - (set() if self._aws.ami else {AMI.id})

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

    def find(self, name: str) -> Parameter | None:
        self._aws.called("find_parameter", name)
        value = self._aws.parameters.get(name)
        return None if value is None else Parameter(value, self._aws.parameter_types.get(name, AMI_TYPE))

    def find_description(self, name: str) -> str:
        self._aws.called("find_description", name)
        default = f"The AMI of {version_arn('x.x.x', name.rpartition('/')[2]).removesuffix('/1')}"
        return self._aws.descriptions.get(name, default)

    def put_ami(self, name: str, ami_id: str, description: str, *, overwrite: bool) -> None:
        self._aws.called("put_parameter", name)
        if name in self._aws.parameters and not overwrite:
            message = f"{name} exists."
            raise TransientError(message)
        self._aws.descriptions[name] = description
        if self._aws.keeps_parameters:
            self._aws.parameters[name] = ami_id


class InMemoryImageBuilder(ImageBuilder):
    """Image Builder."""

    def __init__(self, aws: InMemoryAws) -> None:
        self._aws = aws

    def import_vm_image(self, request: ImageRequest) -> ImportAnswer:
        self._aws.called("import_vm_image", request.import_task_id)
        if self._aws.builds_after_request is not None:
            self._aws.builds = self._aws.builds_after_request
        if self._aws.import_error:
            raise self._aws.import_error
        self._aws.requests.append(request)
        taken = {*self._aws.images_by_token.values(), *(build.arn for build in self._aws.builds)}
        name, version = names.arn_name(request.name), request.semantic_version
        free = (arn for number in count(1) if (arn := version_arn(version, name, number)) not in taken)
        return ImportAnswer(self._aws.images_by_token.setdefault(request.client_token, next(free)), "request-id")

    def list_builds(self, deadline: Deadline) -> Iterator[Build]:  # noqa: ARG002 - the signature of Image Builder
        self._aws.calls.append("list_builds")
        if self._aws.builds_error:
            raise self._aws.builds_error
        return iter(self._aws.builds)

    def find_image(self, arn: str) -> Image | None:
        self._aws.called("find_image", arn)
        if arn.endswith("/x.x.x"):
            builds = [build for build in self._aws.known_builds() if is_of(build, ARN.split(":")[4])]
            newest = newest_builds(builds).get(arn.split("/")[1])
            return Image(newest, status="AVAILABLE") if newest else None
        return self._aws.image and self._aws.image._replace(arn=arn)

    def tag(self, arn: str, tags: Mapping[str, str]) -> bool:
        self._aws.called("tag", arn)
        return self._aws.change_marks(arn, tags)

    def untag(self, arn: str, keys: Sequence[str]) -> bool:
        self._aws.called("untag", arn)
        return self._aws.change_marks(arn, dict.fromkeys(keys))


class InMemoryTopic(Topic):
    """SNS."""

    def __init__(self, aws: InMemoryAws) -> None:
        self._aws = aws

    def publish(self, subject: str, message: str, outcome: str) -> None:
        if self._aws.publish_error:
            raise self._aws.publish_error
        self._aws.published.append(Published(subject, json.loads(message)["default"], outcome, message))


class InMemoryStore(Store):
    """The records."""

    def __init__(self, aws: InMemoryAws) -> None:
        self._aws = aws

    @contextmanager
    def claim(self, id_: object, deadline: Deadline) -> Iterator[Claim]:  # noqa: ARG002 - the signature of the store
        key = str(id_)
        if key in self._aws.in_progress:
            message = f"Another invocation is processing {key}."
            raise InProgressError(message)
        self._aws.writes += 1
        self._aws.in_progress.add(key)
        try:
            yield Claim(self, key, "owner", self._aws.record(key))
        finally:
            self._aws.in_progress.discard(key)

    def save(self, id_: str, owner: str, record: Record, *, is_open: bool) -> None:
        assert owner
        if record.unreadable:
            self._aws.items[id_] = self._aws.items[id_]._replace(reported=record.reported)
        else:
            self._aws.put(record, id_, is_open=is_open)

    def read(self, ids: Iterable[object], *, consistent: bool = True) -> dict[str, Record]:
        self._aws.reads += 1
        self._aws.consistent_reads += consistent
        return {id_: self._aws.record(id_) for id_ in map(str, ids) if id_ in self._aws.items}

    def list_open(self) -> Iterator[str]:
        self._aws.reads += 1
        return iter([id_ for id_, item in self._aws.items.items() if item.is_open])

    def take(self, key: str, value: str, instead_of: str = "") -> Taken:
        before = (self._aws.items.get(key) or Item("")).data or ""
        if key not in self._aws.items or before in {value, instead_of or value}:
            self._aws.items[key] = Item(value)
        return Taken(self._aws.items[key].data or "", before)

    def read_values(self, keys: Iterable[str]) -> dict[str, str]:
        self._aws.reads += 1
        return {key: item.data for key in keys if (item := self._aws.items.get(key)) and item.data}

    def give_back(self, key: str, value: str) -> None:
        if (item := self._aws.items.get(key)) and item.data == value:
            del self._aws.items[key]
