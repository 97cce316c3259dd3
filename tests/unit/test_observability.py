"""The log and the metrics."""

import io
import json

import pytest

from tests.unit.conftest import Log
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.report import log as observability


@pytest.mark.parametrize(
    ("seconds", "recorded"),
    [(0, True), (3, True), (86_400, True), (-1, False), (200_000, False), (float("inf"), False), (1e12, False)],
)
def test_an_absurd_event_age_is_not_recorded(seconds: float, recorded: bool) -> None:  # noqa: FBT001 - a case of the table
    """The age of an event is recorded only from zero to two days."""
    observability.record_event_age(seconds)
    assert ("EventAge" in observability.metrics.metric_set) is recorded


def test_the_values_of_tags_are_not_logged(log: Log) -> None:
    """The log has the keys of the requested tags, and the answer has their values, too."""
    outcome = Outcome(OutcomeKind.DRY_RUN, request={"name": "web", "tags": {"b": "s3cr3t", "a": ""}})
    observability.log_and_count(outcome, dry_run=True)
    (entry,) = log()
    assert entry["request"] == {"name": "web", "tags": ["a", "b"]}


def test_what_is_counted_outlives_the_invocation(capsys: pytest.CaptureFixture[str]) -> None:
    """The metric of an outcome is written at once: Lambda may end the invocation in the next import."""
    observability.log_and_count(Outcome(OutcomeKind.IMAGE_FAILED, "import-ami-1"), dry_run=False)
    assert '"ImagesFailed":[1.0]' in capsys.readouterr().out
    assert observability.metrics.metric_set == {}


@pytest.mark.parametrize(
    "character", ["\u202e", "\u200b", "\u3164", "\U000e0041", "\x1b", "\n", "\\", '"', "é"], ids=ascii
)
def test_a_log_line_hides_nothing(character: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Direction marks and invisible characters of others' text are escaped in the values of the log."""
    log, reason = io.StringIO(), f"Unsupported {character} kernel"
    monkeypatch.setattr(observability.logger.registered_handler, "stream", log)
    observability.log_and_count(Outcome(OutcomeKind.REJECTED, "import-ami-1", reason=reason), dry_run=True)
    with pytest.raises(ValueError, match="kernel"), observability.log_context(importTaskId=f"import-ami-1{character}"):
        raise ValueError(reason)
    lines = log.getvalue().strip("\n").split("\n")
    assert len(lines) == 2
    for line in lines:
        entry = json.loads(line)
        shown = character if character in {"\x1b", "\n", "\\", '"', "é"} else ascii(character)[1:-1]
        assert f"Unsupported {shown} kernel" in entry.get("reason", "") + entry.get("exception", "")
        # JSON itself escapes control characters.
        assert line.isprintable()
