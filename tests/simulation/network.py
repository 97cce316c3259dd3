"""The network between the function and AWS, with the faults that the seed decides."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, NoReturn, cast
from urllib.parse import parse_qs

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, ReadTimeoutError
from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse
from moto.core.models import botocore_stubber

from local.aws import constraints
from local.aws.image_builder import Image
from tests.simulation.claims import Claims
from tests.simulation.features import Feature
from tests.simulation.invocations import CONCURRENT, Invocation, InvocationEnded, Lambda
from tests.simulation.others import check_second_image
from tests.simulation.stale_reads import RECORDS, StaleReads
from tests.simulation.state import Notification, State, now
from tests.simulation.versions import check_version
from vm_image_import.aws.session import CONNECT_TIMEOUT, READ_TIMEOUT

ERRORS: Final = {
    "throttled": (400, "ThrottlingException"),
    "too many requests": (429, "TooManyRequestsException"),
    "server error": (500, "InternalError"),
    "unavailable": (503, "ServiceUnavailable"),
    "denied": (403, "AccessDeniedException"),
    "quota exceeded": (402, "ServiceQuotaExceededException"),
}
"""Status and error code of the errors that AWS answers."""
_BEFORE: Final = ("ended before the call", "connection closed before the call", "connect timeout")
_AFTER: Final = ("ended after the call", "connection closed after the call", "read timeout")
_DEADLINE: Final = "ended at the deadline"
_QUOTA: Final = "quota exceeded"
"""Only Image Builder answers it, for the imports that it refuses."""
_FAULTS: Final[tuple[str, ...]] = (*(each for each in ERRORS if each != _QUOTA), *_BEFORE, *_AFTER, "stale read")
_UNANSWERED: Final = "read timeout of each attempt"
_FAULT: Final = 0.1
"""How likely a call has a fault."""
_MOST_HARMFUL: Final[Mapping[str, Mapping[str, float]]] = {
    # The image exists and is not recorded, while the claim stays or is released.
    "ImportVmImage": {"ended after the call": 0.2, _UNANSWERED: 0.2},
    # The claim, or the record, is written, and another invocation comes before botocore's next attempt.
    "claim": {"read timeout": 0.1},
    "save": {"read timeout": 0.1, _UNANSWERED: 0.1},
    # The claim stays.
    "release": {"ended before the call": 0.2},
    # The claim is released, and another invocation claims before botocore's retry of the deletion.
    "Publish": {"denied": 0.15},
    "DeleteItem": {"read timeout": 0.5},
    "PutParameter": {"ended after the call": 0.1},
    # What is open and not listed by EC2 waits for the next sweep.
    "Query": {"denied": 0.1},
}
"""The faults that do the most harm to an operation, and how likely each one is."""
_MOST_HARMFUL_CONCURRENCY: Final = {"DeleteItem": 0.5}
_REPEATED_SAVE: Final = 0.8
"""How likely another invocation processes the same import before botocore's next attempt to save its record."""
_STALE: Final = frozenset({"DescribeImages", "DescribeImportImageTasks", "GetImage", RECORDS})
"""Eventually consistent reads."""
_UPDATES: Final = {"claimed_until = :until": "claim", "reported = :reported": "save", "REMOVE claimed_until": "release"}
"""What the updates of a record do, by what their expressions have. Any other one takes a version."""
_TAKE: Final = "take"
_WRITES: Final = frozenset(
    {"CreateTags", "DeleteItem", "ImportVmImage", "Publish", "PutParameter", _TAKE, *_UPDATES.values()}
)
_FOLLOW_UP: Final = ("CreateTags", "PutParameter")
_OTHER_ATTEMPTS: Final = 2
"""botocore's after the first one."""
_AMI: Final = "AMI: "
LOCK: Final = "sweep"
"""The id of the record that a sweep claims."""
_moto: Final = BotocoreStubber.__call__


