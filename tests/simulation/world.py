"""One history of the system, made from a seed: the real function on a local AWS that misbehaves. Time is virtual.

While the faults last, events are lost, doubled, delayed and reordered, calls fail in every way that `faults` knows, and
runs go on in the middle of other runs. Then come two quiet sweeps, and a week in which EC2 forgets everything.
"""

import io
import logging
import os
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any, ClassVar, Final, cast
from unittest import mock

import boto3
import time_machine
from botocore.retries.quota import RetryQuota
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.utils import method_names_from_class
from moto.moto_api._internal import mock_random

from local.aws import common, image_builder, vm_import
from local.aws.image_builder import ImageBuilderBackend
from local.aws.local_aws import ACCOUNT
from tests.simulation.faults import OVERTAKEN, KilledError, Network, Run
from vm_image_import.clients import Clients
from vm_image_import.handler import invoke
from vm_image_import.observability import metrics
from vm_image_import.settings import Settings

REGION: Final = "us-east-1"
_TABLE: Final = "ledger"
_TOPIC: Final = "notices"
_BUCKET: Final = "exports"
_ENVIRONMENT: Final = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
    "POWERTOOLS_METRICS_NAMESPACE": "simulation",
    "POWERTOOLS_SERVICE_NAME": "simulation",
    "TABLE_NAME": _TABLE,
    "TOPIC_ARN": f"arn:aws:sns:{REGION}:{ACCOUNT}:{_TOPIC}",
    # Of the schemes the one that asks AWS.
    "VERSION_SCHEME": "increment",
}
_START: Final = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
_MINUTE: Final = timedelta(minutes=1)
_SWEEP_MINUTES: Final = 15
_SWEEPS_BY_HAND: Final = 4
_LAST_ATTEMPT: Final = 3
_FUNCTION_TIMEOUT: Final = 5 * _MINUTE
_SHORT_TIMEOUT: Final = _MINUTE
"""With calls that take seconds, it is soon over."""
_BY_HAND: Final[tuple[dict[str, object], ...]] = (
    {},
    {"force": True},
    {"dryRun": True},
    {"dryRun": True, "force": True},
    {"description": "By hand"},
)
"""What people add to the id of an import that they ask for."""
_TOKENS_KEPT: Final = 60 * _MINUTE
"""Image Builder's memory, which is not documented: it outlasts what crashes, but no topic that refuses for an hour."""
FAILURE: Final = "ClientError: Unsupported kernel version 4.15.0-1021-aws"
_NOT_MADE: Final = "Image Builder cannot make the image."
KINDS: Final = (
    *("good", "good", "unversioned", "failed", "cancelled", "wrong tag", "put right late", "retagged"),
    *("poisoned", "deregistered", "image fails"),
)


@dataclass(frozen=True)
class Import:
    """One import, and what its image has to be called if there is to be one."""

    task: str
    kind: str
    key: str
    name: str
    version: str


@dataclass(frozen=True)
class Past:
    """What AWS knew a minute ago."""

    amis: frozenset[str] = frozenset()
    tasks: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    states: Mapping[str, dict[str, str]] = field(default_factory=dict)


