"""`make soak`: many histories, on all cores. The exit status is 1 where one has a problem; it says how to replay it."""

import multiprocessing
import os
import sys
from collections import Counter

from rich.console import Console
from rich.progress import track

from tests.simulation.invariants import CATEGORIES, run_history


def main() -> int:
    """Run HISTORIES histories from SEED on, print what happened, and return the exit status."""
    stated = {name: os.environ.get(name) or default for name, default in (("HISTORIES", "10000"), ("SEED", "0"))}
    if wrong := [f"{name}={text}" for name, text in stated.items() if not (text.isascii() and text.isdecimal())]:
        sys.stderr.write(f"{' and '.join(wrong)}: write whole numbers, as in make soak HISTORIES=1000 SEED=0\n")
        return 1
    histories, first = int(stated["HISTORIES"]), int(stated["SEED"])
    if histories == 0:
        sys.stderr.write("HISTORIES=0 simulates nothing: write a number from 1 on.\n")
        return 1
    console = Console()
    counts: Counter[str] = Counter()
    found: Counter[str] = Counter()
    with multiprocessing.get_context("spawn").Pool() as pool:
        results = pool.imap_unordered(run_history, range(first, first + histories), chunksize=4)
        for seed, counted, problems in track(results, "Histories", total=histories, console=console):
            counts.update(counted)
            found.update(problem.partition(":")[0] for problem in problems)
            if problems:
                console.print(f"make soak HISTORIES=1 SEED={seed} replays: {'; '.join(problems)}", markup=False)
    for name, count in sorted(counts.items()):
        console.print(f"{count:>9,} {name}")
    console.print(f"{histories:,} histories: {', '.join(f'{found[category]} {category}' for category in CATEGORIES)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
