"""One Lambda execution environment on this machine: a deployed artefact under the real runtime client.

`ExecutionEnvironment` serves the Runtime API to a process that runs `awslambdaric`, sends it one invocation after the
other and returns the results. The process can import the artefact, the runtime client and the standard library, and has
the variables that Lambda sets: no other package and no variable of this machine.
"""

import atexit
import compileall
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from importlib import metadata
from pathlib import Path
from queue import Empty, SimpleQueue
from socketserver import ThreadingTCPServer
from typing import Self

# Lambda's limit is 10 s; a busy laptop or build server can need longer for the same imports.
_INIT_SECONDS = 60.0

# Time does not pass in the local AWS: a function that waits for AWS goes on at once.
_RUNTIME_CLIENT = """
import os, runpy, sys, time
sys.path[0] = os.getcwd()
time.sleep = lambda seconds: None
runpy.run_module("awslambdaric", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The settings of a deployed function's environments; `task_root` is the unpacked artefact."""

    task_root: Path
    handler: str
    name: str
    arn: str
    region: str
    endpoint_url: str
    log_group: str
    role: str
    access_key: str = "ASIAEXECUTIONROLE"
    version: str = "$LATEST"
    runtime: str = "python3.13"
    memory: int = 128
    log_format: str = "Text"
    log_level: str = "INFO"
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """The result of one invocation: the answer, or the error in Lambda's format, and what the process printed."""

    request_id: str
    payload: bytes
    error: bool
    logs: str


class ExecutionEnvironment:
    """Runs invocations of one function, one at a time, in one process that stays warm between them.

    `interpreter` must have the Python version that `awslambdaric` is installed for. `init_timeout` is in seconds.
    """

    def __init__(
        self, configuration: Configuration, *, interpreter: str = sys.executable, init_timeout: float = _INIT_SECONDS
    ) -> None:
        self.configuration = configuration
        self._init_timeout = init_timeout
        self.log_stream = f"{datetime.now(UTC):%Y/%m/%d}/[{configuration.version}]{uuid.uuid4().hex}"
        self._interpreter = interpreter
        self._process: _RuntimeProcess | None = None
        self._lock = threading.Lock()

    def invoke(self, payload: bytes, *, timeout: float, request_id: str | None = None) -> Result:
        """Run the function with `payload`. A crash and a run of more than `timeout` seconds are errors in the result.

        Both end the process; the next invocation starts another one.
        """
        request_id = request_id or str(uuid.uuid4())
        with self._lock:
            if self._process is None:
                self._process = _RuntimeProcess(self._command(), self._variables(), self.configuration)
            process, limit, reusable = self._process, self._init_timeout, False
            kind, body = process.receive(limit)
            if kind == "next":
                limit = timeout
                process.send(request_id, payload, limit)
                kind, body = process.receive(limit)
                reusable = kind in {"response", "error"}
            logs = process.read_output()
            if not reusable:
                self._close_process()
        match kind:
            case "exit":
                body = _platform_error("Runtime.ExitError", request_id, f"Runtime exited {body.decode()}")
            case "timeout":
                body = _platform_error("Sandbox.Timedout", request_id, f"Task timed out after {limit:.2f} seconds")
        return Result(request_id, body, error=kind != "response", logs=logs)

    @property
    def process_id(self) -> int:
        """The id of the warm process. Raises ProcessLookupError if there is none."""
        if self._process is None:
            raise ProcessLookupError
        return self._process.process_id

    def close(self) -> None:
        """End the process. A running invocation fails as after a crash."""
        if process := self._process:
            process.kill()
        with self._lock:
            self._close_process()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _close_process(self) -> None:
        if self._process:
            self._process.close()
            self._process = None

    def _command(self) -> list[str]:
        # Without `site` (-S), no installed package is on the path.
        return [self._interpreter, "-S", "-c", _RUNTIME_CLIENT, self.configuration.handler]

    def _variables(self) -> dict[str, str]:
        configuration = self.configuration
        json_logs = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": configuration.log_level}
        return {
            "AWS_ACCESS_KEY_ID": configuration.access_key,
            "AWS_DEFAULT_REGION": configuration.region,
            "AWS_ENDPOINT_URL": configuration.endpoint_url,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{configuration.runtime}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(configuration.memory),
            "AWS_LAMBDA_FUNCTION_NAME": configuration.name,
            "AWS_LAMBDA_FUNCTION_VERSION": configuration.version,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": configuration.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": self.log_stream,
            "AWS_REGION": configuration.region,
            "AWS_SECRET_ACCESS_KEY": "local",
            # `iam` authorizes requests by this role.
            "AWS_SESSION_TOKEN": configuration.role,
            # The folder does not exist, as on Lambda (observed): the SDK finds no ~/.aws.
            "HOME": "/home/sbx_user1051",
            "LAMBDA_TASK_ROOT": str(configuration.task_root),
            "LANG": "en_US.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin:/opt/bin",
            # The code is read-only on Lambda.
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(_runtime_client()),
            "TZ": ":UTC",
            "_HANDLER": configuration.handler,
            **(json_logs if configuration.log_format == "JSON" else {}),
            **configuration.variables,
        }


