"""The metrics."""

from collections.abc import Iterator

import pytest

from vm_image_import.report import log as observability


@pytest.fixture(autouse=True)
def _no_metrics_left() -> Iterator[None]:
    """Leave the process without metrics that nothing flushes."""
    yield
    observability.metrics.clear_metrics()


@pytest.mark.parametrize(
    ("seconds", "recorded"),
    [(0, True), (3, True), (86_400, True), (-1, False), (200_000, False), (float("inf"), False), (1e12, False)],
)
def test_an_absurd_event_age_is_not_recorded(seconds: float, recorded: bool) -> None:  # noqa: FBT001 - a case of the table
    """The age of an event is recorded only from zero to two days."""
    observability.record_event_age(seconds)
    assert ("EventAge" in observability.metrics.metric_set) is recorded
