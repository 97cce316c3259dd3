"""The log and the metrics. Powertools reads service and namespace from the function's environment."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from vm_image_import.domain.errors import SweepError
from vm_image_import.domain.outcomes import Outcome, SweepResult
from vm_image_import.domain.text import visible
from vm_image_import.report.answers import answer_of, counts_of


def _serialize(record: Mapping[str, object]) -> str:
    """Return a log line as JSON. What cannot be seen is escaped, so that it is not in the values either."""
    return visible(json.dumps(record, default=str, separators=(",", ":"), ensure_ascii=False), backslash=r"\\")


logger = Logger(json_serializer=_serialize)
metrics = Metrics()
# At every cold start botocore logs where it found its credentials.
logging.getLogger("botocore").setLevel(logging.WARNING)
# Most AMIs are no imports, and then there is nothing to count.
warnings.filterwarnings("ignore", message="No application metrics to publish")

_MAX_EVENT_AGE: Final = 2 * 24 * 60 * 60
"""Seconds. EventBridge delivers for one day and Lambda tries for 6 hours: an older time is not that of the event."""


@contextmanager
def log_context(**keys: str) -> Iterator[None]:
    """Add keys to every log line of the block, and log an error that leaves it.

    Lambda's own report of the error does not have the keys.
    """
    with logger.append_context_keys(**keys):
        try:
            yield
        except SweepError:
            # What it is about was logged where it happened.
            raise
        except Exception:
            logger.exception("Failed")
            raise


def log_and_count(outcome: Outcome, *, dry_run: bool) -> None:
    """Log an outcome, as a warning where the user has to act, and count it where it has a metric.

    A dry run is not counted, nor is an outcome that was reported before: every sweep finds it again.
    """
    log = logger.warning if outcome.meaning.is_problem and outcome.is_new else logger.info
    log("Done", extra=_loggable(answer_of(outcome)))
    if outcome.meaning.metric and outcome.is_new and not dry_run:
        count(outcome.meaning.metric)
    if metrics.metric_set:
        # The rest of the invocation may be killed.
        metrics.flush_metrics()


def _loggable(answer: Mapping[str, object]) -> Mapping[str, object]:
    """Return an answer with the keys of the requested tags: their values are others', and may be secret."""
    request = answer.get("request")
    if not isinstance(request, Mapping):
        return answer
    return {**answer, "request": {**request, "tags": sorted(request["tags"])}}


def count(metric: str) -> None:
    """Add 1 to a metric."""
    metrics.add_metric(metric, MetricUnit.Count, 1)


def record_event_age(seconds: float) -> None:
    """Record the time from an event to the registration of its image, unless the time of the event is absurd."""
    if 0 <= seconds <= _MAX_EVENT_AGE:
        metrics.add_metric("EventAge", MetricUnit.Seconds, seconds)


def log_and_count_sweep(result: SweepResult, *, dry_run: bool, listed: bool) -> None:
    """Log what a sweep did, and count its problems, and whether it processed all tasks.

    `listed` says whether EC2 listed all tasks. A dry run is not counted.
    """
    log = logger.info if result.reason is None else logger.warning
    log("Swept", extra={"counts": counts_of(result), "problems": len(result.problems), "reason": result.reason})
    if dry_run:
        return
    if result.problems:
        metrics.add_metric("SweepProblems", MetricUnit.Count, len(result.problems))
    if listed and result.reason is None:
        metrics.add_metric("SweepsCompleted", MetricUnit.Count, 1)
