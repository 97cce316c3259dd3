"""Lambda functions of moto that run: their deployed code is executed by `local.aws.lambda_runtime`.

moto starts a Docker container for each invocation. After `install`, `lambda:Invoke` runs the deployed zip in a warm
environment instead, and asynchronous invocations are queued until `run_queued` is called.
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
from moto.core.common_models import CloudFormationModel
from moto.sqs.models import sqs_backends

from local.aws import iam, keys, policies
from local.aws.lambda_runtime import Configuration, ExecutionEnvironment, Result

_LOG_TAIL = 4096

# Properties that moto ignores.
_IGNORED_BY_MOTO = ("Architectures", "DeadLetterConfig", "LoggingConfig", "TracingConfig")


@dataclass(frozen=True)
class Invocation:
    """One run of a function.

    `attempt` counts the attempts of an asynchronous invocation from 1; `traced` is whether X-Ray got a trace.
    """

    function_name: str
    payload: bytes
    result: Result
    attempt: int
    traced: bool


def install(endpoint_url: str, access_key: str) -> None:
    """Let moto create functions that run, with AWS at `endpoint_url`, which they use with this access key.

    To be called before a function is created, and before `cloudformation.install`.
    """
    Function.endpoint_url, Function.access_key = endpoint_url, access_key
    iam.install()
    models.LambdaFunction = Function  # type: ignore[misc]


def find(arn: str) -> "Function | None":
    """Return the deployed function with this ARN, None if there is none."""
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
    """Queue an asynchronous invocation."""
    _queue.append((function, payload))


def run_queued() -> int:
    """Run every queued invocation, also those that are queued meanwhile, and return how many there were.

    Each is retried as often as the function is configured for, without Lambda's delays between attempts. If all
    attempts fail, the on-failure destination and the dead-letter queue get a message, where they are configured.
    """
    count = 0
    while _queue:
        function, payload = _queue.popleft()
        function.run_asynchronously(payload)
        count += 1
    return count


def invocations() -> Sequence[Invocation]:
    """Return every run since the last `shutdown`, oldest first."""
    return tuple(_invocations)


def shutdown() -> None:
    """End all processes; clear the queue and the invocations. Functions stay deployed, and code stays unpacked."""
    _environments.close()
    _queue.clear()
    _invocations.clear()
    iam.clear()


def send_message(queue_arn: str, body: str, attributes: Mapping[str, str | int] | None = None) -> None:
    """Send a message to the SQS queue with this ARN, as AWS services do. Attributes are text or numbers."""
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
    """moto's function, with the properties that moto ignores, and able to run.

    moto finds the class for `AWS::Lambda::Function` as a direct subclass of `CloudFormationModel`.
    """

    endpoint_url: ClassVar[str]
    access_key: ClassVar[str]

    def __init__(self, account_id: str, spec: dict[str, Any], region: str, version: str | int = 1) -> None:
        super().__init__(account_id, spec, region, version)
        self.logging_config: dict[str, str] = {}
        self.dead_letter_config: dict[str, str] = {}
        self._set_ignored(spec)

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,  # noqa: ANN401 - moto's signature
    ) -> models.LambdaFunction:
        """Create the function with the properties that moto ignores."""
        function = super().create_from_cloudformation_json(
            resource_name, cloudformation_json, account_id, region_name, **kwargs
        )
        properties = cloudformation_json["Properties"]
        function.update_configuration({key: properties[key] for key in _IGNORED_BY_MOTO if key in properties})
        return function

    def update_configuration(self, config_updates: dict[str, Any]) -> dict[str, Any]:
        """Update the configuration, also the properties that moto ignores."""
        self._set_ignored(config_updates)
        return super().update_configuration(config_updates)

    def get_configuration(self, on_create: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - moto's signature
        """Return the configuration, also the properties that moto ignores."""
        ignored = {"LoggingConfig": self.logging_config, "DeadLetterConfig": self.dead_letter_config}
        return super().get_configuration(on_create) | {key: value for key, value in ignored.items() if value}

    def delete(self, account_id: str, region: str) -> None:
        """Delete the function with its stack, and end its processes."""
        super().delete(account_id, region)
        _environments.close(self)

    def invoke(
        self, body: str | bytes, request_headers: Mapping[str, str], response_headers: MutableMapping[str, str]
    ) -> bytes:
        """Answer `lambda:Invoke`."""
        payload = (body.encode() if isinstance(body, str) else body) or b"{}"
        invocation_type = request_headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if invocation_type == "Event":
            enqueue(self, payload)
        if invocation_type != "RequestResponse":
            return b""
        result = self.run(payload)
        response_headers["X-Amz-Executed-Version"] = str(self.version)
        # moto removes the header, by this spelling, if the caller has not requested the logs.
        response_headers["x-amz-log-result"] = base64.b64encode(result.logs.encode()[-_LOG_TAIL:]).decode()
        if result.error:
            response_headers["X-Amz-Function-Error"] = "Unhandled"
        return result.payload

    def run(self, payload: bytes, request_id: str | None = None, attempt: int = 1) -> Result:
        """Run the function in an environment and write the output to the function's log group."""
        with _environments.use(self, self._runtime_configuration()) as environment:
            result = environment.invoke(payload, timeout=self.timeout, request_id=request_id)
        self._write_logs(environment.log_stream, result.logs)
        _invocations.append(Invocation(self.function_name, payload, result, attempt, self._trace()))
        return result

    def run_asynchronously(self, payload: bytes) -> None:
        """Run the function with retries, and send the result to its destination and its dead-letter queue."""
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
        queue = sqs_backends[self.account_id][self.region].get_queue(queue_arn.rpartition(":")[2])
        # moto sets the attributes of a queue by their names.
        key = keys.find(self.account_id, self.region, getattr(queue, "kms_master_key_id", None))
        authorized = self._is_authorized(queue_arn, "sqs:SendMessage")
        if authorized and key:
            # SQS encrypts on behalf of the sender, which is the role.
            via = {"kms:ViaService": f"sqs.{self.region}.amazonaws.com"}
            authorized = self._is_authorized(key.arn, *keys.TO_ENCRYPT, context=via) and key.enabled
        if authorized:
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

    def _set_ignored(self, properties: Mapping[str, Any]) -> None:
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
            access_key=self.access_key,
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

    def _is_authorized(self, resource: str, *actions: str, context: Mapping[str, str] | None = None) -> bool:
        """Return whether Lambda may do something with the function's role; what it may not do is dropped."""
        known = {"aws:RequestedRegion": self.region, **(context or {})}
        return not iam.authorize(
            self.role, [policies.AuthorizationRequest(action, resource, known) for action in actions]
        )

    def _trace(self) -> bool:
        """Return whether the run is traced. X-Ray is not emulated."""
        is_active = self.tracing_config["Mode"] == "Active"
        return is_active and self._is_authorized("*", "xray:PutTraceSegments", "xray:PutTelemetryRecords")

    def _write_logs(self, stream: str, logs: str) -> None:
        group = f"arn:{self.partition}:logs:{self.region}:{self.account_id}:log-group:{self.logs_group_name}"
        if not self._is_authorized(f"{group}:log-stream:{stream}", "logs:CreateLogStream", "logs:PutLogEvents"):
            return
        if "LogGroup" in self.logging_config and self.logs_group_name not in self.logs_backend.groups:
            # The stack's log group was deleted, and Lambda may not create it without logs:CreateLogGroup.
            return
        self.logs_backend.ensure_log_group(self.logs_group_name)
        if key := keys.find(self.account_id, self.region, self.logs_backend.groups[self.logs_group_name].kms_key_id):
            context, service = {"kms:EncryptionContext:aws:logs:arn": group}, f"logs.{self.region}.amazonaws.com"
            # The user guide of CloudWatch Logs says only that it needs the key ("Encrypt log data").
            if not (key.enabled and keys.allows(key, service, context, "kms:GenerateDataKey", "kms:Decrypt")):
                return
        self.logs_backend.ensure_log_stream(self.logs_group_name, stream)
        # A message of the runtime client has carriage returns, at which splitlines() splits, too.
        messages = [line for line in logs.split("\n") if line]
        events = [{"timestamp": int(time.time() * 1000), "message": message} for message in messages]
        self.logs_backend.put_log_events(self.logs_group_name, stream, events)


