"""The function's answers, as the README describes them."""

from collections import Counter

from vm_image_import.models import Outcome, SweepResult


def answer_of(outcome: Outcome) -> dict[str, object]:
    """Return the answer, without the keys that do not apply. Log lines have the same keys."""
    answer: dict[str, object | None] = {
        "outcome": outcome.kind.value,
        "importTaskId": outcome.import_task_id,
        "imageArn": outcome.image_arn,
        "request": outcome.request,
        "reason": outcome.reason,
    }
    return {key: value for key, value in answer.items() if value is not None}


def answer_of_sweep(result: SweepResult) -> dict[str, object]:
    """Return the answer of a sweep."""
    answer: dict[str, object] = {
        "outcome": "SWEPT",
        "counts": dict(Counter(outcome.kind.value for outcome in result.outcomes)),
        "results": [answer_of(outcome) for outcome in result.outcomes],
    }
    return answer if result.reason is None else answer | {"reason": result.reason}
