"""Lambda: it invokes the function, several times at once, and retries what fails.

Each invocation has a thread of its own, and one thread runs at a time: at each call of AWS the seed decides whether
another invocation begins or continues.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from threading import Semaphore, Thread
from types import SimpleNamespace
from typing import Any, Final

from local.aws.local_aws import ACCOUNT
from tests.simulation.features import Feature
from tests.simulation.imports import FILTER_TAG
from tests.simulation.others import listed_images_of_others
from tests.simulation.stale_reads import StaleReads
from tests.simulation.state import MINUTE, REGION, State, now
from tests.simulation.versions import settled_images
from vm_image_import.handler import invoke
from vm_image_import.invocation import Clients
from vm_image_import.settings import Settings

TABLE: Final = "idempotency"
TOPIC: Final = "notifications"
ENVIRONMENT: Final = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "POWERTOOLS_SERVICE_NAME": "simulation",
    "TABLE_NAME": TABLE,
    "TOPIC_ARN": f"arn:aws:sns:{REGION}:{ACCOUNT}:{TOPIC}",
    # The only scheme that asks AWS.
    "VERSION_SCHEME": "increment",
}
ANOTHER_SWEEP: Final = "Another sweep is running."
PARAMETERS: Final = "/imagebuilder/base"
FOLLOW_UP: Final = {"TAG_AMIS": "true", "AMI_TAG_KEYS": '["Team"]', "PARAMETER_PREFIX": PARAMETERS}
CONCURRENT: Final = 0.05
"""How likely another invocation begins during a call."""
_SWITCH: Final = 0.3
"""How likely another invocation continues during a call."""
_MAX_CONCURRENT: Final = 3
_MAX_MANUAL_SWEEPS: Final = 4
_MAX_ATTEMPTS: Final = 3
_TIMEOUT: Final = 5 * MINUTE
_SHORT_TIMEOUT: Final = 4 * MINUTE
"""With calls that take seconds, Lambda ends some invocations, and others have no time for every step."""
_RAISED: Final = ("InvocationEnded", "PermanentError", "TransientError")
"""The errors of invocations that are no defect of the function."""


class InvocationEnded(BaseException):
    """Lambda ended the invocation: no code of the function can catch it."""


@dataclass(eq=False)
class Invocation:
    """One invocation that is running."""

    payload: Mapping[str, Any]
    attempt: int
    number: int
    """Of the execution environment."""
    deadline: datetime
    settled_images: frozenset[str]
    """ARNs, when it began."""
    others_images: Mapping[str, bool]
    """The images of other users that each list showed when it began: whether they had an AMI, by their ARNs."""
    unrecorded: str | None = None
    """The text of a notification that SNS accepted and that is not recorded yet."""
    interrupted: bool = False
    """Whether a fault has kept it from recording the notification."""
    image_arn: str = ""
    """Of the image that it requested last."""
    unanswered_save: str = ""
    """The id of the record whose save was its last call, and got no answer."""
    unanswered: Counter[str] = field(default_factory=Counter)
    """How many more attempts of an operation get no answer."""
    hindered: bool = False
    """Whether a request failed that a sweep cannot do without: to claim its lock, or to list the import tasks."""
    turn: Semaphore = field(default_factory=lambda: Semaphore(0))
    """It has the turn while this is released."""

    @property
    def dry_run(self) -> bool:
        """Whether it may not write anything."""
        return bool(self.payload.get("dryRun"))

    @property
    def is_sweep(self) -> bool:
        """Whether it processes all import tasks."""
        return self.payload.get("action") == "sweep"


@dataclass
class Lambda:
    """The queue of invocations, and those that are running."""

    state: State
    stale_reads: StaleReads
    queue: list[tuple[datetime, Mapping[str, Any], int]] = field(default_factory=list)
    """When an event is due, the event, and which attempt it is."""
    current: Invocation | None = None
    """The one that has the turn."""
    _running: list[Invocation] = field(default_factory=list)
    """In the order in which they began."""
    _idle: Semaphore = field(default_factory=lambda: Semaphore(0))
    """Released when no invocation is running any more."""
    _manual_sweeps: int = 0

    def enqueue(self, event: Mapping[str, Any], *, delay_minutes: int = 0, attempt: int = 1) -> None:
        """Add an event to the queue."""
        self.queue.append((now() + delay_minutes * MINUTE, event, attempt))

    def run_due(self) -> None:
        """Invoke the function with each event that is due, in random order."""
        due = [each for each in self.queue if each[0] <= now()]
        self.queue = [each for each in self.queue if each not in due]
        self.state.random.shuffle(due)
        for _, event, attempt in due:
            self._give_turn(self._begin(event, attempt))
            self._idle.acquire()

    def run_concurrently(self, probability: float, *, newest: bool = False) -> None:
        """Begin a queued invocation, or the newest one, with this probability, or let another one continue.

        A high probability first enqueues a manual sweep. The current invocation goes on when it has the turn again.
        """
        current, other = self.current, None
        if probability > CONCURRENT and not self.queue and self._manual_sweeps < _MAX_MANUAL_SWEEPS:
            self._manual_sweeps += 1
            self.enqueue({"action": "sweep"}, attempt=_MAX_ATTEMPTS)
        if len(self._running) < _MAX_CONCURRENT and self.queue and self.state.random.random() < probability:
            self.state.counts["concurrent invocations"] += 1
            _, event, attempt = self.queue.pop(-1 if newest else self.state.random.randrange(len(self.queue)))
            other = self._begin(event, attempt)
        elif self.state.has(Feature.CROSSWISE) and len(self._running) > 1 and self.state.random.random() < _SWITCH:
            other = self.state.random.choice([each for each in self._running if each is not current])
            self.state.counts["turns of concurrent invocations"] += 1
        if other and current:
            self._give_turn(other)
            current.turn.acquire()

    def allow_repeat(self, invocation: Invocation) -> None:
        """Let a notification be sent again that a fault left unrecorded: notifications are delivered at least once."""
        if invocation.unrecorded and invocation.interrupted:
            self.state.repeatable[invocation.unrecorded] += 1
        invocation.unrecorded, invocation.interrupted = None, False

    def _begin(self, event: Mapping[str, Any], attempt: int) -> Invocation:
        """Start the thread of an invocation, which waits for its turn."""
        state, numbers = self.state, {each.number for each in self._running}
        invocation = Invocation(
            event,
            attempt,
            number=next(number for number in range(_MAX_CONCURRENT) if number not in numbers),
            deadline=now() + (_SHORT_TIMEOUT if state.slow else _TIMEOUT),
            settled_images=settled_images(state),
            others_images=listed_images_of_others(state, self.stale_reads),
        )
        if "description" in event:
            state.overridden.add(event["importTaskId"])
        if event.get("force") and not invocation.dry_run:
            state.forced[event["importTaskId"]] += 1
            state.counts["forced invocations"] += 1
        state.counts["invocations"] += 1
        self._running.append(invocation)
        Thread(target=self._run, args=(invocation,), daemon=True).start()
        return invocation

    def _give_turn(self, invocation: Invocation) -> None:
        self.current = invocation
        invocation.turn.release()

    def _run(self, invocation: Invocation) -> None:
        """Run the invocation in its thread, and then let another one continue."""
        invocation.turn.acquire()
        try:
            self._invoke(invocation)
        finally:
            self._running.remove(invocation)
            if not self._running:
                self.current = None
                self._idle.release()
            elif self.state.has(Feature.CROSSWISE):
                self._give_turn(self.state.random.choice(self._running))
            else:
                self._give_turn(self._running[-1])

    def _invoke(self, invocation: Invocation) -> None:
        state = self.state
        try:
            answer = invoke(
                invocation.payload,
                self._context(invocation),
                _clients(invocation.number, filtered=state.filtered, follow_up=state.follow_up),
            )
            state.counts[f"answers: {answer['outcome']}"] += 1
            self._note_registrations(answer)
            if invocation.is_sweep and not state.faulty and state.has(Feature.SWEEP_PROBLEMS):
                self._check_problems(answer)
        except (Exception, InvocationEnded) as error:  # noqa: BLE001 - Lambda retries after any error
            self._fail(invocation, error)
        finally:
            self.allow_repeat(invocation)

    def _note_registrations(self, answer: Mapping[str, Any]) -> None:
        for result in answer.get("results", [answer]):
            if result["outcome"] == "REGISTERED":
                registration = self.state.deployment, result["imageArn"]
                self.state.registrations[registration] += 1
                if registration not in self.state.recorded:
                    self.state.violations.append(f"lost: {result['imageArn']} was registered before it was recorded")

    def _context(self, invocation: Invocation) -> SimpleNamespace:
        return SimpleNamespace(
            aws_request_id=str(self.state.random.random()),
            function_name="simulation",
            invoked_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:simulation",
            memory_limit_in_mb=256,
            get_remaining_time_in_millis=lambda: max(0, int((invocation.deadline - now()).total_seconds() * 1000)),
        )

    def _fail(self, invocation: Invocation, error: BaseException) -> None:
        """Retry a failed asynchronous invocation after one and after two minutes."""
        state, payload = self.state, invocation.payload
        state.counts[f"failed invocations: {type(error).__name__}"] += 1
        if not self._may_raise(invocation, type(error).__name__):
            state.violations.append(f"wrong: {dict(payload)} failed with {error!r}")
        each = state.find_import(payload.get("importTaskId", ""))
        if invocation.image_arn and (payload.get("force") or (each and each.excluded)):
            state.unrecorded_images.add(invocation.image_arn)
        # Lambda does not retry a manual invocation. Without faults, one attempt must be enough.
        if invocation.attempt < _MAX_ATTEMPTS and "importTaskId" not in payload and state.faulty:
            self.enqueue(payload, delay_minutes=invocation.attempt, attempt=invocation.attempt + 1)

    def _may_raise(self, invocation: Invocation, error: str) -> bool:
        if invocation.is_sweep and error != "InvocationEnded":
            return invocation.hindered or not self.state.has(Feature.SWEEP_PROBLEMS)
        # What EC2 answers about the AMI of certain imports.
        broken = error == "AttributeError" and any(each.kind == "raises always" for each in self.state.imports)
        invalid = error == "InvalidTriggerError" and "detail-type" in invocation.payload
        return error in _RAISED or broken or invalid

    def _check_problems(self, answer: Mapping[str, object]) -> None:
        if answer.get("reason") == ANOTHER_SWEEP:
            return
        problems = json.dumps(answer.get("problems"))
        for each in self.state.imports:
            task = self.state.vm_import.find(each.task)
            raises = each.kind == "raises always" and task is not None and task.answer["Status"] == "completed"
            if raises and not each.excluded and each.task not in problems:
                self.state.violations.append(f"lost: a sweep has no problem of {each.task}: {problems}")


@cache
def _clients(number: int, *, filtered: bool, follow_up: bool) -> Clients:
    """Return the clients of an execution environment. Each concurrent invocation has one of its own."""
    assert number >= 0
    tags = {"ONLY_TASKS_TAGGED": json.dumps(FILTER_TAG)} if filtered else {}
    return Clients(Settings.from_environment(ENVIRONMENT | tags | (FOLLOW_UP if follow_up else {})))
