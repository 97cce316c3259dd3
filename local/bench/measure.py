"""Measures one cold start: a fresh process under the real runtime client, to the end of its first invocation."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local.aws.lambda_runtime import Configuration, ExecutionEnvironment
from local.bench.stub import AMI, OTHER_AMI, Stub
from local.bench.variants import Variant

_TIMEOUT: Final = 300.0
"""Under valgrind everything takes some fifty times as long."""
_ARN: Final = "arn:aws:lambda:us-east-1:123456789012:function:bench"
_EVENT: Final = {
    "version": "0",
    "id": "00000000-0000-0000-0000-000000000000",
    "detail-type": "EC2 AMI State Change",
    "source": "aws.ec2",
    "account": "123456789012",
    "time": "2026-11-23T10:15:00Z",
    "region": "us-east-1",
}


@dataclass(frozen=True, slots=True)
class Run:
    """One cold start; `peak_mb` is None where the system does not tell."""

    seconds: float
    peak_mb: float | None
    calls: tuple[str, ...]


def event(ami: str) -> bytes:
    """Return the event that an AMI became available."""
    detail = {"RequestId": "r", "ImageId": ami, "State": "available", "ErrorMessage": ""}
    return json.dumps({**_EVENT, "resources": [f"arn:aws:ec2:us-east-1::image/{ami}"], "detail": detail}).encode()


def run(variant: Variant, stub: Stub, python: str, ami: str = AMI) -> Run:
    """Start a variant for one event. Raises RuntimeError where it fails."""
    with _started(variant, stub, python, ami) as (environment, seconds):
        return Run(seconds, _peak(environment.process_id), tuple(stub.calls))


def instructions(variant: Variant, stub: Stub, python: str) -> int | None:
    """Count the instructions of a cold start; None where there is no valgrind."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        counts, wrapper = Path(folder, "counts"), Path(folder, "python")
        options = f"--tool=cachegrind --cache-sim=no --cachegrind-out-file={shlex.quote(str(counts))}"
        wrapper.write_text(
            f'#!/bin/sh\nexec {valgrind} --quiet {options} {shlex.quote(python)} "$@"\n', encoding="utf-8"
        )
        wrapper.chmod(0o700)
        with _started(variant, stub, str(wrapper), AMI) as (environment, _):
            # It writes down what it counted when its process is asked to end.
            os.kill(environment.process_id, signal.SIGTERM)
            while not counts.exists() or "summary:" not in (text := counts.read_text(encoding="utf-8")):
                time.sleep(0.05)
    return int(text.rpartition("summary:")[2])


def calls(variant: Variant, stub: Stub, python: str) -> tuple[int, int]:
    """Return how many AWS calls an AMI that is no import costs, and how many a registration does."""
    other, registration = (run(variant, stub, python, ami).calls for ami in (OTHER_AMI, AMI))
    return len(other), len(registration)


def zip_bytes(folder: Path) -> int:
    """Return the size of a folder as the zip that is uploaded."""
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder))
        return file.tell()


def configuration(variant: Variant, stub: Stub) -> Configuration:
    """Return what a deployment of a variant would say about its environments, with `stub` for AWS."""
    return Configuration(
        task_root=variant.folder,
        handler=variant.handler,
        name="bench",
        arn=_ARN,
        role="arn:aws:iam::123456789012:role/bench",
        region="us-east-1",
        endpoint_url=stub.url,
        log_group="/aws/lambda/bench",
        memory=256,
        log_format="JSON",
        variables={
            "POWERTOOLS_SERVICE_NAME": "vm-image-import",
            "POWERTOOLS_METRICS_NAMESPACE": "VmImageImport",
            "TABLE_NAME": "ledger",
            "TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:notices",
        },
    )


@contextlib.contextmanager
def _started(variant: Variant, stub: Stub, python: str, ami: str) -> Iterator[tuple[ExecutionEnvironment, float]]:
    deployed = configuration(variant, stub)
    stub.calls.clear()
    start = time.perf_counter()
    with ExecutionEnvironment(deployed, interpreter=python, init_timeout=_TIMEOUT) as environment:
        result = environment.invoke(event(ami), timeout=_TIMEOUT)
        seconds = time.perf_counter() - start
        if result.error:
            message = f"{variant.name} failed: {result.payload.decode()}\n{result.logs}"
            raise RuntimeError(message)
        yield environment, seconds


def _peak(process_id: int) -> float | None:
    try:
        status = Path(f"/proc/{process_id}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmHWM:"))
