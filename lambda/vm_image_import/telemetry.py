"""The log and the metrics. The service's name and the namespace come from the function's environment."""

import logging
import warnings
from typing import Final

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from vm_image_import.models import Outcome, OutcomeKind

logger = Logger()
metrics = Metrics()
# botocore says at every cold start where it found its credentials.
logging.getLogger("botocore").setLevel(logging.WARNING)
# Most AMIs are no imports, and then there is nothing to count.
warnings.filterwarnings("ignore", message="No application metrics to publish")

_COUNTED: Final = {
    OutcomeKind.REGISTERED: "ImagesRegistered",
    OutcomeKind.IMPORT_FAILED: "ImportsFailed",
    OutcomeKind.REJECTED: "ImportsRejected",
    OutcomeKind.IMAGE_AVAILABLE: "ImagesAvailable",
    OutcomeKind.IMAGE_FAILED: "ImagesFailed",
}
_ASKS_FOR_SOMEBODY: Final = frozenset({OutcomeKind.IMPORT_FAILED, OutcomeKind.IMAGE_FAILED, OutcomeKind.REJECTED})


def tell(outcome: Outcome, *, dry_run: bool) -> None:
    """Log an outcome, as a warning where somebody has to act, and count it where there is a metric for it.

    What a dry run comes to is not counted. What people were told before is neither: a sweep meets it again and again.
    """
    log = logger.warning if outcome.kind in _ASKS_FOR_SOMEBODY and outcome.news else logger.info
    log("Done", extra=outcome.as_answer())
    if outcome.kind in _COUNTED and outcome.news and not dry_run:
        metrics.add_metric(_COUNTED[outcome.kind], MetricUnit.Count, 1)


def event_age(seconds: float) -> None:
    """Record the time from an event to the registration that it led to."""
    metrics.add_metric("EventAge", MetricUnit.Seconds, seconds)


def sweep_completed() -> None:
    """Count a sweep that came to the end of the tasks."""
    metrics.add_metric("SweepsCompleted", MetricUnit.Count, 1)