@dataclass
class Network:
    """Delivers requests to the local AWS and its answers, or lets them fail."""

    state: State
    lambda_: Lambda
    stale_reads: StaleReads
    claims: Claims
    _errors: int = 0

    def send(self, event_name: str, request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
        """Take the place of moto's own hook in botocore."""
        invocation, operation = self.lambda_.current, _operation(event_name, request)
        if invocation is None:
            # A call of the operator.
            return _moto(botocore_stubber, event_name, request)
        if self.state.faulty:
            self._run_concurrently(invocation, operation, request)
            if self.state.slow:
                self.state.wait(self.state.random.uniform(0, READ_TIMEOUT))
        self.state.calls[operation] += 1
        self._check_request(invocation, operation, request)
        fault = _DEADLINE if now() >= invocation.deadline else self._choose_fault(invocation, operation, request)
        invocation.unanswered_save = _key(request) if (operation, fault) == ("save", "read timeout") else ""
        self.state.counts.update([fault] if fault else [])
        if fault not in {"", "stale read"}:
            invocation.interrupted = True
            locks = operation == "claim" and _key(request) == LOCK
            invocation.hindered |= operation == "DescribeImportImageTasks" or locks
        return self._deliver(invocation, event_name, request, fault)

    def _run_concurrently(self, invocation: Invocation, operation: str, request: AWSPreparedRequest) -> None:
        if operation == "save" and invocation.unanswered_save == _key(request):
            self._register(_key(request).partition(" ")[0])
            self.lambda_.run_concurrently(_REPEATED_SAVE, newest=True)
        else:
            self.lambda_.run_concurrently(_MOST_HARMFUL_CONCURRENCY.get(operation, CONCURRENT))

    def _register(self, task: str) -> None:
        self.state.manual.add(task)
        self.lambda_.enqueue({"importTaskId": task})

    def _check_request(self, invocation: Invocation, operation: str, request: AWSPreparedRequest) -> None:
        if invocation.dry_run and operation in _WRITES:
            self.state.violations.append(f"wrong: a dry run called {operation}")
        if operation == "ImportVmImage":
            broken = constraints.check("imagebuilder", operation, json.loads(_body(request)))
            self.state.violations += [f"wrong: a request breaks a limit: {limit}" for limit in broken]

    def _deliver(
        self, invocation: Invocation, event_name: str, request: AWSPreparedRequest, fault: str
    ) -> AWSResponse | None:
        """Let the local AWS answer the request, or let it fail before or after that."""
        operation = _operation(event_name, request)
        if fault in ERRORS:
            if operation == "Publish":
                self._record_attempt(request, accepted=False)
            return self._error(request, *ERRORS[fault])
        if fault in {_DEADLINE, *_BEFORE}:
            self._fail(fault, request)
        images = {*self.state.image_builder.images}
        with self.stale_reads.apply(operation, stale=fault == "stale read"):
            answer = _moto(botocore_stubber, event_name, request)
        for arn in self.state.image_builder.images.keys() - images:
            self._check_image(invocation, self.state.image_builder.images[arn])
        self._record(invocation, operation, request, answer)
        if fault in _AFTER:
            # Also what this very request did is not known to the function.
            invocation.interrupted = True
            self._fail(fault, request)
        return answer

    def _record(
        self, invocation: Invocation, operation: str, request: AWSPreparedRequest, answer: AWSResponse | None
    ) -> None:
        if operation == "Publish":
            self.lambda_.allow_repeat(invocation)
            invocation.unrecorded = self._record_attempt(request, accepted=True)
        elif operation in {"claim", "save", "release", "DeleteItem"}:
            self.claims.check(operation, json.loads(_body(request)), answer)
            self._record_update(invocation, operation, request, answer)
        elif operation == "ImportVmImage" and answer and answer.status_code == HTTPStatus.OK:
            invocation.image_arn = json.loads(answer.content)["imageArn"]
        elif operation == "ImportVmImage" and answer and b"IdempotentParameterMismatch" in answer.content:
            self.state.token_mismatches.add(json.loads(_body(request))["vmImportTaskId"])

    def _record_update(
        self, invocation: Invocation, operation: str, request: AWSPreparedRequest, answer: AWSResponse | None
    ) -> None:
        if operation == "claim":
            # The next operation begins.
            self.lambda_.allow_repeat(invocation)
        elif operation == "save" and answer and answer.status_code == HTTPStatus.OK:
            invocation.unrecorded = None
            update = json.loads(_body(request))
            data = json.loads(update["ExpressionAttributeValues"].get(":data", {}).get("S", "{}"))
            if registration := data.get("registration"):
                self._record_registration(_key(request).partition(" ")[0], registration["arn"])

    def _record_registration(self, task: str, arn: str) -> None:
        state = self.state
        image = state.image_builder.images.get(arn)
        if image is None or image.params["vmImportTaskId"] != task:
            state.violations.append(f"wrong: {arn} is recorded as an image of {task}")
        state.recorded[state.deployment, arn] = task

    def _check_image(self, invocation: Invocation, image: Image) -> None:
        each = self.state.find_import(image.params["vmImportTaskId"])
        if each and each.version is None:
            self.state.violations += check_version(self.state, image, invocation.settled_images)
        if not invocation.payload.get("force"):
            self.state.violations += check_second_image(self.state, image, invocation.others_images)

    def _choose_fault(self, invocation: Invocation, operation: str, request: AWSPreparedRequest) -> str:
        if operation == "Publish" and self.state.topic_refuses:
            return "denied"
        if operation in _FOLLOW_UP and self.state.follow_up_refused:
            return "denied"
        if operation == "ImportVmImage" and self.state.refused:
            refusal = self.state.refused.get(json.loads(_body(request))["vmImportTaskId"])
            if refusal:
                return refusal
        if not self.state.faulty:
            return ""
        if invocation.unanswered[operation]:
            invocation.unanswered[operation] -= 1
            return "read timeout"
        for harmful, probability in _MOST_HARMFUL.get(operation, {}).items():
            if self.state.random.random() < probability:
                return self._lose_answers(invocation, operation, request) if harmful == _UNANSWERED else harmful
        fault = self.state.random.choice(_FAULTS) if self.state.random.random() < _FAULT else ""
        return "" if fault == "stale read" and operation not in _STALE else fault

    def _lose_answers(self, invocation: Invocation, operation: str, request: AWSPreparedRequest) -> str:
        """Let this and each other attempt of the call get no answer. An operator registers the import once more."""
        invocation.unanswered[operation] = _OTHER_ATTEMPTS
        if operation == "ImportVmImage":
            self._register(json.loads(_body(request))["vmImportTaskId"])
        return "read timeout"

    def _record_attempt(self, request: AWSPreparedRequest, *, accepted: bool) -> str:
        body = parse_qs(_body(request))
        (message,) = body["Message"]
        text: str = json.loads(message)["email"]
        (outcome,) = body["MessageAttributes.entry.1.Value.StringValue"]
        ami_id = next((line.removeprefix(_AMI) for line in text.splitlines() if line.startswith(_AMI)), "")
        if outcome == "IMAGE_AVAILABLE" and ami_id not in {*self.state.ec2.amis, *self.stale_reads.snapshot.amis}:
            self.state.violations.append(f"wrong: {outcome} of an AMI that is gone: {text}")
        self.state.attempts.append(Notification(self.state.deployment, outcome, text, accepted))
        return text

    def _fail(self, fault: str, request: AWSPreparedRequest) -> NoReturn:
        """End the connection, or the whole invocation."""
        if fault.startswith("ended"):
            raise InvocationEnded
        if fault == "connect timeout":
            self.state.wait(CONNECT_TIMEOUT)
            raise ConnectTimeoutError(endpoint_url=request.url)
        if fault == "read timeout":
            self.state.wait(READ_TIMEOUT)
            raise ReadTimeoutError(endpoint_url=request.url)
        raise ConnectionClosedError(endpoint_url=request.url)

    def _error(self, request: AWSPreparedRequest, status: int, code: str) -> AWSResponse:
        """Return an error in the format of the service that the request is for."""
        self._errors += 1
        text = f"Request ID: {self._errors:08x}" if self.state.has(Feature.CHANGING_ERRORS) else "Refused."
        if "ec2" in request.url:
            body = f"<Response><Errors><Error><Code>{code}</Code><Message>{text}</Message></Error></Errors></Response>"
        elif "sns" in request.url:
            body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{text}</Message></Error></ErrorResponse>"
        else:
            body = json.dumps({"__type": code, "message": text})
        headers, content = cast("Any", {"x-amzn-ErrorType": code}), cast("Any", MockRawResponse(body))
        return AWSResponse(request.url, status, headers, content)


def _body(request: AWSPreparedRequest) -> str:
    body = request.body
    return body.decode() if isinstance(body, bytes) else str(body)


def _operation(event_name: str, request: AWSPreparedRequest) -> str:
    """Return the name of an operation; of an update of the idempotency table, what it does."""
    operation = event_name.rpartition(".")[2]
    if operation == "BatchGetItem" and '"ConsistentRead": true' not in _body(request):
        return RECORDS
    if operation != "UpdateItem":
        return operation
    expression: str = json.loads(_body(request))["UpdateExpression"]
    return next((name for part, name in _UPDATES.items() if part in expression), _TAKE)


def _key(request: AWSPreparedRequest) -> str:
    """Return the id of the record that a request is about."""
    key: str = json.loads(_body(request))["Key"]["id"]["S"]
    return key
