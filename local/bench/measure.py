"""Measures one cold start: a fresh process under the real runtime client, to the end of its first invocation."""

import json
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local.aws.lambda_runtime import Configuration, ExecutionEnvironment
from local.bench.stub import AMI, OTHER_AMI, Stub
from local.bench.variants import Variant

_TIMEOUT: Final = 60.0
"""Seconds; a busy machine takes its time."""
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
    """One cold start, and the AWS calls that it made."""

    seconds: float
    calls: tuple[str, ...]


def event(ami: str) -> bytes:
    """Return the event that an AMI became available."""
    detail = {"RequestId": "r", "ImageId": ami, "State": "available", "ErrorMessage": ""}
    return json.dumps({**_EVENT, "resources": [f"arn:aws:ec2:us-east-1::image/{ami}"], "detail": detail}).encode()


def run(variant: Variant, stub: Stub, python: str, ami: str = AMI) -> Run:
    """Start a variant for one event. Raises RuntimeError where it fails."""
    stub.calls.clear()
    start = time.perf_counter()
    with ExecutionEnvironment(configuration(variant, stub), interpreter=python) as environment:
        result = environment.invoke(event(ami), timeout=_TIMEOUT)
        seconds = time.perf_counter() - start
    if result.error:
        message = f"{variant.name} failed: {result.payload.decode()}\n{result.logs}"
        raise RuntimeError(message)
    return Run(seconds, tuple(stub.calls))


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
