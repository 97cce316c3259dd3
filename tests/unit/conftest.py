"""What is logged and counted in a test."""

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vm_image_import.report.log import logger, metrics

Log = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _no_metrics_left() -> Iterator[None]:
    """Begin and end without metrics that nothing flushes."""
    metrics.clear_metrics()
    yield
    metrics.clear_metrics()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """Give a function that returns the log lines so far."""
    lines = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", lines)
    return lambda: [json.loads(line) for line in lines.getvalue().splitlines()]
