"""Retention over random histories: what must never be marked is not, and nothing goes too soon."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.retention_history import History
from vm_image_import.domain import retention as rules
from vm_image_import.domain.models import NO_MARKS, Build
from vm_image_import.imports import retention

HISTORIES = 100
BATCH = 25


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(first, marks=pytest.mark.acceptance) for first in range(BATCH, HISTORIES, BATCH))]
)
def test_no_history_has_a_violation(first: int) -> None:
    """In no history is the highest version, what is pinned, or what is not ours marked, or deleted before its time."""
    histories = [History(seed).run() for seed in range(first, first + BATCH)]
    assert [problem for history in histories for problem in history.violations] == []
    # They are about something.
    assert sum(history.marked for history in histories) > 5 * BATCH
    assert sum(history.deleted for history in histories) > BATCH


def _find_kept_ones_too(find: Callable[..., Any]) -> Callable[..., Any]:
    def find_superseded(builds: list[Build], *arguments: Any) -> Any:  # noqa: ANN401 - those of the function
        return find([build._replace(marks=NO_MARKS) for build in builds], *arguments)

    return find_superseded


SAFEGUARDS = {
    "only imports": (rules, "is_own", lambda build: bool(build.tagged_task_id)),
    "AMIs of others": (rules, "_amis", lambda build: {build.arn}),
    "final states": (rules, "_FINAL", frozenset({"AVAILABLE", "PENDING", "DEPRECATED"})),
    "the tag to keep": (rules, "find_superseded", _find_kept_ones_too(rules.find_superseded)),
    "the number of versions": (retention, "rule_of", lambda _: rules.Rule(0, timedelta(days=14))),
    "the days": (retention, "rule_of", lambda _: rules.Rule(2, timedelta(days=7))),
    "the announcement": (rules, "_decide_delete", lambda *_: rules.YES),
    "the AMIs": (retention, "disable_without_ami", lambda builds, _: builds),
    "the parameter": (retention, "find_superseded", lambda *_: []),
}


@pytest.mark.parametrize(("module", "name", "replacement"), SAFEGUARDS.values(), ids=SAFEGUARDS.keys())
def test_each_safeguard_is_needed(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str, replacement: object
) -> None:
    """Without any one of the safeguards, histories have violations."""
    monkeypatch.setattr(module, name, replacement)
    assert any(History(seed).run().violations for seed in range(HISTORIES))
