"""Histories with faults, and what must hold at the end of each."""

import os

import pytest

from tests.simulation.__main__ import main
from tests.simulation.invariants import run_history

HISTORIES = int(os.environ.get("HISTORIES", "25"))
QUICK = 4
"""The histories that `make test` runs."""
FIRST = int(os.environ.get("SEED", "0"))

# pytest sets the filters anew for each test.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")


@pytest.mark.parametrize(
    "seed",
    [
        *range(FIRST, FIRST + QUICK),
        *(pytest.param(seed, marks=pytest.mark.acceptance) for seed in range(FIRST + QUICK, FIRST + HISTORIES)),
    ],
)
def test_no_invariant_is_violated(seed: int) -> None:
    """Each completed import has exactly one image, and each notification is sent once."""
    _, counts, problems = run_history(seed)
    assert problems == [], f"make soak HISTORIES=1 SEED={seed} replays it; {dict(counts)}"


@pytest.mark.parametrize(
    ("name", "text"), [("HISTORIES", "abc"), ("HISTORIES", "0"), ("HISTORIES", "-3"), ("SEED", "x")]
)
def test_only_numbers_are_taken(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make soak` refuses what is no number of histories or no seed, in one line."""
    monkeypatch.setenv(name, text)
    assert main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{name}={text}" in line


@pytest.mark.acceptance
def test_seed_replays_its_history() -> None:
    """The same seed gives the same history, whatever ran before it."""
    first = run_history(FIRST)
    run_history(FIRST + 1)
    assert run_history(FIRST) == first
