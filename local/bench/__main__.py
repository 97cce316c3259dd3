"""Measures, shows, and writes what was measured to docs/performance.md: `make bench ROUNDS=15`."""

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from infra.interpreter import find_function_python
from local.bench import measure, variants
from local.bench.plot import svg
from local.bench.stub import Stub
from local.bench.sweeps import IMPORTS, SECONDS_A_CALL, TIMEOUT, Sweep, sweeps
from local.bench.variants import Variant

_DOCS: Final = Path(__file__).resolve().parent.parent.parent / "docs"
_BEGIN: Final = "<!-- make bench writes from here -->\n"
_END: Final = "<!-- to here -->\n"
_COLUMNS: Final = (
    *("variant", "ms, median", "ms, least", "wall / naive", "Minstr", "instr / naive", "peak MB", "zip MB"),
    *("calls, no import", "calls, registration"),
)
_SWEEP_COLUMNS: Final = ("sweep", "registered", "images told available", "seconds", "AWS calls")
_NOT_MEASURED: Final = "-"


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured of one variant; None is what could not be."""

    variant: Variant
    seconds: Sequence[float]
    peak_mb: float | None
    instructions: int | None
    zip_bytes: int
    calls: tuple[int, int]


def main() -> int:
    """Run the benchmark and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    console = Console(width=None if sys.stdout.isatty() else 160)
    python = find_function_python()
    if python is None:
        console.print("[red]This needs a Python 3.13, as the function has it.")
        return 1
    columns = SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn()
    with tempfile.TemporaryDirectory() as folder, Stub() as stub, Progress(*columns, console=console) as progress:
        threading.Thread(target=stub.serve_forever, daemon=True).start()
        try:
            results = _measure(Path(folder), stub, python, rounds, progress)
        finally:
            stub.shutdown()
        swept = _sweep(_named(results, "shipped").variant, python, progress)
    rows = [_row(result, _named(results, "naive")) for result in results]
    tables = [(_COLUMNS, rows), (_SWEEP_COLUMNS, [_sweep_row(number, each) for number, each in enumerate(swept, 1)])]
    for titles, lines in tables:
        table = Table(*titles)
        for line in lines:
            table.add_row(*line)
        console.print(table)
    conditions = _conditions(python, rounds)
    console.print(conditions)
    _keep(tables, conditions, results)
    console.print(f"Kept in {_DOCS.name}/performance.md and {_DOCS.name}/performance.svg.")
    return 0


def _measure(folder: Path, stub: Stub, python: str, rounds: int, progress: Progress) -> list[Result]:
    step = progress.add_task("Building the artefacts", total=None)
    built = variants.build(folder, python)
    progress.update(step, description="Counting calls and instructions", total=len(built), completed=0)
    calls, instructions = {}, {}
    for variant in built:
        # Also reads every file once, so that none of the rounds is the one that waits for the disk.
        calls[variant] = (0, 0) if variant.name == "empty" else measure.calls(variant, stub, python)
        instructions[variant] = measure.instructions(variant, stub, python)
        progress.advance(step)
    progress.update(step, description="Cold starts, one of each a round", total=rounds, completed=0)
    runs: Mapping[Variant, list[measure.Run]] = {variant: [] for variant in built}
    for number in range(rounds):
        # Whoever comes first in one round comes later in the next one.
        for variant in (*built[number % len(built) :], *built[: number % len(built)]):
            runs[variant].append(measure.run(variant, stub, python))
        progress.advance(step)
    return [
        Result(
            variant,
            [run.seconds for run in runs[variant]],
            max((run.peak_mb for run in runs[variant] if run.peak_mb), default=None),
            instructions[variant],
            measure.zip_bytes(variant.folder),
            calls[variant],
        )
        for variant in built
    ]


def _sweep(shipped: Variant, python: str, progress: Progress) -> list[Sweep]:
    step = progress.add_task(f"Sweeping {IMPORTS} imports, {SECONDS_A_CALL * 1000:.0f} ms a call", total=2 * IMPORTS)
    done = []
    for sweep in sweeps(shipped, python):
        done.append(sweep)
        progress.advance(step, sum(sweep.counts.values()))
    return done


def _sweep_row(number: int, sweep: Sweep) -> tuple[str, ...]:
    dealt_with = (str(sweep.counts.get(kind, 0)) for kind in ("REGISTERED", "IMAGE_AVAILABLE"))
    return str(number), *dealt_with, f"{sweep.seconds:.1f}", str(sweep.calls)


def _named(results: Sequence[Result], name: str) -> Result:
    return next(result for result in results if result.variant.name == name)


def _row(result: Result, naive: Result) -> tuple[str, ...]:
    pairs = [mine / other for mine, other in zip(result.seconds, naive.seconds, strict=True)]
    both = result.instructions, naive.instructions
    return (
        result.variant.name,
        f"{median(result.seconds) * 1000:.0f}",
        f"{min(result.seconds) * 1000:.0f}",
        f"{median(pairs):.2f}",
        f"{both[0] / 1e6:.0f}" if both[0] else _NOT_MEASURED,
        f"{both[0] / both[1]:.2f}" if both[0] and both[1] else _NOT_MEASURED,
        f"{result.peak_mb:.1f}" if result.peak_mb else _NOT_MEASURED,
        f"{result.zip_bytes / 1e6:.1f}",
        *map(str, result.calls),
    )


def _conditions(python: str, rounds: int) -> str:
    answer = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    packages = ("botocore", "aws-lambda-powertools", "awslambdaric")
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {rounds} rounds; {os.cpu_count()} cores of {_processor()}, {platform.system()};"
        f" {answer}, {', '.join(f'{name} {version(name)}' for name in packages)}."
    )


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    found = re.search(r"model name\s*:\s*(.+)", text)
    return f"{found[1]} ({platform.machine()})" if found else platform.machine()


def _keep(
    tables: Sequence[tuple[Sequence[str], Sequence[Sequence[str]]]], conditions: str, results: Sequence[Result]
) -> None:
    document = _DOCS / "performance.md"
    before, _, rest = document.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    cold, swept = (
        "".join(f"| {' | '.join(line)} |\n" for line in (columns, ("---",) * len(columns), *rows))
        for columns, rows in tables
    )
    backlog = f"{IMPORTS} new imports, {SECONDS_A_CALL * 1000:.0f} ms a call, sweeps of at most {TIMEOUT} s:"
    text = f"{conditions}\n\n{cold}\n{backlog}\n\n{swept}"
    document.write_text(f"{before}{_BEGIN}{text}{_END}{after}", encoding="utf-8")
    starts = {result.variant.name: [second * 1000 for second in result.seconds] for result in results}
    (_DOCS / "performance.svg").write_text(svg(starts), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
