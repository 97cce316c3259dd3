"""What AWS bills for: how much of it invocations of the bundle use, and a month of them.

`python -m local.bench.costs` prints the quantities of the table in docs/operations.md.
"""

import json
import math
import sys
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from infra import bundle
from infra.interpreter import find_function_python
from local.aws.lambda_runtime import ExecutionEnvironment
from local.bench.measure import configuration, event, image_event
from local.bench.stub import AMI, OTHER_AMI, TASK, Stub
from local.bench.variants import Variant

_SWEEPS: Final = 2920
"""A month's, one every 15 minutes."""
_HOURS: Final = 730
"""A month's."""
_WEEKS: Final = _HOURS / 24 / 7
"""A month's: EC2 lists a task for a week after its end."""
_FIVE_MINUTES: Final = _HOURS * 12
"""A month's: SNS uses a data key for so long (developer guide, "Estimating AWS KMS costs")."""
_MONTHS_KEPT: Final = 2
"""How long the table keeps a record."""
_LISTED: Final = 100
"""The tasks of the sweep that is measured: one page."""
_QUERY: Final = 0.5
"""DynamoDB's read request units for what is open: a query of an index is not consistent."""
_OTHER_TASKS: Final = tuple(f"import-ami-{number:017}" for number in range(1, _LISTED))
_TIMEOUT: Final = 300.0
_KILOBYTE: Final = 1024
_SWEEP: Final = b'{"action": "sweep"}'
_PLATFORM_BYTES: Final = 850
"""Taken for what Lambda itself logs of a cold start, initStart, start and report: its sizes are not documented."""


class Scenario(NamedTuple):
    """What happens in a month."""

    imports: float
    other_amis: float


SCENARIOS: Final = (Scenario(imports=10, other_amis=100), Scenario(imports=5000 * _WEEKS, other_amis=1000))
"""A small account, and one in which EC2 lists 5,000 tasks."""


class Usage(NamedTuple):
    """What one invocation used of what AWS bills."""

    calls: int
    log_bytes: int
    reads: float
    writes: int
    publications: int
    metrics: frozenset[str]


class _MeteredStub(Stub):
    """AWS, as it counts what it bills (developer guide, "DynamoDB read and write operations")."""

    def __init__(self) -> None:
        super().__init__([TASK, *_OTHER_TASKS])
        self.reads = 0.0
        """DynamoDB's read request units: a read that is not consistent is half a unit."""
        self.writes = 0
        """DynamoDB's write request units, those of the index included."""

    def _recorded(self, operation: str, request: Mapping[str, Any]) -> Mapping[str, object]:
        if operation == "Query":
            self.reads += _QUERY
        elif operation == "BatchGetItem":
            ((_, wanted),) = request["RequestItems"].items()
            # An item that does not exist is read, too.
            blocks = sum(
                max(1, math.ceil(_size(self.records.get(key["id"]["S"], {})) / (4 * _KILOBYTE)))
                for key in wanted["Keys"]
            )
            self.reads += blocks * (1 if wanted.get("ConsistentRead") else 0.5)
        else:
            id_ = (request.get("Item") or request["Key"])["id"]["S"]
            before = {**self.records.get(id_, {})}
            answer = super()._recorded(operation, request)
            after = self.records.get(id_, {})
            # The larger of both counts.
            self.writes += max(1, math.ceil(max(map(_size, (before, after))) / _KILOBYTE))
            self.writes += ("open" in before) is not ("open" in after)
            return answer
        return super()._recorded(operation, request)


def _size(item: Mapping[str, Mapping[str, str]]) -> int:
    """Return the size of an item: of its names and values, each number taken for a text."""
    return sum(len(name) + len(text.encode()) for name, value in item.items() for text in value.values())


class Measured(NamedTuple):
    """What a month is made of."""

    other_ami: Usage
    """The event of an AMI that is no import."""
    registration: Usage
    """The event of an import's AMI, while its image is pending."""
    report: Usage
    """The event of the image, when it is available."""
    sweep: Usage
    """A sweep that finds 100 tasks with nothing left to do."""
    record_bytes: int
    """Of an import that is reported."""


