"""The log and the metrics. Powertools reads service and namespace from the function's environment."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from vm_image_import.answers import answer_of
from vm_image_import.models import Outcome, OutcomeKind

logger = Logger()
metrics = Metrics()
# At every cold start botocore logs where it found its credentials.
logging.getLogger("botocore").setLevel(logging.WARNING)
# Most AMIs are no imports, and then there is nothing to count.
warnings.filterwarnings("ignore", message="No application metrics to publish")

_METRICS: Final = {
    OutcomeKind.REGISTERED: "ImagesRegistered",
    OutcomeKind.IMPORT_FAILED: "ImportsFailed",
    OutcomeKind.REJECTED: "ImportsRejected",
    OutcomeKind.IMAGE_AVAILABLE: "ImagesAvailable",
    OutcomeKind.IMAGE_FAILED: "ImagesFailed",
}
_ACTION_REQUIRED: Final = frozenset({OutcomeKind.IMPORT_FAILED, OutcomeKind.IMAGE_FAILED, OutcomeKind.REJECTED})


@contextmanager
def log_context(**keys: str) -> Iterator[None]:
    """Add keys to every log line of the block, and log an error that leaves it.

    Lambda's own report of the error does not have the keys.
    """
    with logger.append_context_keys(**keys):
        try:
            yield
        except Exception:
            logger.exception("Failed")
            raise


def log_and_count(outcome: Outcome, *, dry_run: bool) -> None:
    """Log an outcome, as a warning where it requires action, and count it where it has a metric.

    A dry run is not counted, nor is an outcome that was reported before: every sweep finds it again.
    """
    log = logger.warning if outcome.kind in _ACTION_REQUIRED and outcome.is_new else logger.info
    log("Done", extra=answer_of(outcome))
    if outcome.kind in _METRICS and outcome.is_new and not dry_run:
        metrics.add_metric(_METRICS[outcome.kind], MetricUnit.Count, 1)


def record_event_age(seconds: float) -> None:
    """Record the time from an event to the registration of its image."""
    metrics.add_metric("EventAge", MetricUnit.Seconds, seconds)


def count_completed_sweep() -> None:
    """Count a sweep that processed all tasks."""
    metrics.add_metric("SweepsCompleted", MetricUnit.Count, 1)
