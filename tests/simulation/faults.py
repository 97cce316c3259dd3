"""The network between the function and AWS, and what goes wrong on it: made from a seed, with virtual time only."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, NoReturn, cast
from urllib.parse import parse_qs

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, ReadTimeoutError
from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse
from moto.core.models import botocore_stubber

from local.aws import constraints
from vm_image_import.aws import CONNECT_TIMEOUT, READ_TIMEOUT

REFUSALS: Final = {
    "throttled": (400, "ThrottlingException"),
    "too many": (429, "TooManyRequestsException"),
    "server error": (500, "InternalError"),
    "unavailable": (503, "ServiceUnavailable"),
    "denied": (403, "AccessDeniedException"),
}
_BEFORE: Final = ("killed before", "dropped before", "no connection")
_AFTER: Final = ("killed after", "dropped after", "no answer")
_FAULTS: Final[tuple[str, ...]] = (*REFUSALS, *_BEFORE, *_AFTER, "stale read")
_LIKELY: Final = 0.1
_WHERE_IT_HURTS: Final = {
    # The image is made, and nobody knows.
    "ImportVmImage": ("killed after", 0.3),
    "UpdateItem": ("killed before", 0.1),
    # What was begun is taken back, and somebody else begins before that is asked for once more.
    "Publish": ("denied", 0.15),
    "DeleteItem": ("no answer", 0.5),
}
OVERTAKEN: Final = 0.05
"""How likely another run comes in between, before each call."""
_OVERTAKEN_WHERE_IT_HURTS: Final = {"DeleteItem": 0.5}
_READS: Final = frozenset({"DescribeImages", "DescribeImportImageTasks", "GetImage", "ListImages"})
"""The ones that may be stale: the ledger's are consistent."""
_WRITES: Final = frozenset({"DeleteItem", "ImportVmImage", "Publish", "PutItem", "UpdateItem"})
_NOT_NOTIFIED: Final = re.compile(r'"notified\W+false')
"""In the record of a registration."""
_moto: Final = BotocoreStubber.__call__


class KilledError(BaseException):
    """Lambda ended the run: nothing in it can catch that."""


@dataclass
class Run:
    """One run of the function: when Lambda ends it, and the notice that AWS took and the ledger has not recorded."""

    end: datetime
    dry: bool = False
    unrecorded: str | None = None
    made: str = ""
    """The ARN of the image that it asked for last."""


