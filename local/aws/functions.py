"""Lambda functions that really run: what moto holds as deployed is executed by `local.aws.lambda_runtime`.

moto would start a Docker container per invocation. After `install`, `lambda:Invoke` runs the deployed zip in a warm
environment instead, and asynchronous invocations wait in a queue until somebody calls `run_queued`.
"""

import atexit
import base64
import contextlib
import functools
import io
import json
import shutil
import tempfile
import threading
import time
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from moto.awslambda import models
from moto.awslambda.exceptions import UnknownFunctionException
from moto.awslambda.utils import get_backend
from moto.cloudformation import parsing
from moto.core.common_models import CloudFormationModel
from moto.sqs.models import sqs_backends

from local.aws import iam
from local.aws.lambda_runtime import Configuration, ExecutionEnvironment, Result

_LOG_TAIL = 4096

# Properties that moto drops.
_KEPT = ("Architectures", "DeadLetterConfig", "LoggingConfig", "TracingConfig")


@dataclass(frozen=True)
class Invocation:
    """One run of a function, for the record.

    `attempt` counts the tries of an asynchronous invocation from 1; `traced` is whether X-Ray got a trace of the run.
    """

    function_name: str
    payload: bytes
    result: Result
    attempt: int
    traced: bool


def install(endpoint_url: str) -> None:
    """Let moto make functions that run and find AWS at `endpoint_url`; to be called before any is created."""
    Function.endpoint_url = endpoint_url
    iam.install()
    models.LambdaFunction = Function  # type: ignore[misc]
    # CloudFormation may have listed its types before this module was imported.
    for known_types in (parsing.get_model_list, parsing.get_model_map):
        known_types.cache_clear()


def find(arn: str) -> "Function | None":
    """Return the deployed function with this ARN."""
    region, account_id = arn.split(":")[3:5]
    try:
        function = get_backend(account_id, region).get_function(arn)
    except UnknownFunctionException:
        return None
    if not isinstance(function, Function):
        message = f"{arn} was created before local.aws.functions.install()"
        raise TypeError(message)
    return function


def enqueue(function: "Function", payload: bytes) -> None:
    """Accept an asynchronous invocation."""
    _queue.append((function, payload))


def run_queued() -> int:
    """Carry out every queued invocation, also those that are queued meanwhile, and return how many there were.

    Each is tried as often as the function's configuration says, without the minutes that Lambda waits between tries;
    what failed for good goes to the on-failure destination and to the dead-letter queue, where there is one.
    """
    count = 0
    while _queue:
        function, payload = _queue.popleft()
        function.run_asynchronously(payload)
        count += 1
    return count


def invocations() -> Sequence[Invocation]:
    """Return every run since the last `shutdown`, oldest first."""
    return tuple(_record)


def shutdown() -> None:
    """End all processes and forget queue, record and unpacked code. Functions stay deployed and start afresh."""
    _environments.close()
    _queue.clear()
    _record.clear()
    iam.forget()
    with _unpacking:
        shutil.rmtree(_workspace(), ignore_errors=True)
        _workspace.cache_clear()


def send_message(queue_arn: str, body: str, attributes: Mapping[str, str | int] | None = None) -> None:
    """Put a message into the SQS queue with this ARN, as AWS's own services do."""
    service, region, account_id, name = queue_arn.split(":")[2:6]
    if service != "sqs":
        message = f"Only SQS queues are supported here, not {queue_arn}"
        raise NotImplementedError(message)
    typed = {
        key: {"DataType": "Number" if isinstance(value, int) else "String", "StringValue": str(value)}
        for key, value in (attributes or {}).items()
    }
    sqs_backends[account_id][region].send_message(name, body, message_attributes=typed)