class World:
    """The function, AWS and the people, moved by one seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.counts: Counter[str] = Counter()
        self.imports: list[Import] = []
        self.deregistered: set[str] = set()
        """Tasks whose AMI somebody took away."""
        self.forced: Counter[str] = Counter()
        """Runs that forced an import, by task."""
        self.unknown: set[str] = set()
        """Images that such a run made, and was ended before anybody knew: whoever started it has to do so again."""
        self.overruled: set[str] = set()
        """Tasks for which a person stated something else than what is derived."""
        self.ami_comes_first = False
        """Whether EC2 shows an AMI as available before its task is completed, and may be cancelled yet."""
        self._sweeps_by_hand = 0
        self._late = False
        self.network = Network(self.chance, _now, self._wait, self._stale, self._overtake, self.counts)
        self._events_arrive = self.chance.random() > 0.3
        self._due: list[tuple[datetime, object, int]] = []
        self._past = Past()
        self._tokens: dict[str, datetime] = {}

    def live(self) -> "World":
        """Live through the history and return itself; `invariants` judges it."""
        logging.disable(logging.CRITICAL)
        _Quota.fill_all()
        try:
            with (
                mock.patch.dict(os.environ, _ENVIRONMENT),
                mock_aws(),
                time_machine.travel(_START, tick=False) as self._time,
                # What botocore waits between its tries passes here at once.
                mock.patch("botocore.endpoint.time.sleep", self._wait),
                # moto looks for a service's operations anew at every call: an eighth of a history.
                mock.patch("moto.core.responses.method_names_from_class", _method_names),
                mock.patch("botocore.retries.quota.RetryQuota", _Quota),
                # Between botocore and moto is the network.
                mock.patch.object(BotocoreStubber, "__call__", self.network.send),
            ):
                image_builder.install()
                # Of the ids that AWS gives.
                mock_random.seed(self._seed)
                # Of the order in which a sweep takes the tasks.
                random.seed(self._seed)
                self._live()
        finally:
            logging.disable(logging.NOTSET)
            # Of runs that were ended before they could emit them.
            metrics.clear_metrics()
        return self

    def _wait(self, seconds: float) -> None:
        self._time.shift(seconds)

    def _live(self) -> None:
        self._vm_import = vm_import.backends[ACCOUNT][REGION]
        self._image_builder = image_builder.backends[ACCOUNT][REGION]
        vars(self._image_builder).update(failure=self._failure, unknown_task_is_error=self.chance.random() < 0.5)
        self.ami_comes_first = self._vm_import.ami_comes_first = self.chance.random() < 0.5
        self._vm_import.unknown_task_is_error = self.chance.random() < 0.5
        _client("s3").create_bucket(Bucket=_BUCKET)
        _client("sns").create_topic(Name=_TOPIC)
        _client("dynamodb").create_table(
            TableName=_TABLE,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        kinds = self.chance.choices(KINDS, k=self.chance.randint(1, 3))
        if self.chance.random() < 0.4:
            # What one bad task stops is seen where another one has to be done by the last sweep.
            kinds += ["poisoned", "put right late"]
        for kind in kinds:
            self._start_import(kind)
        self.network.faulty = True
        self.network.topic_refuses = self.chance.random() < 0.1
        self.network.slow = self.chance.random() < 0.1
        self._pass(3 * _SWEEP_MINUTES)
        self.network.faulty = False
        if self.network.topic_refuses:
            self._pass(4 * _SWEEP_MINUTES)
            self.network.topic_refuses = False
        self._pass(_SWEEP_MINUTES)
        self._late = True
        # One more sweep has to do, and then there is time for the events of what it registered.
        self._pass(2 * _SWEEP_MINUTES - 1)
        self._age()
        self.images = list(self._image_builder.images.values())
        self.ends = {each.task: self._vm_import.tasks[each.task].answer["Status"] for each in self.imports}

    def _failure(self, task: str) -> str | None:
        """Let Image Builder give up certain imports, once it has begun."""
        begun = any(image.params["vmImportTaskId"] == task for image in self._image_builder.images.values())
        kind = next((each.kind for each in self.imports if each.task == task), "")
        return _NOT_MADE if begun and kind == "image fails" else ImageBuilderBackend.failure(self._image_builder, task)

    def _start_import(self, kind: str) -> None:
        number = len(self.imports)
        self.counts[f"imports: {kind}"] += 1
        name = f"vm-{number}-x"
        key, version = (
            (f"{name}.ova", "1.0.0") if kind == "unversioned" else (f"{name}-1.{number}.ova", f"1.{number}.0")
        )
        metadata = {"platform": "Linux"} | ({"status-message": FAILURE} if kind == "failed" else {})
        _client("s3").put_object(Bucket=_BUCKET, Key=key, Body=b"disk", Metadata=metadata)
        wrong = kind in {"wrong tag", "put right late"}
        tags = [{"Key": "Version", "Value": "latest"}] if wrong else []
        task = _client("ec2").import_image(
            DiskContainers=[{"UserBucket": {"S3Bucket": _BUCKET, "S3Key": key}}],
            TagSpecifications=[{"ResourceType": "import-image-task", "Tags": tags}] if tags else [],
        )["ImportTaskId"]
        self.imports.append(Import(task, kind, key, name, "7.0.0" if wrong else version))

    def _pass(self, minutes: int) -> None:
        for minute in range(1, minutes + 1):
            self._time.shift(_MINUTE)
            self._past = self._present()
            for each in self.imports:
                self._meddle(each)
            for service in (vm_import, image_builder):
                for event in service.advance(ACCOUNT, REGION):
                    self._emit(event)
            self._poison()
            self._forget_tokens()
            if minute % _SWEEP_MINUTES == 0:
                self._due.append((_now(), {"action": "sweep"}, 1))
            self._run_due()

    def _meddle(self, each: Import) -> None:
        """Let people do, once in a while, what they do to an import."""
        task = self._vm_import.tasks[each.task]
        now_and_then = self.network.faulty and self.chance.random() < 0.06
        if each.kind == "cancelled" and task.answer["Status"] == "active" and self.chance.random() < 0.5:
            task.cancel(None)
        elif (each.kind == "wrong tag" and (now_and_then or not self.network.faulty)) or (
            each.kind == "put right late" and self._late
        ):
            self._put_right(each.task)
        elif each.kind == "retagged" and now_and_then:
            _tag(each.task, "Team", str(self.chance.random()))
        elif each.kind == "deregistered" and task.answer["Status"] == "completed" and now_and_then:
            self._ec2.amis.pop(task.answer["ImageId"], None)
            self.deregistered.add(each.task)
        elif self.network.faulty and self.chance.random() < 0.05:
            # Of what is completed more often than not for another build.
            often = ({"force": True},) if task.answer["Status"] == "completed" else ()
            asked = self.chance.choice((*often, *often, *often, *_BY_HAND))
            self._due.append((_now(), {"importTaskId": each.task} | asked, 1))
        elif now_and_then and self.chance.random() < 0.2:
            self._due.append((_now(), {"action": "sweep", "dryRun": True}, 1))
        elif self.network.faulty and self.chance.random() < 0.03:
            self._meddle_with_image(each)
        elif now_and_then and (image_id := task.answer.get("ImageId")) in self._ec2.amis:
            self._again(str(image_id))
            if self.chance.random() < 0.2:
                self.counts["copies"] += 1
                _client("ec2").copy_image(SourceImageId=image_id, SourceRegion=REGION, Name=each.task)

    def _put_right(self, task: str) -> None:
        if self._ec2.tags[task]["Version"] != "7.0":
            _tag(task, "Version", "7.0")

    def _meddle_with_image(self, each: Import) -> None:
        """Cancel an image that is not there yet, or retire one that is."""
        for image in self._image_builder.images.values():
            status = {"PENDING": "CANCELLED", "AVAILABLE": "DEPRECATED"}.get(image.state["status"])
            if status and image.params["vmImportTaskId"] == each.task:
                self.counts[f"images {status}"] += 1
                image.state = {"status": status}
                detail: dict[str, object] = {"state": image.state}
                kind = ("aws.imagebuilder", "EC2 Image Builder Image State Change")
                self._emit(common.event(self._image_builder, kind, image.arn, detail))

    def _again(self, image_id: str) -> None:
        """Send an AMI's event once more, as EnableImage does."""
        self.counts["events again"] += 1
        detail: dict[str, object] = {"ImageId": image_id, "State": "available"}
        self._emit(common.event(self._vm_import, ("aws.ec2", "EC2 AMI State Change"), image_id, detail))

    def _poison(self) -> None:
        """Let EC2 answer what nobody foresaw, whenever it is asked for certain AMIs."""
        poisoned = {each.task for each in self.imports if each.kind == "poisoned"}
        for ami in self._ec2.amis.values():
            if ami.name in poisoned:
                ami.creation_date = cast("Any", None)

    def _forget_tokens(self) -> None:
        """Let Image Builder forget, though not while every run may be ended: nobody could make up for that."""
        if self.network.faulty:
            return
        for token in [*self._image_builder.tokens]:
            if _now() - self._tokens.setdefault(token, _now()) > _TOKENS_KEPT:
                del self._image_builder.tokens[token]

    def _age(self) -> None:
        """Let a week pass, after which nothing that still comes may change anything."""
        self._time.shift(timedelta(days=8))
        self._past = self._present()
        self._image_builder.tokens.clear()
        for image_id in [*self._ec2.amis]:
            self._again(image_id)
        self._due += [(_now(), {"importTaskId": each.task}, 1) for each in self.imports]
        self._due.append((_now(), {"action": "sweep"}, 1))
        self._run_due()
        self._pass(3)

    @property
    def _ec2(self) -> Any:  # noqa: ANN401 - moto's backend, whose dictionaries are changed here
        return self._vm_import.ec2

    def _emit(self, event: object) -> None:
        times = self.chance.choice((0, 1, 1, 2)) if self.network.faulty else 1
        if not self._events_arrive and self.network.faulty:
            times = 0
        self.counts["events lost" if times == 0 else "events doubled" if times > 1 else "events"] += 1
        for _ in range(times):
            delay = self.chance.choice((0, 0, 1, 7)) if self.network.faulty else 0
            self._due.append((_now() + delay * _MINUTE, event, 1))

    def _run_due(self) -> None:
        due = [each for each in self._due if each[0] <= _now()]
        self._due = [each for each in self._due if each not in due]
        self.chance.shuffle(due)
        for _, event, attempt in due:
            self._run(event, attempt)

    def _overtake(self, likely: float) -> None:
        """Let another run go first: one that is due, or where it hurts a few times a sweep that a person asks for."""
        if likely > OVERTAKEN and not self._due and self._sweeps_by_hand < _SWEEPS_BY_HAND:
            self._sweeps_by_hand += 1
            self._due.append((_now(), {"action": "sweep"}, _LAST_ATTEMPT))
        if len(self.network.runs) < 3 and self._due and self.chance.random() < likely:
            self.counts["runs in the middle of others"] += 1
            _, event, attempt = self._due.pop(self.chance.randrange(len(self._due)))
            self._run(event, attempt)

    def _run(self, event: object, attempt: int) -> None:
        """Run the function once, as Lambda does: what fails is tried again after one and two minutes."""
        asked = event if isinstance(event, dict) else {}
        by_hand = "importTaskId" in asked
        timeout = _SHORT_TIMEOUT if self.network.slow else _FUNCTION_TIMEOUT
        run = Run(_now() + timeout, dry=asked.get("dryRun", False))
        if "description" in asked:
            self.overruled.add(asked["importTaskId"])
        if asked.get("force") and not run.dry:
            self.forced[asked["importTaskId"]] += 1
            self.counts["runs forced"] += 1
        clients = _execution_environment(len(self.network.runs))
        context = SimpleNamespace(
            aws_request_id=str(self.chance.random()),
            function_name="simulation",
            invoked_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:simulation",
            memory_limit_in_mb=256,
            get_remaining_time_in_millis=lambda: max(0, int((run.end - _now()).total_seconds() * 1000)),
        )
        self.counts["runs"] += 1
        self.network.runs.append(run)
        try:
            with redirect_stdout(io.StringIO()):
                answer = invoke(event, context, clients)
            self.counts[f"answers: {answer['outcome']}"] += 1
        except (Exception, KilledError) as error:  # noqa: BLE001 - every failure of a run is Lambda's to repeat
            self.counts[f"runs failed: {type(error).__name__}"] += 1
            if asked.get("force") and run.made:
                self.unknown.add(run.made)
            # By hand nobody tries again, and in quiet times one sweep has to do.
            if attempt < _LAST_ATTEMPT and not by_hand and self.network.faulty:
                self._due.append((_now() + attempt * _MINUTE, event, attempt + 1))
        finally:
            self.network.leave_unrecorded(self.network.runs.pop())

    def _present(self) -> Past:
        return Past(
            frozenset(self._ec2.amis),
            {task.id: task.answer for task in self._vm_import.tasks.values()},
            {arn: image.state for arn, image in self._image_builder.images.items()},
        )

    @contextmanager
    def _stale(self, operation: str) -> Iterator[None]:
        """Answer reads as a minute ago; writes, and reads that are consistent, as they are."""
        past, images = self._past, self._image_builder.images
        if operation == "DescribeImages":
            amis = {ami_id: ami for ami_id, ami in self._ec2.amis.items() if ami_id in past.amis}
            with mock.patch.object(self._ec2, "amis", amis):
                yield
        elif operation == "DescribeImportImageTasks":
            tasks = self._vm_import.tasks
            now = {task.id: task.answer for task in tasks.values()}
            for task_id, task in tasks.items():
                task.answer = past.tasks.get(task_id, task.answer)
            yield
            for task_id, task in tasks.items():
                task.answer = now[task_id]
        elif operation in {"GetImage", "ListImages"}:
            then = {arn: image for arn, image in images.items() if arn in past.states}
            states = {arn: image.state for arn, image in then.items()}
            for arn, image in then.items():
                image.state = past.states[arn]
            with mock.patch.object(self._image_builder, "images", then):
                yield
            for arn, image in then.items():
                image.state = states[arn]
        else:
            yield


class _Quota(RetryQuota):
    """How often a client may try: as often as a new one at the start of each history, whatever was before it."""

    _made: ClassVar[list[RetryQuota]] = []

    def __init__(self) -> None:
        super().__init__()
        self._made.append(self)

    @classmethod
    def fill_all(cls) -> None:
        for each in cls._made:
            each.release(each.INITIAL_CAPACITY)


_method_names: Final = cache(method_names_from_class)


def _now() -> datetime:
    return datetime.now(UTC)


@cache
def _client(service: str) -> Any:  # noqa: ANN401 - which client it is, the caller knows
    """Return a client for the people. Making one takes longer than a history."""
    return boto3.client(cast("Any", service))


@cache
def _execution_environment(number: int) -> Clients:
    """Return the clients of one of Lambda's execution environments. Each of the nested runs has one of its own."""
    assert number >= 0
    return Clients(Settings.from_environment(_ENVIRONMENT))


def _tag(task: str, key: str, value: str) -> None:
    _client("ec2").create_tags(Resources=[task], Tags=[{"Key": key, "Value": value}])
