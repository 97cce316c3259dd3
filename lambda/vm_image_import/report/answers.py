"""The function's answers, as docs/reference.md describes them."""

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from typing import Final

from vm_image_import.domain.outcomes import Outcome, SweepResult
from vm_image_import.domain.text import one_line

_MAX_BYTES: Final = 2_500_000
"""Of the results and of the problems each: Lambda's answer has at most 6 MB (user guide, "Lambda quotas")."""
_MAX_PROBLEM: Final = 1_000
"""Characters of one problem."""


def answer_of(outcome: Outcome) -> dict[str, object]:
    """Return the answer, without the keys that do not apply. Log lines have the same keys."""
    answer: dict[str, object | None] = {
        "outcome": outcome.kind.value,
        "importTaskId": outcome.import_task_id,
        "imageArn": outcome.image_arn,
        "tagged": [*outcome.tagged] or None,
        "parameter": outcome.parameter,
        "request": outcome.request,
        "sources": {**outcome.sources} or None,
        "warnings": [*outcome.warnings] or None,
        "step": outcome.step,
        "reason": outcome.reason,
    }
    return {key: value for key, value in answer.items() if value is not None}


def counts_of(result: SweepResult) -> dict[str, int]:
    """Return how many outcomes of each kind a sweep had."""
    return dict(Counter(outcome.kind.value for outcome in result.outcomes))


def answer_of_sweep(result: SweepResult) -> dict[str, object]:
    """Return the answer of a sweep: `counts` is complete, `results` and `problems` have at most 2.5 MB each."""
    results = _cut([answer_of(outcome) for outcome in result.outcomes])
    problems = _cut([one_line(problem, _MAX_PROBLEM) for problem in result.problems])
    reasons = [result.reason] if result.reason else []
    if len(results) < len(result.outcomes) or len(problems) < len(result.problems):
        reasons.append(
            f"Shown are {len(results)} of {len(result.outcomes)} results and {len(problems)} of"
            f" {len(result.problems)} problems. The log has all of them."
        )
    answer = {"outcome": "SWEPT", "counts": counts_of(result), "results": results, "problems": problems}
    return {**answer, "reason": " ".join(reasons)} if reasons else {**answer}


def _cut(items: Sequence[object]) -> list[object]:
    """Return the first items, as many as the answer has room for."""
    sizes = itertools.accumulate(len(json.dumps(item)) + len(", ") for item in items)
    return [item for item, size in zip(items, sizes, strict=True) if size <= _MAX_BYTES]