class Function(models.LambdaFunction, CloudFormationModel):
    """moto's function, with everything that its deployment says, and able to run.

    It is named as a direct subclass of `CloudFormationModel` for moto to take it for `AWS::Lambda::Function`.
    """

    endpoint_url: ClassVar[str]

    def __init__(self, account_id: str, spec: dict[str, Any], region: str, version: str | int = 1) -> None:
        super().__init__(account_id, spec, region, version)
        self.logging_config: dict[str, str] = {}
        self.dead_letter_config: dict[str, str] = {}
        self._keep(spec)

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,  # noqa: ANN401 - moto's signature
    ) -> models.LambdaFunction:
        """Create the function with the properties that moto leaves out."""
        function = super().create_from_cloudformation_json(
            resource_name, cloudformation_json, account_id, region_name, **kwargs
        )
        properties = cloudformation_json["Properties"]
        function.update_configuration({key: properties[key] for key in _KEPT if key in properties})
        return function

    def update_configuration(self, config_updates: dict[str, Any]) -> dict[str, Any]:
        """Update also what moto leaves out."""
        self._keep(config_updates)
        return super().update_configuration(config_updates)

    def get_configuration(self, on_create: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - moto's signature
        """Describe also what moto leaves out."""
        kept = {"LoggingConfig": self.logging_config, "DeadLetterConfig": self.dead_letter_config}
        return super().get_configuration(on_create) | {key: value for key, value in kept.items() if value}

    def delete(self, account_id: str, region: str) -> None:
        """Remove the function together with its stack, and its processes with it."""
        super().delete(account_id, region)
        _environments.close(self)

    def invoke(
        self, body: str | bytes, request_headers: Mapping[str, str], response_headers: MutableMapping[str, str]
    ) -> bytes:
        """Answer `lambda:Invoke`."""
        payload = (body.encode() if isinstance(body, str) else body) or b"{}"
        kind = request_headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if kind == "Event":
            enqueue(self, payload)
        if kind != "RequestResponse":
            return b""
        result = self.run(payload)
        response_headers["X-Amz-Executed-Version"] = str(self.version)
        # moto takes it out again when the caller did not ask for it, and looks for it by this spelling.
        response_headers["x-amz-log-result"] = base64.b64encode(result.logs.encode()[-_LOG_TAIL:]).decode()
        if result.error:
            response_headers["X-Amz-Function-Error"] = "Unhandled"
        return result.payload

    def run(self, payload: bytes, request_id: str | None = None, attempt: int = 1) -> Result:
        """Invoke the function in an environment of its own; the logs end in the function's log group."""
        with _environments.borrow(self, self._runtime_configuration()) as environment:
            result = environment.invoke(payload, timeout=self.timeout, request_id=request_id)
        self._write_logs(environment.log_stream, result.logs)
        _record.append(Invocation(self.function_name, payload, result, attempt, self._trace()))
        return result

    def run_asynchronously(self, payload: bytes) -> None:
        """Invoke the function as `run_queued` promises."""
        config = self.event_invoke_config[-1].config if self.event_invoke_config else {}
        result, attempt = self.run(payload), 1
        while result.error and attempt <= config.get("MaximumRetryAttempts", 2):
            attempt += 1
            result = self.run(payload, result.request_id, attempt)
        outcome = "OnFailure" if result.error else "OnSuccess"
        if destination := config.get("DestinationConfig", {}).get(outcome, {}).get("Destination"):
            self._send(destination, json.dumps(self._invocation_record(payload, result, attempt)))
        if result.error and (queue_arn := self.dead_letter_config.get("TargetArn")):
            error = json.loads(result.payload).get("errorMessage") or "-"
            attributes = {"RequestID": result.request_id, "ErrorCode": 200, "ErrorMessage": error[:1024]}
            self._send(queue_arn, payload.decode(), attributes)

    def _send(self, queue_arn: str, body: str, attributes: Mapping[str, str | int] | None = None) -> None:
        """Send as Lambda does with the function's role: what the role may not send is lost."""
        if not iam.authorize(self.role, [iam.AuthorizationRequest("sqs:SendMessage", queue_arn)]):
            send_message(queue_arn, body, attributes)

    def _invocation_record(self, payload: bytes, result: Result, attempt: int) -> dict[str, object]:
        response = {"statusCode": 200, "executedVersion": str(self.version)}
        return {
            "version": "1.0",
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "requestContext": {
                "requestId": result.request_id,
                "functionArn": f"{self.function_arn}:{self.version}",
                "condition": "RetriesExhausted" if result.error else "Success",
                "approximateInvokeCount": attempt,
            },
            "requestPayload": json.loads(payload),
            "responseContext": response | ({"functionError": "Unhandled"} if result.error else {}),
            "responsePayload": json.loads(result.payload),
        }

    def _keep(self, properties: Mapping[str, Any]) -> None:
        self.logging_config = properties.get("LoggingConfig", self.logging_config)
        self.dead_letter_config = properties.get("DeadLetterConfig", self.dead_letter_config)
        self.tracing_config = properties.get("TracingConfig", self.tracing_config)
        self.architectures = properties.get("Architectures", self.architectures)
        self.logs_group_name = self.logging_config.get("LogGroup", self.logs_group_name)

    def _runtime_configuration(self) -> Configuration:
        return Configuration(
            task_root=self._task_root(),
            handler=str(self.handler),
            name=self.function_name,
            arn=self.function_arn,
            region=self.region,
            endpoint_url=self.endpoint_url,
            log_group=self.logs_group_name,
            role=self.role,
            version=str(self.version),
            runtime=str(self.run_time),
            memory=int(self.memory_size),
            log_format=self.logging_config.get("LogFormat", "Text"),
            log_level=self.logging_config.get("ApplicationLogLevel", "INFO"),
            variables=dict(self.environment_vars),
        )

    def _task_root(self) -> Path:
        with _unpacking:
            folder = _workspace() / self.code_digest
            if not folder.exists():
                with zipfile.ZipFile(io.BytesIO(self.code_bytes)) as artefact:
                    artefact.extractall(folder)
        return folder

    def _trace(self) -> bool:
        """Trace a run as Lambda does with the function's role, and return whether it may; X-Ray itself is not here."""
        actions = ("xray:PutTraceSegments", "xray:PutTelemetryRecords")
        return self.tracing_config["Mode"] == "Active" and not iam.authorize(
            self.role, [iam.AuthorizationRequest(action, "*") for action in actions]
        )

    def _write_logs(self, stream: str, logs: str) -> None:
        """Write as Lambda does with the function's role: what the role may not write is lost."""
        partition = self.function_arn.split(":")[1]
        group = f"arn:{partition}:logs:{self.region}:{self.account_id}:log-group:{self.logs_group_name}"
        log_stream = f"{group}:log-stream:{stream}"
        if iam.authorize(
            self.role,
            [iam.AuthorizationRequest(f"logs:{action}", log_stream) for action in ("CreateLogStream", "PutLogEvents")],
        ):
            return
        if "LogGroup" in self.logging_config and self.logs_group_name not in self.logs_backend.groups:
            # It went with the stack, and to make it again takes a permission of its own.
            return
        self.logs_backend.ensure_log_group(self.logs_group_name)
        self.logs_backend.ensure_log_stream(self.logs_group_name, stream)
        # The runtime puts carriage returns into one message, so this is not the place for splitlines().
        messages = [line for line in logs.split("\n") if line]
        events = [{"timestamp": int(time.time() * 1000), "message": message} for message in messages]
        self.logs_backend.put_log_events(self.logs_group_name, stream, events)


class _Environments:
    """Environments that wait, by function, and those that are at work: one for each concurrent invocation."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[Function, list[ExecutionEnvironment]] = {}
        self._busy: set[ExecutionEnvironment] = set()

    @contextlib.contextmanager
    def borrow(self, function: Function, configuration: Configuration) -> Iterator[ExecutionEnvironment]:
        with self._lock:
            idle = self._idle.setdefault(function, [])
            # A deployment since then has made these stale.
            for stale in [each for each in idle if each.configuration != configuration]:
                stale.close()
                idle.remove(stale)
            environment = idle.pop() if idle else ExecutionEnvironment(configuration)
            self._busy.add(environment)
        try:
            yield environment
        finally:
            with self._lock:
                self._busy.remove(environment)
                self._idle.setdefault(function, []).append(environment)

    def close(self, function: Function | None = None) -> None:
        with self._lock:
            chosen = [function] if function else list(self._idle)
            closing = [each for key in chosen for each in self._idle.pop(key, [])]
            closing += [] if function else self._busy
        for environment in closing:
            environment.close()


@functools.cache
def _workspace() -> Path:
    return Path(tempfile.mkdtemp(prefix="functions-"))


_environments = _Environments()
_queue: deque[tuple[Function, bytes]] = deque()
_record: list[Invocation] = []
_unpacking = threading.Lock()
atexit.register(shutdown)
