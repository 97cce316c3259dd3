"""How long sweeps take over a backlog of imports, at AWS's pace."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local.aws.lambda_runtime import ExecutionEnvironment
from local.bench.measure import configuration
from local.bench.stub import Stub
from local.bench.variants import Variant

IMPORTS: Final = 1000
SECONDS_A_CALL: Final = 0.02
TIMEOUT: Final = 160
"""Seconds that a sweep has, of the five minutes of the deployed function: so that all takes several.

It keeps 99 free."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """One sweep: how many tasks it dealt with and how, and what it took."""

    counts: dict[str, int]
    seconds: float
    calls: int
    log_lines: int
    answer_bytes: int
    peak_kilobytes: int
    """The most memory of its process so far; 0 where the machine is no Linux."""


def sweeps(
    variant: Variant,
    python: str,
    imports: int = IMPORTS,
    seconds: float = SECONDS_A_CALL,
    timeout: float = TIMEOUT,
    **variables: str,
) -> Iterator[Sweep]:
    """Sweep until nothing is left to do: the imports are registered, their images followed, and the last one is idle.

    `variables` are added to those of the environment. Raises RuntimeError where a sweep fails.
    """
    tasks = [f"import-ami-{number:017}" for number in range(imports)]
    with (
        Stub(tasks, seconds) as stub,
        ExecutionEnvironment(configuration(variant, stub, **variables), interpreter=python) as lambda_,
    ):
        counts = {"": 0}
        while counts:
            stub.calls.clear()
            start = time.perf_counter()
            result = lambda_.invoke(b'{"action": "sweep"}', timeout=timeout)
            took = time.perf_counter() - start
            answer = json.loads(result.payload)
            if result.error:
                raise RuntimeError(answer)
            counts = answer["counts"]
            yield Sweep(
                counts,
                took,
                len(stub.calls),
                log_lines=len(result.logs.splitlines()),
                answer_bytes=len(result.payload),
                peak_kilobytes=_peak_kilobytes(lambda_.process_id),
            )


def _peak_kilobytes(process_id: int) -> int:
    status = Path("/proc", str(process_id), "status")
    text = status.read_text(encoding="utf-8") if status.exists() else ""
    return sum(map(int, re.findall(r"^VmHWM:\s*(\d+) kB$", text, re.MULTILINE)))
