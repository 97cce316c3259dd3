"""Measures one cold start: a fresh process under the real runtime client, to the end of its first invocation."""

import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from local.aws.lambda_runtime import Configuration, ExecutionEnvironment
from local.bench.stub import AMI, OTHER_AMI, Stub
from local.bench.variants import Variant

_TIMEOUT: Final = 300.0
"""Seconds; a busy machine takes its time."""
_COUNTING_TIMEOUT: Final = 900.0
"""Seconds. A process takes some fifty times as long where its instructions are counted."""
_COUNTED: Final = re.compile(r"I +refs: +([\d,]+)")
_ARN: Final = "arn:aws:lambda:us-east-1:123456789012:function:bench"
_EVENT: Final = {
    "version": "0",
    "id": "00000000-0000-0000-0000-000000000000",
    "account": "123456789012",
    "region": "us-east-1",
}


@dataclass(frozen=True, slots=True)
class Run:
    """One cold start, and the AWS calls that it made."""

    seconds: float
    calls: tuple[str, ...]


def event(ami: str) -> bytes:
    """Return the event that an AMI became available."""
    detail = {"RequestId": "r", "ImageId": ami, "State": "available", "ErrorMessage": ""}
    return _event("aws.ec2", "EC2 AMI State Change", f"arn:aws:ec2:us-east-1::image/{ami}", detail)


def image_event(arn: str) -> bytes:
    """Return the event that an image became available."""
    detail = {"previous-state": {"status": "PENDING"}, "state": {"status": "AVAILABLE"}}
    return _event("aws.imagebuilder", "EC2 Image Builder Image State Change", arn, detail)


def _event(source: str, kind: str, resource: str, detail: Mapping[str, object]) -> bytes:
    parts = {"source": source, "detail-type": kind, "resources": [resource], "detail": detail}
    # The age of an old event is not counted.
    return json.dumps({**_EVENT, **parts, "time": datetime.now(UTC).isoformat()}).encode()


def run(variant: Variant, stub: Stub, python: str, ami: str = AMI) -> Run:
    """Start a variant for one event. Raises RuntimeError where it fails."""
    stub.forget()
    start = time.perf_counter()
    with ExecutionEnvironment(configuration(variant, stub), interpreter=python) as environment:
        _invoke(environment, variant, ami, _TIMEOUT)
        seconds = time.perf_counter() - start
    return Run(seconds, tuple(stub.calls))


def _invoke(environment: ExecutionEnvironment, variant: Variant, ami: str, timeout: float) -> None:
    result = environment.invoke(event(ami), timeout=timeout)
    expected = "REGISTERED" if ami == AMI else "IGNORED"
    if result.error or json.loads(result.payload)["outcome"] != expected:
        message = f"{variant.name} is not {expected}: {result.payload.decode()}\n{result.logs}"
        raise RuntimeError(message)


def instructions(variant: Variant, stub: Stub, python: str) -> int | None:
    """Return how many instructions a cold start executes until it waits for the second event.

    Valgrind counts them; None where it is not found. Raises RuntimeError where the variant fails.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return None
    stub.forget()
    with tempfile.TemporaryDirectory() as folder:
        report, interpreter = Path(folder, "report"), Path(folder, "python")
        options = f"--tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null --log-file={report}"
        interpreter.write_text(f'#!/bin/sh\nexec {valgrind} {options} {python} "$@"\n', encoding="utf-8")
        interpreter.chmod(0o755)
        with ExecutionEnvironment(
            configuration(variant, stub), interpreter=str(interpreter), init_timeout=_COUNTING_TIMEOUT
        ) as environment:
            _invoke(environment, variant, AMI, _COUNTING_TIMEOUT)
            # It reports at the end of the process, but not of one that is killed.
            os.kill(environment.process_id, signal.SIGTERM)
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, environment.process_id, os.WEXITED | os.WNOWAIT)
        counted = _COUNTED.search(report.read_text(encoding="utf-8"))
    if counted is None:
        message = f"{valgrind} counted nothing."
        raise RuntimeError(message)
    return int(counted[1].replace(",", ""))


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


def configuration(variant: Variant, stub: Stub, **variables: str) -> Configuration:
    """Return what a deployment of a variant would say about its environments, with `stub` for AWS.

    `variables` are added to those of the environment.
    """
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
            **({"AWS_CA_BUNDLE": str(stub.ca_bundle)} if stub.ca_bundle else {}),
            **variables,
        },
    )
