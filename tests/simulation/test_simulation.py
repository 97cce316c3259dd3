"""Histories full of faults, at the end of which nothing is lost, nothing is there twice, and everybody knows."""

import os

import pytest

from tests.simulation.world import World

HISTORIES = int(os.environ.get("HISTORIES", "50"))
FIRST = int(os.environ.get("SEED", "0"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + HISTORIES))
def test_a_history_ends_well(seed: int) -> None:
    """Every import that completed has exactly one image, and every end was told exactly once; SEED replays one."""
    world = World(seed).live()
    assert world.problems() == [], f"SEED={seed} HISTORIES=1 replays it; {dict(world.counts)}"
