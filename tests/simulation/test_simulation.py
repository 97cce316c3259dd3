"""Histories full of faults, at the end of which nothing is lost, nothing is there twice, and everybody knows."""

import os

import pytest

from tests.simulation.invariants import live

HISTORIES = int(os.environ.get("HISTORIES", "50"))
FIRST = int(os.environ.get("SEED", "0"))

# pytest sets the filters anew for each test.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")


@pytest.mark.parametrize("seed", range(FIRST, FIRST + HISTORIES))
def test_a_history_ends_well(seed: int) -> None:
    """Every import that completed has exactly one image, and every end was told exactly once."""
    _, counts, problems = live(seed)
    assert problems == [], f"make soak HISTORIES=1 SEED={seed} replays it; {dict(counts)}"


def test_a_seed_replays_its_history() -> None:
    """Whatever was lived through before it."""
    first = live(FIRST)
    live(FIRST + 1)
    assert live(FIRST) == first
