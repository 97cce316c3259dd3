"""What `make verify` concludes from what it has seen, and what its document says."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from local.verify.account import Answer, redacted
from local.verify.assumptions import ASSUMPTIONS, Finding, Observations
from local.verify.report import Report, Row, assumption_rows

TIME = datetime(2026, 11, 30, tzinfo=UTC)


def test_every_assumption_has_a_switch_or_a_reason() -> None:
    """Each assumption has a switch of its own, or says why it has none."""
    switches = [each.switch for each in ASSUMPTIONS if each.switch]
    assert len(switches) == len({*switches})
    assert all(bool(each.switch) != bool(each.no_switch) for each in ASSUMPTIONS)


def test_nothing_is_concluded_from_nothing() -> None:
    """Where nothing was observed, nothing is `yes` or `no`."""
    assert {row.finding.verdict for row in assumption_rows(Observations())} == {"not seen"}


@pytest.mark.parametrize(
    ("claim", "seen"),
    [
        ("accepts 100 as `MaxResults`", Observations(next_token=Answer(code="InvalidParameterValue"))),
        ("A client token with other values", Observations(other_values=Answer("arn"))),
        ("A client token with other values", Observations(other_values=Answer(code="ClientException"))),
        ("shows a new image after at most 5 minutes", Observations(listed_name=Answer(""))),
        (
            "shows the name of an image as it was requested",
            Observations(second_name="My Image", listed_name=Answer("my-image")),
        ),
    ],
)
def test_an_assumption_without_a_switch_is_found_wrong(claim: str, seen: Observations) -> None:
    """What AWS answers otherwise makes the one assumption `no`."""
    (wrong,) = (row for row in assumption_rows(seen) if row.finding.verdict == "no")
    assert claim in wrong.claim


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("arn:aws:sns:us-east-1:123456789012:topic", "arn:aws:sns:us-east-1:ACCOUNT:topic"),
        ("import-ami-00000000000000000", "import-ami-00000000000000000"),
        ("owner 123456789012, 2026-11-30T10:00:55.123456789012", "owner ACCOUNT, 2026-11-30T10:00:55.ACCOUNT"),
        ("two\nlines", "two lines"),
        ("x" * 301, f"{'x' * 300} …"),
    ],
)
def test_evidence_has_no_account(text: str, shown: str) -> None:
    """Account ids are redacted, ids of resources are not, and a text is one line of limited length."""
    assert redacted(text) == shown


@pytest.mark.parametrize(
    ("verdict", "left", "proved"),
    [("yes", [], True), ("not seen", [], True), ("no", [], False), ("yes", ["aws sqs delete-queue"], False)],
)
def test_what_is_proved(verdict: str, left: list[str], proved: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a case
    """A deployment is proved where no claim of it is `no` and nothing is left; a wrong assumption does not matter."""
    wrong = Row("An assumption.", Finding("no", "a | b"), "Another way.")
    claim = Row("A claim.", Finding(verdict, "evidence"))  # type: ignore[arg-type] # a case
    report = Report("us-east-1", TIME, [claim], [wrong], left)
    assert report.is_proved is proved
    markdown = report.write(tmp_path)
    assert markdown.name == "verify-us-east-1-2026-11-30.md"
    assert r"| An assumption. | no | a \| b | Another way. |" in markdown.read_text(encoding="utf-8")
    assert markdown.with_suffix(".json").exists()
