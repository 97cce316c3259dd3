"""One history of the system, made from a seed: the real function on the local AWS, in virtual time.

While there are faults, events are lost, delivered twice, delayed and reordered, calls fail in every way that `network`
knows, and invocations run at once. Then come sweeps without faults, and a week after which EC2 lists no task. What else
may happen is in `features`.
"""

import io
import json
import logging
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any, ClassVar, Final
from unittest import mock

import time_machine
from botocore.retries.quota import RetryQuota
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.utils import method_names_from_class
from moto.dynamodb.models import dynamodb_backends
from moto.moto_api._internal import mock_random

from local.aws import image_builder, supplements, vm_import
from local.aws.image_builder import Image
from local.aws.local_aws import ACCOUNT
from local.aws.switches import Switches, use
from tests.simulation.claims import Claims
from tests.simulation.events import EventBus
from tests.simulation.features import ON, Feature
from tests.simulation.foreign import ForeignResources
from tests.simulation.imports import BUCKET, FIXED_LAST, start_imports
from tests.simulation.invocations import ENVIRONMENT, TABLE, TOPIC, Lambda
from tests.simulation.network import Network
from tests.simulation.operators import Operators
from tests.simulation.stale_reads import StaleReads, created
from tests.simulation.state import MINUTE, REGION, State, client, now
from vm_image_import.invocation import Invocation
from vm_image_import.report.log import metrics

_START: Final = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
_SWEEP_MINUTES: Final = 15
_TOKENS_KEPT: Final = 60 * MINUTE
"""How long Image Builder knows a client token, which is not documented: longer than the faults last, and shorter than
a topic refuses."""
_OLD_TOKEN: Final = 30 * MINUTE
"""How long Image Builder knows a client token at least. The function relies on it for imports of the last minutes."""
_TABLE_LOSS_MINUTES: Final = (20, 58)
"""When the table may be lost: after the first images, and before the sweep that must repair it."""
_LISTED: Final = timedelta(days=7)
"""How long EC2 lists a task after its end (API reference)."""
_MAX_EVENT_AGE: Final = timedelta(days=2).total_seconds()


