"""`make bench`: cold starts of the bundle beside other ways to ship the same, and sweeps over a backlog of imports.

It serves AWS over TLS and over plain HTTP, and counts instructions where valgrind is installed. It writes what it
measured to .build/performance.md; `make bench DOCUMENT=yes` also to docs/performance.md.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console
from rich.progress import track

from infra.interpreter import find_function_python
from local.bench import measure, variants
from local.bench.stub import ROOTS, Stub, tls_stub
from local.bench.sweeps import IMPORTS, SECONDS_A_CALL, TIMEOUT, sweeps
from local.bench.variants import Variant

_ROOT: Final = Path(__file__).resolve().parent.parent.parent
_BEGIN: Final = "<!-- make bench writes from here -->\n"
_END: Final = "<!-- to here -->\n"
_COLUMNS: Final = (
    *("variant", "ms, median", "ms, least", "median of ms / naive"),
    *("million instructions", "instructions / naive"),
)
_SIZE_COLUMNS: Final = ("variant", "zip MB", "calls, no import", "calls, registration")
_SWEEP_COLUMNS: Final = ("sweep", "registered", "images reported available", "seconds", "AWS calls")


def main() -> int:
    """Run the benchmark and return its exit status."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=_positive, default=15, help="cold starts of each variant, ROUNDS=15")
    parser.add_argument("--document", default="", help="whether docs/performance.md is written, DOCUMENT=yes")
    arguments = parser.parse_args()
    console = Console()
    python = find_function_python()
    if python is None:
        console.print("[red]This needs a Python 3.13, as the function has it.")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        built = variants.build(Path(folder), python)
        with Stub() as stub:
            plain = _table(_COLUMNS, [*_rows(built, stub, python, arguments.rounds, console)])
        with tls_stub(Path(folder, "ca.pem")) as stub:
            tls = _table(_COLUMNS, [*_rows(built, stub, python, arguments.rounds, console)])
            sizes = _table(_SIZE_COLUMNS, [*_sizes(built, stub, python)])
    console.print(f"Sweeping {IMPORTS} imports, {SECONDS_A_CALL * 1000:.0f} ms a call …")
    swept = [
        (
            number,
            sweep.counts.get("REGISTERED", 0),
            sweep.counts.get("IMAGE_AVAILABLE", 0),
            f"{sweep.seconds:.1f}",
            sweep.calls,
        )
        for number, sweep in enumerate(sweeps(built[0], python), 1)
    ]
    limit = f"sweeps of at most {TIMEOUT} s, of which each keeps 99 free"
    backlog = f"{IMPORTS} new imports, {SECONDS_A_CALL * 1000:.0f} ms a call, {limit}:"
    conditions = _conditions(python, arguments.rounds)
    text = (
        f"{conditions}\n\n{sizes}"
        f"\nOver TLS, with {ROOTS.count('BEGIN CERTIFICATE')} roots in the bundle of CAs:\n\n{tls}"
        f"\nOver plain HTTP:\n\n{plain}\n{backlog}\n\n{_table(_SWEEP_COLUMNS, swept)}"
    )
    console.print(text, soft_wrap=True, markup=False, highlight=False)
    (_ROOT / ".build/performance.md").write_text(text, encoding="utf-8")
    if arguments.document:
        document = _ROOT / "docs/performance.md"
        before, _, rest = document.read_text(encoding="utf-8").partition(_BEGIN)
        document.write_text(f"{before}{_BEGIN}{text}{_END}{rest.partition(_END)[2]}", encoding="utf-8")
    return 0


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) == 0:
        message = f"{text!r} is no whole number from 1 on"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _cold_starts(
    built: Sequence[Variant], stub: Stub, python: str, rounds: int, console: Console
) -> Mapping[Variant, list[float]]:
    """Return the seconds of each cold start, one of each variant a round."""
    seconds: dict[Variant, list[float]] = {variant: [] for variant in built}
    # The first round reads every file once, so that none of the others waits for the disk.
    for number in track(range(rounds + 1), "Cold starts", console=console):
        # Whoever comes first in one round comes later in the next one.
        for variant in (*built[number % len(built) :], *built[: number % len(built)]):
            taken = measure.run(variant, stub, python).seconds
            seconds[variant] += [taken] if number else []
    return seconds


def _rows(
    built: Sequence[Variant], stub: Stub, python: str, rounds: int, console: Console
) -> Iterator[tuple[object, ...]]:
    runs = _cold_starts(built, stub, python, rounds, console)
    counted = {
        variant: measure.instructions(variant, stub, python)
        for variant in track(built, "Instructions", console=console)
    }
    (naive,) = (variant for variant in built if variant.name == "naive")
    for variant in built:
        pairs = [mine / other for mine, other in zip(runs[variant], runs[naive], strict=True)]
        mine, other = counted[variant], counted[naive]
        yield (
            variant.name,
            f"{median(runs[variant]) * 1000:.0f}",
            f"{min(runs[variant]) * 1000:.0f}",
            f"{median(pairs):.2f}",
            *((f"{mine / 1e6:.0f}", f"{mine / other:.3f}") if mine and other else ("", "")),
        )


def _sizes(built: Sequence[Variant], stub: Stub, python: str) -> Iterator[tuple[object, ...]]:
    for variant in built:
        size = f"{measure.zip_bytes(variant.folder) / 1e6:.1f}"
        yield (variant.name, size, *measure.calls(variant, stub, python))


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = (columns, ("---",) * len(columns), *rows)
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _conditions(python: str, rounds: int) -> str:
    answer = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    packages = ("botocore", "aws-lambda-powertools", "awslambdaric")
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {rounds} rounds; {os.cpu_count()} cores, {platform.machine()},"
        f" {platform.system()}; {answer}, {', '.join(f'{name} {version(name)}' for name in packages)}."
    )


if __name__ == "__main__":
    sys.exit(main())