@dataclass
class Network:
    """Takes requests to the local AWS, or not, and answers back, or not."""

    chance: random.Random
    now: Callable[[], datetime]
    wait: Callable[[float], None]
    """Lets virtual time pass, in seconds."""
    stale: Callable[[str], AbstractContextManager[None]]
    """Returns a context in which the local AWS answers an operation as it would have a while ago."""
    overtake: Callable[[float], None]
    """Lets another run that is due go first, in the middle of this one, with the likelihood that it is given."""
    counts: Counter[str]
    faulty: bool = False
    slow: bool = False
    topic_refuses: bool = False
    runs: list[Run] = field(default_factory=list)
    """The runs at this moment: each in the middle of the one before it."""
    notices: list[tuple[str, str]] = field(default_factory=list)
    """Outcome and text of every notice that the topic took."""
    repeatable: Counter[str] = field(default_factory=Counter)
    """Texts that may be told once more for each time that nobody could know that they were told."""
    changed_after_a_crash: set[str] = field(default_factory=set)
    """Tasks whose client token was met with other values."""
    broken: list[str] = field(default_factory=list)
    """Limits of ImportVmImage that a request broke, and what a dry run changed."""

    def send(self, event_name: str, request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
        """Stand between botocore and moto, in the place of moto's own hook."""
        if not self.runs:
            # A person asks.
            return _moto(botocore_stubber, event_name, request)
        run, operation = self.runs[-1], event_name.rpartition(".")[2]
        if self.faulty:
            self.overtake(_OVERTAKEN_WHERE_IT_HURTS.get(operation, OVERTAKEN))
            if self.slow:
                self.wait(self.chance.uniform(0, READ_TIMEOUT))
        if run.dry and operation in _WRITES:
            self.broken.append(f"a dry run called {operation}")
        if self.now() >= run.end:
            fault = "killed at the deadline"
            self.counts[fault] += 1
            self._fail(fault, request)
        if operation == "ImportVmImage":
            self.broken += constraints.check("imagebuilder", operation, json.loads(_text(request)))
        fault = self._fault(operation)
        self.counts.update([fault] if fault else [])
        if fault in REFUSALS:
            return _answer(request, *REFUSALS[fault])
        if fault in _BEFORE:
            self._fail(fault, request)
        with self.stale(operation) if fault == "stale read" else nullcontext():
            answer = _moto(botocore_stubber, event_name, request)
        self._take_note(run, operation, request, answer)
        if fault in _AFTER:
            self._fail(fault, request)
        return answer

    def _take_note(self, run: Run, operation: str, request: AWSPreparedRequest, answer: AWSResponse | None) -> None:
        if operation == "Publish":
            self.leave_unrecorded(run)
            run.unrecorded = self._hear(request)
        elif operation == "UpdateItem":
            if _NOT_NOTIFIED.search(_text(request)):
                # SNS took it, its answer was lost, and the last try was refused.
                self.leave_unrecorded(run)
            run.unrecorded = None
        elif operation == "PutItem":
            # Another act begins.
            self.leave_unrecorded(run)
        elif operation == "ImportVmImage" and answer and answer.status_code == HTTPStatus.OK:
            run.made = json.loads(answer.content)["imageArn"]
        elif operation == "ImportVmImage" and answer and b"IdempotentParameterMismatch" in answer.content:
            self.changed_after_a_crash.add(json.loads(_text(request))["vmImportTaskId"])

    def _fault(self, operation: str) -> str:
        if operation == "Publish" and self.topic_refuses:
            return "denied"
        if not self.faulty:
            return ""
        crash, likely = _WHERE_IT_HURTS.get(operation, ("", 0.0))
        if self.chance.random() < likely:
            return crash
        fault = self.chance.choice(_FAULTS) if self.chance.random() < _LIKELY else ""
        return "" if fault == "stale read" and operation not in _READS else fault

    def _hear(self, request: AWSPreparedRequest) -> str:
        body = parse_qs(_text(request))
        (message,) = body["Message"]
        text: str = json.loads(message)["email"]
        (outcome,) = body["MessageAttributes.entry.1.Value.StringValue"]
        self.notices.append((outcome, text))
        return text

    def _fail(self, fault: str, request: AWSPreparedRequest) -> NoReturn:
        """End the connection, or the whole run."""
        if fault.startswith("killed"):
            raise KilledError
        if fault == "no connection":
            self.wait(CONNECT_TIMEOUT)
            raise ConnectTimeoutError(endpoint_url=request.url)
        if fault == "no answer":
            self.wait(READ_TIMEOUT)
            raise ReadTimeoutError(endpoint_url=request.url)
        raise ConnectionClosedError(endpoint_url=request.url)

    def leave_unrecorded(self, run: Run) -> None:
        """Take note that a run told people what nobody will know to be told: told twice is better than never."""
        if run.unrecorded:
            self.repeatable[run.unrecorded] += 1
            run.unrecorded = None


def _text(request: AWSPreparedRequest) -> str:
    body = request.body
    return body.decode() if isinstance(body, bytes) else str(body)


def _answer(request: AWSPreparedRequest, status: int, code: str) -> AWSResponse:
    """Answer an error in the form of whatever service is asked."""
    if "ec2" in request.url:
        body = f"<Response><Errors><Error><Code>{code}</Code><Message>x</Message></Error></Errors></Response>"
    elif "sns" in request.url:
        body = f"<ErrorResponse><Error><Code>{code}</Code><Message>x</Message></Error></ErrorResponse>"
    else:
        body = json.dumps({"__type": code, "message": "x"})
    return AWSResponse(request.url, status, cast("Any", {"x-amzn-ErrorType": code}), cast("Any", MockRawResponse(body)))