class History:
    """A history, and what `invariants` checks when it has ended."""

    state: State
    ami_comes_first: bool
    """Whether EC2 shows an AMI as available before its task is completed, when it can still be cancelled."""
    images: list[Image]
    """All images of this system in the end."""
    statuses: dict[str, str]
    """The status of each import task in the end."""
    amis: dict[str, str | None]
    """The AMI that each import task names in the end."""
    snapshots: dict[str, str]
    """The snapshot of each AMI that exists in the end."""
    tags: dict[str, dict[str, str]]
    """The tags of each AMI and snapshot in the end."""
    parameters: dict[str, str]
    """The value of each parameter in the end."""
    others_images: list[Image]
    """The images of the imports that another user requested, in the end."""
    left_open: list[set[str]]
    """The ids of the registrations with steps left, before and after the last week."""
    idle_calls: list[Counter[str]]
    """What two sweeps called that had nothing to do: while EC2 lists the tasks, and after."""

    def __init__(self, seed: int, features: frozenset[Feature] = ON) -> None:
        self._seed = seed
        self._features = features
        self._minute = 0
        self._token_used: dict[str, datetime] = {}

    def run(self) -> "History":
        """Run the history and return it."""
        logging.disable(logging.CRITICAL)
        _Quota.fill_all()
        try:
            with (
                mock.patch.dict(os.environ, ENVIRONMENT),
                mock_aws(),
                time_machine.travel(_START, tick=False) as clock,
                # moto looks up the operations of a service at every call: an eighth of a history.
                mock.patch("moto.core.responses.method_names_from_class", _method_names),
                mock.patch("botocore.retries.quota.RetryQuota", _Quota),
                redirect_stdout(io.StringIO()) as metrics_log,
            ):
                image_builder.install()
                supplements.install()
                # The ids that AWS gives.
                mock_random.seed(self._seed)
                # The order in which a sweep processes the tasks.
                random.seed(self._seed)
                self._run(clock)
                self._check_event_ages(metrics_log.getvalue())
        finally:
            logging.disable(logging.NOTSET)
            # Of invocations that ended before they could emit them.
            metrics.clear_metrics()
        return self

    def _run(self, clock: time_machine.Traveller) -> None:
        self.state = state = State(
            self._seed,
            random.Random(self._seed),  # noqa: S311 - repeatable, not secret
            clock,
            self._features,
        )
        self._stale_reads = StaleReads(state)
        self._lambda = Lambda(state, self._stale_reads)
        self._events = EventBus(state, self._lambda, delivers=state.random.random() > 0.3)
        self._operators = Operators(state, self._lambda, self._events)
        self._foreign = ForeignResources(state, self._events)
        with self._faulty_network(), use(self._draw_switches()):
            self._set_up()
            self._live_through_faults()
            self._recover()
            self.idle_calls = [self._sweep_once_more()]
            self._register_late()
            self.left_open = [self._open_registrations()]
            self._age()
            self.left_open.append(self._open_registrations())
            self.idle_calls.append(self._sweep_once_more())
        images = state.image_builder.images
        self.others_images = [images[arn] for arn in sorted(state.others_images)]
        not_ours = state.foreign_images | state.others_images
        self.images = [image for arn, image in images.items() if arn not in not_ours]
        tasks = {each.task: state.vm_import.tasks[each.task].answer for each in state.imports}
        self.statuses = {task: answer["Status"] for task, answer in tasks.items()}
        self.amis = {task: answer.get("ImageId") for task, answer in tasks.items()}
        self.snapshots = {ami.id: ami.ebs_snapshot.id for ami in state.ec2.amis.values()}
        self.tags = {id_: {**tags} for id_, tags in state.ec2.tags.items()}
        self.parameters = {name: versions[-1].value for name, versions in state.parameters.items() if versions}

    @contextmanager
    def _faulty_network(self) -> Iterator[None]:
        network = Network(self.state, self._lambda, self._stale_reads, Claims(self.state))
        with (
            mock.patch.object(BotocoreStubber, "__call__", network.send),
            # The waits of botocore between its attempts, and of the function for a task that is about to complete.
            mock.patch("botocore.endpoint.time.sleep", self.state.wait),
            mock.patch("vm_image_import.handler.Invocation", partial(Invocation, sleep=self.state.wait)),
        ):
            yield

    def _draw_switches(self) -> Switches:
        names = (
            *("failed_task_fails_later", "ami_comes_first", "unknown_task_is_missing", "active_task_names_ami"),
            *("pending_image_names_ami", "image_is_importing", "next_token_is_empty"),
        )
        drawn = Switches(**{name: self.state.random.random() < 0.5 for name in names})
        self.ami_comes_first = drawn.ami_comes_first
        return drawn

    def _set_up(self) -> None:
        state = self.state
        state.filtered = state.has(Feature.TASK_FILTER) and state.random.random() < 0.2
        state.follow_up = state.has(Feature.TAGS_AND_PARAMETERS) and state.random.random() < 0.5
        if state.has(Feature.SLOW_DELETION):
            state.vm_import.deleting_steps = state.random.randint(1, 6)
        loses_table = state.has(Feature.TABLE_LOSS) and state.random.random() < 0.3
        self._table_loss_minute = state.random.randint(*_TABLE_LOSS_MINUTES) if loses_table else None
        client("s3").create_bucket(Bucket=BUCKET)
        client("sns").create_topic(Name=TOPIC)
        client("dynamodb").create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("id", "open")],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "open",
                    "KeySchema": [{"AttributeName": "open", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        start_imports(state)

    def _live_through_faults(self) -> None:
        state = self.state
        state.faulty = True
        state.topic_refuses = state.random.random() < 0.1
        state.follow_up_refused = state.follow_up and state.random.random() < 0.2
        state.slow = state.random.random() < 0.1
        self._pass(3 * _SWEEP_MINUTES)
        state.faulty = state.follow_up_refused = False

    def _recover(self) -> None:
        """Let two sweeps run without faults, after SNS accepts notifications again."""
        if self.state.topic_refuses:
            self._pass(4 * _SWEEP_MINUTES)
            self.state.topic_refuses = False
        self._pass(_SWEEP_MINUTES)
        self._operators.fix_late = True
        # One more sweep, and then time for the events of what it registered.
        self._pass(2 * _SWEEP_MINUTES - 1)
        if self.state.follow_up:
            # While Image Builder is late to show a version, the parameter may hold the one before it.
            self._pass(_SWEEP_MINUTES)
        if self.state.deregistered | self.state.deleted:
            # What AWS does not show for an hour is gone.
            self._pass(5 * _SWEEP_MINUTES)

    def _register_late(self) -> None:
        """Fix the last tags when EC2 lists their tasks for minutes more, and let SNS accept notifications after."""
        state = self.state
        tasks = [state.vm_import.tasks[each.task] for each in state.imports if each.kind == FIXED_LAST]
        if not tasks:
            return
        unlisted = min(task.ended_at for task in tasks if task.ended_at) + _LISTED
        self._wait_until(unlisted - 2 * _SWEEP_MINUTES * MINUTE)
        state.topic_refuses = self._operators.fix_last = True
        self._pass(_SWEEP_MINUTES + 4)
        self._wait_until(unlisted + MINUTE)
        state.topic_refuses = False
        self._pass(2 * _SWEEP_MINUTES)

    def _wait_until(self, time: datetime) -> None:
        """Let time pass, with a sweep on each day."""
        while now() < time:
            self.state.wait(min(time - now(), timedelta(days=1)).total_seconds())
            self._stale_reads.take_snapshot()
            self._lambda.enqueue({"action": "sweep"})
            self._lambda.run_due()

    def _open_registrations(self) -> set[str]:
        """Return the ids of the open registrations, without forced ones that wait for an option to be turned on."""
        items: Any = dynamodb_backends[ACCOUNT][REGION].tables[TABLE].items
        opened = {item.attrs["id"].value: item.attrs["data"].value for item in items.values() if "open" in item.attrs}
        if self.state.follow_up:
            return {*opened}
        results = {id_: json.loads(data)["registration"]["results"] for id_, data in opened.items()}
        return {id_ for id_ in opened if " " not in id_ or not results[id_].keys() >= {"follow", "notify"}}

    def _pass(self, minutes: int) -> None:
        for minute in range(1, minutes + 1):
            self.state.wait(MINUTE.total_seconds())
            self._stale_reads.take_snapshot()
            self._minute += 1
            for each in self.state.imports:
                self._operators.interfere(each)
                self._foreign.appear(each)
            self._operators.change_refusals()
            for service in (vm_import, image_builder):
                for event in service.advance(ACCOUNT, REGION):
                    self._events.emit(event)
            self._operators.break_amis()
            self._check_parameters()
            self._forget_tokens()
            if self._table_loss_minute is not None and self._minute >= self._table_loss_minute:
                self._lose_table()
            if minute % _SWEEP_MINUTES == 0:
                self._lambda.enqueue({"action": "sweep"})
            self._lambda.run_due()

    def _check_parameters(self) -> None:
        """Let Systems Manager check the new values of parameters, and drop some of them while there are faults."""
        unchecked = supplements.unchecked_parameters(ACCOUNT, REGION)
        if unchecked and self.state.faulty and self.state.random.random() < 0.3:
            self.state.counts["values of parameters dropped"] += len(unchecked)
            unchecked.clear()
        supplements.check_parameters(ACCOUNT, REGION)

    def _forget_tokens(self) -> None:
        """Let Image Builder forget client tokens, but not while there are faults: no later attempt could be safe."""
        if self.state.faulty:
            return
        tokens = self.state.image_builder.tokens
        for token in [*tokens]:
            if now() - self._token_used.setdefault(token, now()) > _TOKENS_KEPT:
                del tokens[token]

    def _lose_table(self) -> None:
        """Empty the idempotency table, and half of the time let Image Builder forget old client tokens.

        It waits while an image is so new that Image Builder's lists may not show it: its version would have no claim.
        """
        state, (_, last) = self.state, _TABLE_LOSS_MINUTES
        images = state.image_builder.images
        if self._minute <= last and any(now() - created(image) < 3 * MINUTE for image in images.values()):
            return
        self._table_loss_minute = None
        if self._minute > last:
            return
        state.counts["idempotency table lost"] += 1
        state.claims.clear()
        dynamodb_backends[ACCOUNT][REGION].tables[TABLE].items.clear()
        state.deployment += 1
        state.images_before_loss = {*images}
        state.tokens_forgotten = state.random.random() < 0.5
        if state.tokens_forgotten:
            for token, (_, answer) in [*state.image_builder.tokens.items()]:
                if now() - created(images[answer["imageArn"]]) > _OLD_TOKEN:
                    del state.image_builder.tokens[token]

    def _check_event_ages(self, metrics_log: str) -> None:
        for line in metrics_log.splitlines():
            if '"EventAge"' in line:
                for seconds in json.loads(line)["EventAge"]:
                    if not 0 <= seconds <= _MAX_EVENT_AGE:
                        self.state.violations.append(f"wrong: the metric EventAge is {seconds} seconds")

    def _age(self) -> None:
        """Let a week pass, after which nothing that still arrives may change anything."""
        state = self.state
        state.wait(timedelta(days=8).total_seconds())
        self._stale_reads.take_snapshot()
        state.image_builder.tokens.clear()
        for image_id in [*state.ec2.amis]:
            self._events.repeat_ami_event(image_id)
        for each in state.imports:
            self._lambda.enqueue({"importTaskId": each.task})
        self._lambda.enqueue({"action": "sweep"})
        self._lambda.run_due()
        self._pass(3)
        # What no sweep could try in that week is tried for a day.
        self._wait_until(now() + timedelta(days=1))

    def _sweep_once_more(self) -> Counter[str]:
        """Sweep when nothing is left to do, and return what the sweep called."""
        self.state.calls.clear()
        self._lambda.enqueue({"action": "sweep"})
        self._lambda.run_due()
        return Counter(self.state.calls)


class _Quota(RetryQuota):
    """The retry quota of a client. It is full at the start of each history, as that of a new client is."""

    _created: ClassVar[list[RetryQuota]] = []

    def __init__(self) -> None:
        super().__init__()
        self._created.append(self)

    @classmethod
    def fill_all(cls) -> None:
        for each in cls._created:
            each.release(each.INITIAL_CAPACITY)


_method_names: Final = cache(method_names_from_class)
