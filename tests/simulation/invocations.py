"""Lambda: it invokes the function, several times at once, and retries what fails."""

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from types import SimpleNamespace
from typing import Final

from local.aws.local_aws import ACCOUNT
from tests.simulation.state import MINUTE, REGION, State, now
from vm_image_import.clients import Clients
from vm_image_import.handler import invoke
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
CONCURRENT: Final = 0.05
"""How likely another invocation runs during a call."""
_MAX_CONCURRENT: Final = 3
_MAX_MANUAL_SWEEPS: Final = 4
_MAX_ATTEMPTS: Final = 3
_TIMEOUT: Final = 5 * MINUTE
_SHORT_TIMEOUT: Final = MINUTE
"""With calls that take seconds, Lambda ends some invocations."""


class InvocationEnded(BaseException):
    """Lambda ended the invocation: no code of the function can catch it."""


@dataclass
class Invocation:
    """One invocation that is running."""

    deadline: datetime
    dry_run: bool = False
    unrecorded: str | None = None
    """The text of a notification that SNS accepted and that is not recorded yet."""
    image_arn: str = ""
    """Of the image that it requested last."""


@dataclass
class Lambda:
    """The queue of invocations, and those that are running."""

    state: State
    queue: list[tuple[datetime, object, int]] = field(default_factory=list)
    """When an event is due, the event, and which attempt it is."""
    running: list[Invocation] = field(default_factory=list)
    """Each one runs during a call of the one before it."""
    _manual_sweeps: int = 0

    def enqueue(self, event: object, *, delay_minutes: int = 0, attempt: int = 1) -> None:
        """Add an event to the queue."""
        self.queue.append((now() + delay_minutes * MINUTE, event, attempt))

    def run_due(self) -> None:
        """Invoke the function with each event that is due, in random order."""
        due = [each for each in self.queue if each[0] <= now()]
        self.queue = [each for each in self.queue if each not in due]
        self.state.random.shuffle(due)
        for _, event, attempt in due:
            self._invoke(event, attempt)

    def run_concurrently(self, probability: float) -> None:
        """Run one of the queued invocations now, with this probability. A high one first enqueues a manual sweep."""
        if probability > CONCURRENT and not self.queue and self._manual_sweeps < _MAX_MANUAL_SWEEPS:
            self._manual_sweeps += 1
            self.enqueue({"action": "sweep"}, attempt=_MAX_ATTEMPTS)
        if len(self.running) < _MAX_CONCURRENT and self.queue and self.state.random.random() < probability:
            self.state.counts["concurrent invocations"] += 1
            _, event, attempt = self.queue.pop(self.state.random.randrange(len(self.queue)))
            self._invoke(event, attempt)

    def allow_repeat(self, invocation: Invocation) -> None:
        """Let the unrecorded notification be sent again: notifications are delivered at least once."""
        if invocation.unrecorded:
            self.state.repeatable[invocation.unrecorded] += 1
            invocation.unrecorded = None

    def _invoke(self, event: object, attempt: int) -> None:
        """Invoke the function once. A failed asynchronous invocation is retried after one and after two minutes."""
        state, payload = self.state, event if isinstance(event, dict) else {}
        invocation = Invocation(
            now() + (_SHORT_TIMEOUT if state.slow else _TIMEOUT), dry_run=payload.get("dryRun", False)
        )
        if "description" in payload:
            state.overridden.add(payload["importTaskId"])
        if payload.get("force") and not invocation.dry_run:
            state.forced[payload["importTaskId"]] += 1
            state.counts["forced invocations"] += 1
        clients, context = _clients(len(self.running)), self._context(invocation)
        state.counts["invocations"] += 1
        self.running.append(invocation)
        try:
            with redirect_stdout(io.StringIO()):
                answer = invoke(event, context, clients)
            state.counts[f"answers: {answer['outcome']}"] += 1
        except (Exception, InvocationEnded) as error:  # noqa: BLE001 - Lambda retries after any error
            self._fail(payload, invocation, attempt, error)
        finally:
            self.allow_repeat(self.running.pop())

    def _context(self, invocation: Invocation) -> SimpleNamespace:
        return SimpleNamespace(
            aws_request_id=str(self.state.random.random()),
            function_name="simulation",
            invoked_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:simulation",
            memory_limit_in_mb=256,
            get_remaining_time_in_millis=lambda: max(0, int((invocation.deadline - now()).total_seconds() * 1000)),
        )

    def _fail(self, payload: Mapping[str, object], invocation: Invocation, attempt: int, error: BaseException) -> None:
        self.state.counts[f"failed invocations: {type(error).__name__}"] += 1
        if payload.get("force") and invocation.image_arn:
            self.state.unrecorded_images.add(invocation.image_arn)
        # Lambda does not retry a manual invocation. Without faults, one attempt must be enough.
        if attempt < _MAX_ATTEMPTS and "importTaskId" not in payload and self.state.faulty:
            self.enqueue(payload, delay_minutes=attempt, attempt=attempt + 1)


@cache
def _clients(number: int) -> Clients:
    """Return the clients of an execution environment. Each concurrent invocation has one of its own."""
    assert number >= 0
    return Clients(Settings.from_environment(ENVIRONMENT))
