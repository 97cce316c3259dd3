"""One history of the system, made from a seed: the real use cases and botocore clients on a local AWS that misbehaves.

Time is virtual. While the faults last, events are lost, doubled and delayed; calls are throttled, refused, and lose
their connection before or after AWS acted; runs are killed or overtaken at any call, and read what lags behind.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast
from unittest import mock

import boto3
import time_machine
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse
from moto.core.models import botocore_stubber

from local import constraints, image_builder, vm_import
from local.cloud import ACCOUNT
from vm_image_import import telemetry, triggers
from vm_image_import.aws import CONFIG, Ec2, ImageBuilder, Topic
from vm_image_import.follow import Follower
from vm_image_import.home import Home
from vm_image_import.ledger import Ledger
from vm_image_import.register import Registrar
from vm_image_import.settings import Settings
from vm_image_import.sweep import Sweeper
from vm_image_import.triggers import AmiAvailable, ImageEnded, Sweep

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

REGION: Final = "us-east-1"
_START: Final = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
_MINUTE: Final = timedelta(minutes=1)
_FUNCTION_TIMEOUT: Final = 5 * _MINUTE
_FAILURE: Final = "ClientError: Unsupported kernel version 4.15.0-1021-aws"
_REFUSALS: Final = {
    "throttled": (400, "ThrottlingException"),
    "server error": (500, "InternalError"),
    "denied": (403, "AccessDeniedException"),
}
_FAULTS: Final = (*_REFUSALS, "dropped before", "dropped after", "killed before", "killed after", "lag")


class KilledError(BaseException):
    """Lambda ended the run: nothing in it can catch that."""


@dataclass
class Import:
    """One import: what has to become of it in the end."""

    task: str
    kind: str
    name: str
    version: str


@dataclass
class World:
    """The system, AWS and the people, moved by one seed."""

    seed: int
    imports: list[Import] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311 - repeatable, not secret
        self._faulty = False
        self._inside = 0
        self._told = False
        self._due: list[tuple[datetime, dict[str, object], int]] = []

    def live(self) -> "World":
        """Live through the history, faults first, then two quiet sweeps; return itself."""
        with (
            mock_aws(),
            time_machine.travel(_START, tick=False) as self._time,
            # What botocore waits between its tries passes here at once.
            mock.patch("botocore.endpoint.time.sleep", self._time_passes),
            # Between botocore and moto is the network.
            mock.patch.object(BotocoreStubber, "__call__", self._send),
        ):
            image_builder.install()
            self._start_aws()
            self._faulty = True
            for _ in range(self.chance.randint(2, 4)):
                self._start_import()
            for minute in range(40):
                self._minute(sweep=minute % 15 == 14)
            self._faulty = False
            for _ in range(2):
                for minute in range(15):
                    self._minute(sweep=minute == 14)
            self._keep_result()
        return self

    def _time_passes(self, seconds: float) -> None:
        self._time.shift(seconds)

    def _start_aws(self) -> None:
        self._aws = {
            name: boto3.client(cast("Any", name), region_name=REGION, config=CONFIG)
            for name in ("ec2", "imagebuilder", "dynamodb", "sns", "sqs", "s3")
        }
        self._aws["s3"].create_bucket(Bucket="exports")
        self._aws["dynamodb"].create_table(
            TableName="ledger",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self._topic = self._aws["sns"].create_topic(Name="notices")["TopicArn"]
        queue = self._aws["sqs"].create_queue(QueueName="notices")["QueueUrl"]
        arn = self._aws["sqs"].get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
        self._aws["sns"].subscribe(TopicArn=self._topic, Protocol="sqs", Endpoint=arn["QueueArn"])
        self._queue = queue

    def _start_import(self) -> None:
        number = len(self.imports)
        kind = self.chance.choice(("good", "good", "failed", "cancelled", "wrong tag", "poisoned"))
        metadata = {"platform": "Linux"} | ({"status-message": _FAILURE} if kind == "failed" else {})
        key = f"vm-{number}-x-1.{number}.ova"
        self._aws["s3"].put_object(Bucket="exports", Key=key, Body=b"disk", Metadata=metadata)
        tags = [{"Key": "Version", "Value": "latest"}] if kind == "wrong tag" else []
        task = self._quietly(
            lambda: self._aws["ec2"].import_image(
                DiskContainers=[{"UserBucket": {"S3Bucket": "exports", "S3Key": key}}],
                TagSpecifications=[{"ResourceType": "import-image-task", "Tags": tags}] if tags else [],
            )
        )["ImportTaskId"]
        version = "7.0.0" if kind == "wrong tag" else f"1.{number}.0"
        self.imports.append(Import(task, kind, f"vm-{number}-x", version))

    def _minute(self, *, sweep: bool) -> None:
        self._time.shift(_MINUTE)
        for each in self.imports:
            if each.kind == "cancelled" and self.chance.random() < 0.5:
                backend = vm_import.backends[ACCOUNT][REGION].tasks[each.task]
                if backend.answer["Status"] == "active":
                    backend.cancel(None)
            if not self._faulty or self.chance.random() < 0.1:
                self._correct(each)
        for service in (vm_import, image_builder):
            for event in service.advance(ACCOUNT, REGION):
                self._emit(event)
        self._poison()
        if sweep:
            self._due.append((datetime.now(UTC), {"action": "sweep"}, 1))
        self._run_due()

    def _poison(self) -> None:
        """Let EC2 answer what nobody foresaw, whenever it is asked for certain AMIs."""
        poisoned = {each.task for each in self.imports if each.kind == "poisoned"}
        for ami in vm_import.backends[ACCOUNT][REGION].ec2.amis.values():
            if ami.name in poisoned:
                ami.creation_date = cast("Any", None)

    def _correct(self, each: Import) -> None:
        if each.kind == "wrong tag":
            tags = [{"Key": "Version", "Value": "7.0"}]
            self._quietly(lambda: self._aws["ec2"].create_tags(Resources=[each.task], Tags=tags))

    def _emit(self, event: dict[str, object]) -> None:
        times = self.chance.choice((0, 1, 1, 2)) if self._faulty else 1
        self.counts["events lost" if times == 0 else "events doubled" if times > 1 else "events"] += 1
        for _ in range(times):
            delay = self.chance.choice((0, 0, 1, 7)) if self._faulty else 0
            self._due.append((datetime.now(UTC) + delay * _MINUTE, event, 1))

    def _run_due(self) -> None:
        now = datetime.now(UTC)
        due = [each for each in self._due if each[0] <= now]
        self._due = [each for each in self._due if each[0] > now]
        self.chance.shuffle(due)
        for _, event, attempt in due:
            self._run(event, attempt)

    def _run(self, event: dict[str, object], attempt: int) -> None:
        """Run the function once, as Lambda does: what fails is tried again after one and two minutes."""
        self.counts["runs"] += 1
        try:
            self._invoke(event)
        except (Exception, KilledError) as error:  # noqa: BLE001 - every failure of a run is Lambda's to repeat
            self.counts[f"run failed: {type(error).__name__}"] += 1
            if attempt < 3:
                self._due.append((datetime.now(UTC) + attempt * _MINUTE, event, attempt + 1))

    def _invoke(self, event: dict[str, object]) -> None:
        end = datetime.now(UTC) + _FUNCTION_TIMEOUT
        context = SimpleNamespace(
            get_remaining_time_in_millis=lambda: int((end - datetime.now(UTC)).total_seconds() * 1000)
        )
        ledger = Ledger(self._aws["dynamodb"], "ledger")
        ledger.start_run(cast("LambdaContext", context))
        ec2, images = Ec2(self._aws["ec2"]), ImageBuilder(self._aws["imagebuilder"])
        topic = Topic(self._aws["sns"], self._topic)
        registrar = Registrar(ec2, images, ledger, topic, Home("aws", REGION, ACCOUNT), Settings())
        follower = Follower(images, ledger, topic)
        trigger = triggers.parse(event)
        try:
            if isinstance(trigger, AmiAvailable):
                registrar.register_ami(trigger, datetime.now(UTC))
            elif isinstance(trigger, ImageEnded):
                follower.follow(trigger.image_arn)
            elif isinstance(trigger, Sweep):
                Sweeper(ec2, ledger, registrar, follower).sweep(
                    lambda: context.get_remaining_time_in_millis() < 30_000, dry_run=False
                )
        finally:
            telemetry.metrics.clear_metrics()

    def _quietly(self, act: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it returns
        """Do what a person does: the faults are the function's."""
        faulty, self._faulty = self._faulty, False
        try:
            return act()
        finally:
            self._faulty = faulty

    def _send(self, event_name: str, request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
        """Take a request to AWS, or not, and the answer back, or not."""
        operation = event_name.rpartition(".")[2]
        if event_name.split(".")[1] not in _OF_THE_FUNCTION:
            return _act(event_name, request)
        # SNS has no client token: who is ended between its answer and the record of it has to tell again. That told
        # twice is better than never is decided; it is left out here, so that "once" can be asked of everything else.
        at_risk, self._told = self._told and operation == "UpdateItem", operation == "Publish"
        if not self._faulty or at_risk or self.chance.random() > 0.12:
            self._maybe_overtaken()
            return _act(event_name, request)
        fault = self.chance.choice(_FAULTS)
        self.counts[fault] += 1
        if fault in _REFUSALS:
            return _answer(request, *_REFUSALS[fault])
        if fault.endswith("before"):
            self._end(fault, request)
        if fault == "lag" and operation == "DescribeImages":
            return self._lagging(request, event_name)
        answer = _act(event_name, request)
        if fault.endswith("after") and operation != "Publish":
            self._end(fault, request)
        return answer

    def _end(self, fault: str, request: AWSPreparedRequest) -> NoReturn:
        """End the connection, or the whole run."""
        if fault.startswith("killed"):
            raise KilledError
        raise ConnectionClosedError(endpoint_url=request.url)

    def _maybe_overtaken(self) -> None:
        """Let another run that is due go first, in the middle of this one."""
        if self._faulty and not self._inside and self._due and self.chance.random() < 0.1:
            _, event, attempt = self._due.pop(self.chance.randrange(len(self._due)))
            self.counts["overtaken"] += 1
            self._inside += 1
            told = self._told
            self._run(event, attempt)
            self._told = told
            self._inside -= 1

    def _lagging(self, request: AWSPreparedRequest, event_name: str) -> AWSResponse | None:
        """Answer as if no AMI of late were there yet."""
        ec2 = vm_import.backends[ACCOUNT][REGION].ec2
        amis, ec2.amis = ec2.amis, {}
        try:
            return _act(event_name, request)
        finally:
            ec2.amis = amis

    def _keep_result(self) -> None:
        """Read what is there in the end, for `problems`."""
        self.images = [
            image.answer() | {"task": image.params["vmImportTaskId"], "request": image.params}
            for image in image_builder.backends[ACCOUNT][REGION].listed()
        ]
        self.notices: list[tuple[str, str]] = []
        while (
            messages := self._aws["sqs"].receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages")
        ):
            for message in messages:
                body = json.loads(message["Body"])
                self.notices.append((body["MessageAttributes"]["outcome"]["Value"], body["Message"]))
        self.counts.update(imports=len(self.imports), images=len(self.images), notices=len(self.notices))

    def problems(self) -> list[str]:
        """Return what must not be: lost, doubled or wrong images, lost or doubled notices of an import's end."""
        found = []
        for each in self.imports:
            images = [image for image in self.images if image["task"] == each.task]
            wanted = 1 if _ENDS[each.kind] == "IMAGE_AVAILABLE" else 0
            if len(images) != wanted:
                found.append(f"{each} has {len(images)} images")
            for image in images:
                found += self._wrong(each, image)
            end = _ENDS[each.kind]
            ends = [outcome for outcome, text in self.notices if each.task in text and outcome not in _STEPS]
            if ends != ([end] if end else []):
                found.append(f"{each} was told as {ends}")
        return found

    def _wrong(self, each: Import, image: Mapping[str, Any]) -> list[str]:
        broken = constraints.check("imagebuilder", "ImportVmImage", image["request"])
        if (image["name"], image["version"].partition("/")[0]) != (each.name, each.version):
            broken.append(f"{image['arn']} should be {each.name} {each.version}")
        if image["tags"].get("vm-image-import:task-id") != each.task:
            broken.append(f"{image['arn']} has the tags {image['tags']}")
        return broken


_STEPS: Final = ("REGISTERED", "REJECTED")
_ENDS: Final = {
    "good": "IMAGE_AVAILABLE",
    "wrong tag": "IMAGE_AVAILABLE",
    "failed": "IMPORT_FAILED",
    "cancelled": None,
    "poisoned": None,
}
_OF_THE_FUNCTION: Final = ("ec2", "imagebuilder", "dynamodb", "sns")
_moto: Final = BotocoreStubber.__call__


def _act(event_name: str, request: AWSPreparedRequest) -> AWSResponse | None:
    return _moto(botocore_stubber, event_name, request)


def _answer(request: AWSPreparedRequest, status: int, code: str) -> AWSResponse:
    """Answer an error in the form of whatever service is asked."""
    if "ec2" in request.url:
        body = f"<Response><Errors><Error><Code>{code}</Code><Message>x</Message></Error></Errors></Response>"
    elif "sns" in request.url:
        body = f"<ErrorResponse><Error><Code>{code}</Code><Message>x</Message></Error></ErrorResponse>"
    else:
        body = json.dumps({"__type": code, "message": "x"})
    return AWSResponse(request.url, status, cast("Any", {"x-amzn-ErrorType": code}), cast("Any", MockRawResponse(body)))


def live(seed: int) -> tuple[int, Counter[str], list[str]]:
    """Live through one history; return its seed, what happened, and what must not have."""
    world = World(seed).live()
    return seed, world.counts, world.problems()
