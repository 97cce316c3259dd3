"""The network between the function and AWS, with the faults that the seed decides."""

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, NoReturn, cast
from urllib.parse import parse_qs

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, ReadTimeoutError
from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse
from moto.core.models import botocore_stubber

from local.aws import constraints
from tests.simulation.features import Feature
from tests.simulation.invocations import CONCURRENT, Invocation, InvocationEnded, Lambda
from tests.simulation.stale_reads import StaleReads
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
_FAULT: Final = 0.1
"""How likely a call has a fault."""
_MOST_HARMFUL: Final = {
    # The image exists and is not recorded.
    "ImportVmImage": ("ended after the call", 0.3),
    # What was done is not recorded.
    "UpdateItem": ("ended before the call", 0.05),
    # The claim is released, and another invocation claims before botocore's retry of the deletion.
    "Publish": ("denied", 0.15),
    "DeleteItem": ("read timeout", 0.5),
    "PutParameter": ("ended after the call", 0.1),
}
"""The fault that does the most harm to an operation, and how likely it is."""
_MOST_HARMFUL_CONCURRENCY: Final = {"DeleteItem": 0.5}
_STALE: Final = frozenset({"DescribeImages", "DescribeImportImageTasks", "GetImage"})
"""Eventually consistent reads. Those of the idempotency table are strongly consistent."""
_WRITES: Final = frozenset({"CreateTags", "DeleteItem", "ImportVmImage", "Publish", "PutParameter", "UpdateItem"})
_FOLLOW_UP: Final = ("CreateTags", "PutParameter")
_CLAIM: Final = "claimed_until = :until"
_SAVE: Final = "reported = :reported"
"""What the expressions of an update of a record have: one that claims it, and one that saves it."""
_IMAGE_ARN: Final = re.compile(r'"arn": "(arn:aws:imagebuilder:[\w:./-]+)"')
_moto: Final = BotocoreStubber.__call__


@dataclass
class Network:
    """Delivers requests to the local AWS and its answers, or lets them fail."""

    state: State
    lambda_: Lambda
    stale_reads: StaleReads
    _errors: int = 0

    def send(self, event_name: str, request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
        """Take the place of moto's own hook in botocore."""
        invocation, operation = self.lambda_.current, event_name.rpartition(".")[2]
        if invocation is None:
            # A call of the operator.
            return _moto(botocore_stubber, event_name, request)
        if self.state.faulty:
            self.lambda_.run_concurrently(_MOST_HARMFUL_CONCURRENCY.get(operation, CONCURRENT))
            if self.state.slow:
                self.state.wait(self.state.random.uniform(0, READ_TIMEOUT))
        self._check_request(invocation, operation, request)
        fault = _DEADLINE if now() >= invocation.deadline else self._choose_fault(operation, request)
        self.state.counts.update([fault] if fault else [])
        if fault not in {"", "stale read"}:
            invocation.interrupted = True
            invocation.tasks_unlisted |= operation == "DescribeImportImageTasks"
        return self._deliver(invocation, operation, request, fault)

    def _check_request(self, invocation: Invocation, operation: str, request: AWSPreparedRequest) -> None:
        if invocation.dry_run and operation in _WRITES:
            self.state.violations.append(f"wrong: a dry run called {operation}")
        if operation == "ImportVmImage":
            broken = constraints.check("imagebuilder", operation, json.loads(_body(request)))
            self.state.violations += [f"wrong: a request breaks a limit: {limit}" for limit in broken]

    def _deliver(
        self, invocation: Invocation, operation: str, request: AWSPreparedRequest, fault: str
    ) -> AWSResponse | None:
        """Let the local AWS answer the request, or let it fail before or after that."""
        if fault in ERRORS:
            if operation == "Publish":
                self._record_attempt(request, accepted=False)
            return self._error(request, *ERRORS[fault])
        if fault in {_DEADLINE, *_BEFORE}:
            self._fail(fault, request)
        images = {*self.state.image_builder.images}
        with self.stale_reads.apply(operation, stale=fault == "stale read"):
            answer = _moto(botocore_stubber, operation, request)
        for arn in self.state.image_builder.images.keys() - images:
            self._check_version(invocation, arn)
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
        elif operation == "UpdateItem":
            self._record_update(invocation, request, answer)
        elif operation == "ImportVmImage" and answer and answer.status_code == HTTPStatus.OK:
            invocation.image_arn = json.loads(answer.content)["imageArn"]
        elif operation == "ImportVmImage" and answer and b"IdempotentParameterMismatch" in answer.content:
            self.state.token_mismatches.add(json.loads(_body(request))["vmImportTaskId"])

    def _record_update(self, invocation: Invocation, request: AWSPreparedRequest, answer: AWSResponse | None) -> None:
        update = json.loads(_body(request))
        expression = update["UpdateExpression"]
        if _CLAIM in expression:
            # The next operation begins.
            self.lambda_.allow_repeat(invocation)
        elif _SAVE in expression and answer and answer.status_code == HTTPStatus.OK:
            invocation.unrecorded = None
            data = update["ExpressionAttributeValues"].get(":data", {}).get("S", "")
            self.state.recorded |= {(self.state.deployment, arn) for arn in _IMAGE_ARN.findall(data)}

    def _check_version(self, invocation: Invocation, arn: str) -> None:
        image = self.state.image_builder.images[arn]
        each = self.state.find_import(image.params["vmImportTaskId"])
        if each and each.version is None:
            settled, available = invocation.settled_images, invocation.available_images
            self.state.violations += check_version(self.state, image, settled=settled, available=available)

    def _choose_fault(self, operation: str, request: AWSPreparedRequest) -> str:
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
        harmful, probability = _MOST_HARMFUL.get(operation, ("", 0.0))
        if self.state.random.random() < probability:
            return harmful
        fault = self.state.random.choice(_FAULTS) if self.state.random.random() < _FAULT else ""
        return "" if fault == "stale read" and operation not in _STALE else fault

    def _record_attempt(self, request: AWSPreparedRequest, *, accepted: bool) -> str:
        body = parse_qs(_body(request))
        (message,) = body["Message"]
        text: str = json.loads(message)["email"]
        (outcome,) = body["MessageAttributes.entry.1.Value.StringValue"]
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
