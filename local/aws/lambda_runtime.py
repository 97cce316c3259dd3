"""One Lambda execution environment on this machine: a deployed artefact under the real runtime client.

`ExecutionEnvironment` is what Lambda's platform is to a function: it serves the Runtime API to a process that runs
`awslambdaric`, hands it one invocation after the other and says what became of each. The process sees the artefact, the
runtime client, the standard library and the variables that Lambda sets: nothing else of this machine's Python.
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

# Lambda allows 10 s; a busy laptop or build server may need longer for the same imports.
_INIT_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What a function's deployment says about its environments; `task_root` is the unpacked artefact."""

    task_root: Path
    handler: str
    name: str
    arn: str
    region: str
    endpoint_url: str
    log_group: str
    role: str
    version: str = "$LATEST"
    runtime: str = "python3.13"
    memory: int = 128
    log_format: str = "Text"
    log_level: str = "INFO"
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What came of one invocation: the answer, or the error in Lambda's shape, and what was printed meanwhile."""

    request_id: str
    payload: bytes
    error: bool
    logs: str


class ExecutionEnvironment:
    """Runs invocations of one function, one at a time, in one process that stays warm in between.

    `interpreter` has to be of the Python version that `awslambdaric` is installed for.
    """

    def __init__(
        self, configuration: Configuration, *, interpreter: str = sys.executable, init_timeout: float = _INIT_SECONDS
    ) -> None:
        self.configuration = configuration
        self._init_timeout = init_timeout
        self.log_stream = f"{datetime.now(UTC):%Y/%m/%d}/[{configuration.version}]{uuid.uuid4().hex}"
        self._interpreter = interpreter
        self._sandbox: _Sandbox | None = None
        self._lock = threading.Lock()

    def invoke(self, payload: bytes, *, timeout: float, request_id: str | None = None) -> Result:
        """Hand `payload` to the function; a crash or `timeout` seconds of silence end the process and are an error."""
        request_id = request_id or str(uuid.uuid4())
        with self._lock:
            sandbox = self._sandbox = self._sandbox or _Sandbox(self._command(), self._variables(), self.configuration)
            limit, alive = self._init_timeout, False
            kind, body = sandbox.receive(limit)
            if kind == "next":
                limit = timeout
                sandbox.hand_out(request_id, payload, timeout)
                kind, body = sandbox.receive(limit)
                alive = kind in {"response", "error"}
            logs = sandbox.printed()
            if not alive:
                self._discard()
        match kind:
            case "exit":
                body = _platform_error("Runtime.ExitError", request_id, f"Runtime exited {body.decode()}")
            case "silence":
                body = _platform_error("Sandbox.Timedout", request_id, f"Task timed out after {limit:.2f} seconds")
        return Result(request_id, body, error=kind != "response", logs=logs)

    @property
    def process_id(self) -> int:
        """The process that stays warm. Raises ProcessLookupError where there is none."""
        if self._sandbox is None:
            raise ProcessLookupError
        return self._sandbox.process_id

    def close(self) -> None:
        """End the process, also in the middle of an invocation, which then fails as after a crash."""
        if sandbox := self._sandbox:
            sandbox.kill()
        with self._lock:
            self._discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _discard(self) -> None:
        if self._sandbox:
            self._sandbox.close()
            self._sandbox = None

    def _command(self) -> list[str]:
        # Without `site` (-S) neither the virtual environment's packages nor the machine's are on the path.
        return [self._interpreter, "-S", "-m", "awslambdaric", self.configuration.handler]

    def _variables(self) -> dict[str, str]:
        configuration = self.configuration
        json_logs = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": configuration.log_level}
        return {
            "AWS_ACCESS_KEY_ID": "ASIAEXECUTIONROLE",
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
            # By this the local AWS knows whose policies hold.
            "AWS_SESSION_TOKEN": configuration.role,
            # No such folder on Lambda either: the SDK finds nobody's ~/.aws.
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
    """Make a folder with links to awslambdaric and what it requires, and to nothing else that is installed here."""
    folder = Path(tempfile.mkdtemp(prefix="awslambdaric-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    requirements = [re.split(r"[^\w.-]", line)[0] for line in metadata.requires("awslambdaric") or ()]
    for distribution in map(metadata.distribution, ["awslambdaric", *requirements]):
        for name in {file.parts[0] for file in distribution.files or ()}:
            if name not in {"..", "__pycache__"} and not name.endswith(".dist-info"):
                installed = Path(str(distribution.locate_file(name)))
                (folder / name).symlink_to(installed)
                # The process may keep no bytecode: without this it would compile the client at every start.
                for module in [installed, *installed.rglob("*.py")]:
                    compileall.compile_file(module, quiet=1)
    return folder


def _platform_error(error_type: str, request_id: str, message: str) -> bytes:
    return json.dumps({"errorType": error_type, "errorMessage": f"RequestId: {request_id} Error: {message}"}).encode()


class _Sandbox:
    """A process, the Runtime API that it talks to, and what it prints."""

    def __init__(self, command: list[str], variables: dict[str, str], configuration: Configuration) -> None:
        self._arn = configuration.arn
        self._api = _RuntimeApi()
        self._output = _Output()
        self._process = subprocess.Popen(
            command,
            cwd=configuration.task_root,
            env={**variables, "AWS_LAMBDA_RUNTIME_API": "{}:{}".format(*self._api.server_address)},
            stdin=subprocess.DEVNULL,
            stdout=self._output.write_end,
            stderr=self._output.write_end,
            start_new_session=True,
        )
        self.process_id = self._process.pid
        for task in (functools.partial(self._api.serve_forever, poll_interval=0.05), self._output.drain, self._watch):
            threading.Thread(target=task, daemon=True).start()

    def receive(self, timeout: float) -> tuple[str, bytes]:
        """Wait for what happens next: `next`, `response`, `error`, `exit`, or `silence` when nothing did."""
        try:
            return self._api.messages.get(timeout=timeout)
        except Empty:
            return "silence", b""

    def hand_out(self, request_id: str, payload: bytes, timeout: float) -> None:
        headers = {
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + timeout) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self._arn,
        }
        self._api.invocations.put((headers, payload))

    def printed(self) -> str:
        return self._output.until_now()

    def kill(self) -> None:
        # The whole group: a handler may have started processes of its own.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        self.kill()
        self._process.wait()
        self._api.invocations.put(None)
        self._api.shutdown()
        self._api.server_close()
        os.close(self._output.write_end)

    def _watch(self) -> None:
        status = self._process.wait()
        reason = f"exit status {status}" if status >= 0 else f"signal: {signal.strsignal(-status)}"
        self._api.messages.put(("exit", f"with error: {reason}".encode() if status else b"without providing a reason"))


class _Output:
    """A pipe for what a process prints. Whoever is inside can write at any time: a thread has to `drain` it."""

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        self._printed = b""
        self._more = threading.Condition()

    def drain(self) -> None:
        with open(self._read_end, "rb", buffering=0) as stream:  # noqa: PTH123 - a descriptor, no path
            while chunk := stream.read(65536):
                with self._more:
                    self._printed += chunk
                    self._more.notify_all()

    def until_now(self) -> str:
        """Return what was printed since the last call."""
        # A pipe keeps its order: once this mark comes out, so has everything that was printed before it.
        mark = uuid.uuid4().bytes
        os.write(self.write_end, mark)
        with self._more:
            self._more.wait_for(lambda: mark in self._printed)
            printed, _, self._printed = self._printed.partition(mark)
        return printed.decode(errors="replace")


class _Conversation(BaseHTTPRequestHandler):
    """The Runtime API's four paths, told apart by their last word; an `error` before any `next` is one of init."""

    server: "_RuntimeApi"
    protocol_version = "HTTP/1.1"
    # Nagle's algorithm would hold every answer back for some 40 ms.
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
        """Keep quiet: requests to the Runtime API are nobody's news."""

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _RuntimeApi(ThreadingTCPServer):
    """The Runtime API of one process."""

    # (Not a ThreadingHTTPServer, which asks DNS for the name of this machine first.)
    daemon_threads = True

    def __init__(self) -> None:
        self.invocations: SimpleQueue[tuple[dict[str, str], bytes] | None] = SimpleQueue()
        self.messages: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
        super().__init__(("127.0.0.1", 0), _Conversation)

    def handle_error(self, request: object, client_address: object) -> None:
        # A killed process leaves broken connections behind; everything else is a defect here.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]