class _Environments:
    """The idle environments, by function, and those in use: one for each concurrent invocation."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[Function, list[ExecutionEnvironment]] = {}
        self._in_use: set[ExecutionEnvironment] = set()

    @contextlib.contextmanager
    def use(self, function: Function, configuration: Configuration) -> Iterator[ExecutionEnvironment]:
        with self._lock:
            idle = self._idle.setdefault(function, [])
            # A deployment has changed the function.
            for outdated in [each for each in idle if each.configuration != configuration]:
                outdated.close()
                idle.remove(outdated)
            environment = idle.pop() if idle else ExecutionEnvironment(configuration)
            self._in_use.add(environment)
        try:
            yield environment
        finally:
            with self._lock:
                self._in_use.remove(environment)
                self._idle.setdefault(function, []).append(environment)

    def close(self, function: Function | None = None) -> None:
        with self._lock:
            functions = [function] if function else list(self._idle)
            closing = [each for key in functions for each in self._idle.pop(key, [])]
            closing += [] if function else self._in_use
        for environment in closing:
            environment.close()


@functools.cache
def _workspace() -> Path:
    """Return the folder of the unpacked code, which is removed when this process exits."""
    folder = Path(tempfile.mkdtemp(prefix="functions-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


_environments = _Environments()
_queue: deque[tuple[Function, bytes]] = deque()
_invocations: list[Invocation] = []
_unpacking = threading.Lock()
atexit.register(shutdown)