def measure(variant: Variant, python: str) -> Measured:
    """Run each kind of invocation in a new process. Raises RuntimeError where one fails."""
    with _MeteredStub() as stub:
        other_ami = _run(variant, stub, python, event(OTHER_AMI))
        stub.image_status = "PENDING"
        registration = _run(variant, stub, python, event(AMI))
        arn = json.loads(stub.records[TASK]["data"]["S"])["registration"]["arn"]
        stub.image_status = "AVAILABLE"
        report = _run(variant, stub, python, image_event(arn))
        record = json.dumps(stub.records[TASK])
        stub.records |= {task: json.loads(record.replace(TASK, task)) for task in _OTHER_TASKS}
        sweep = _run(variant, stub, python, _SWEEP)
    return Measured(other_ami, registration, report, sweep, _size(json.loads(record)))


def _run(variant: Variant, stub: _MeteredStub, python: str, payload: bytes) -> Usage:
    stub.calls.clear()
    stub.reads, stub.writes = 0.0, 0
    with ExecutionEnvironment(configuration(variant, stub), interpreter=python) as environment:
        result = environment.invoke(payload, timeout=_TIMEOUT)
    if result.error:
        raise RuntimeError(result.payload.decode())
    lines = result.logs.splitlines()
    blobs = [line["_aws"] for line in map(json.loads, lines) if "_aws" in line]
    return Usage(
        calls=len(stub.calls),
        log_bytes=_PLATFORM_BYTES + sum(len(line.encode()) for line in lines),
        reads=stub.reads,
        writes=stub.writes,
        publications=stub.calls.count("Publish"),
        metrics=frozenset(
            metric["Name"] for blob in blobs for group in blob["CloudWatchMetrics"] for metric in group["Metrics"]
        ),
    )


def quantities(measured: Measured, scenario: Scenario) -> dict[str, float]:
    """Return what AWS bills for in a month, by its row in docs/operations.md, without the seconds of Lambda."""
    times = (
        (measured.other_ami, scenario.other_amis),
        (measured.registration, scenario.imports),
        (measured.report, scenario.imports),
        (measured.sweep, _SWEEPS),
    )
    # A sweep looks once for what is open, and reads the record of each listed task.
    pages = scenario.imports / _WEEKS / _LISTED
    sweep_reads = _QUERY + (measured.sweep.reads - _QUERY) * pages
    publications = sum(usage.publications * count for usage, count in times)
    return {
        "Lambda requests": sum(count for _, count in times),
        "DynamoDB write units": sum(usage.writes * count for usage, count in times),
        "DynamoDB read units": sum(usage.reads * count for usage, count in times[:-1]) + _SWEEPS * sweep_reads,
        "DynamoDB bytes": measured.record_bytes * scenario.imports * _MONTHS_KEPT,
        "SNS publications": publications,
        "SNS e-mails to one address": publications,
        # Of the table's key, one for each invocation that uses the table.
        "KMS requests": sum(count for usage, count in times if usage.writes) + 2 * min(publications, _FIVE_MINUTES),
        "Log bytes": sum(usage.log_bytes * count for usage, count in times),
        "Metric hours": sum(len(usage.metrics) * min(count, _HOURS) for usage, count in times),
    }


def main() -> int:
    """Print what was measured, and return the exit status."""
    python = find_function_python()
    if python is None:
        sys.stderr.write("This needs a Python 3.13, as the function has it.\n")
        return 1
    measured = measure(Variant("shipped", bundle.build()[0], "vm_image_import.handler.handler"), python)
    lines = [f"{name}: {value}" for name, value in measured._asdict().items()]
    small, large = (quantities(measured, scenario) for scenario in SCENARIOS)
    lines += [f"{name}: {small[name]:.0f}, {large[name]:.0f}" for name in small]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