@functools.cache
def _runtime_client() -> Path:
    """Return a folder with links to awslambdaric and the packages that it requires, and to no others."""
    folder = Path(tempfile.mkdtemp(prefix="awslambdaric-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    requirements = [re.split(r"[^\w.-]", line)[0] for line in metadata.requires("awslambdaric") or ()]
    for distribution in map(metadata.distribution, ["awslambdaric", *requirements]):
        for name in {file.parts[0] for file in distribution.files or ()}:
            if name not in {"..", "__pycache__"} and not name.endswith(".dist-info"):
                installed = Path(str(distribution.locate_file(name)))
                (folder / name).symlink_to(installed)
                # The process writes no bytecode: without this, it compiles the client at every start.
                for module in [installed, *installed.rglob("*.py")]:
                    compileall.compile_file(module, quiet=1)
    return folder


def _platform_error(error_type: str, request_id: str, message: str) -> bytes:
    return json.dumps({"errorType": error_type, "errorMessage": f"RequestId: {request_id} Error: {message}"}).encode()


class _RuntimeProcess:
    """A process of the runtime client, its Runtime API, and its output."""

    def __init__(self, command: list[str], variables: dict[str, str], configuration: Configuration) -> None:
        self._arn = configuration.arn
        self._api = _RuntimeApi()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._output_read = 0
        self._process = subprocess.Popen(
            command,
            cwd=configuration.task_root,
            env={**variables, "AWS_LAMBDA_RUNTIME_API": "{}:{}".format(*self._api.server_address)},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,
        )
        self.process_id = self._process.pid
        for task in (functools.partial(self._api.serve_forever, poll_interval=0.05), self._report_exit):
            threading.Thread(target=task, daemon=True).start()

    def receive(self, timeout: float) -> tuple[str, bytes]:
        """Return the next message: `next`, `response`, `error`, `exit`, or `timeout` after so many seconds."""
        try:
            return self._api.messages.get(timeout=timeout)
        except Empty:
            return "timeout", b""

    def send(self, request_id: str, payload: bytes, timeout: float) -> None:
        headers = {
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + timeout) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self._arn,
        }
        self._api.invocations.put((headers, payload))

    def read_output(self) -> str:
        """Return what the process printed since the last call."""
        size = os.fstat(self._output.fileno()).st_size
        # The process shares the file's position: reading must not change it.
        output = os.pread(self._output.fileno(), size - self._output_read, self._output_read)
        self._output_read = size
        return output.decode(errors="replace")

    def kill(self) -> None:
        # The process group: a handler can have started processes.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        self.kill()
        self._process.wait()
        self._api.invocations.put(None)
        self._api.shutdown()
        self._api.server_close()
        self._output.close()

    def _report_exit(self) -> None:
        status = self._process.wait()
        reason = f"exit status {status}" if status >= 0 else f"signal: {signal.strsignal(-status)}"
        self._api.messages.put(("exit", f"with error: {reason}".encode() if status else b"without providing a reason"))


class _RuntimeApiHandler(BaseHTTPRequestHandler):
    """The four paths of the Runtime API, by their last segment; an `error` before a `next` is an init error."""

    server: "_RuntimeApi"
    protocol_version = "HTTP/1.1"
    # Nagle's algorithm delays every answer by about 40 ms.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.server.messages.put(("next", b""))
        if invocation := self.server.invocations.get():
            self._answer(200, *invocation)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.messages.put((self.path.rsplit("/", 1)[-1], body))
        self._answer(202, {}, b'{"status":"OK"}')

    def log_message(self, *_: object) -> None:
        """Do not log requests to the Runtime API."""

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _RuntimeApi(ThreadingTCPServer):
    """The Runtime API of one process."""

    # A ThreadingHTTPServer looks up the name of this machine in DNS first.
    daemon_threads = True

    def __init__(self) -> None:
        self.invocations: SimpleQueue[tuple[dict[str, str], bytes] | None] = SimpleQueue()
        self.messages: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
        super().__init__(("127.0.0.1", 0), _RuntimeApiHandler)

    def handle_error(self, request: object, client_address: object) -> None:
        # Connections to a killed process break; every other error is a defect of this module.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]
