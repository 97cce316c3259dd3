"""The image's semantic version."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from vm_image_import.derive import versions


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.4.2", "1.4.2"),
        ("1.4", "1.4.0"),
        ("v2", "2.0.0"),
        ("V2.1", "2.1.0"),
        ("v1.4.2", "1.4.2"),
        ("2021.01.01", "2021.01.01"),
        ("2026-11-23", "2026.11.23"),
        ("v20261123", "2026.11.23"),
        ("V2026-11-23", "2026.11.23"),
        ("20991231", "2099.12.31"),
        ("2026_11_23", "2026.11.23"),
        ("20261123", "2026.11.23"),
        ("20240229", "2024.02.29"),
        ("1073741823.1073741823.1073741823", "1073741823.1073741823.1073741823"),
        ("2026.13.45", "2026.13.45"),
        ("1073741824.0.0", None),
        ("2", "2.0.0"),
        ("99", "99.0.0"),
        ("2021", "2021.0.0"),
        ("99999", "99999.0.0"),
        ("123456", None),
        ("20269999", None),
        ("20230229", None),
        ("2026-11_23", None),
        ("1.4.2.1", None),
        ("1.4.2-rc1", None),
        ("1..2", None),
        ("latest", None),
        ("\u0661.\u0662.\u0663", None),
        (" 1.4.2", "1.4.2"),
        ("1.4.2\n", "1.4.2"),
        ("\t2026-11-23 ", "2026.11.23"),
        ("1. 4", None),
        (" ", None),
        ("", None),
    ],
)
def test_text_states_a_version(text: str, version: str | None) -> None:
    """What a person writes is a version in one of the documented forms, or none at all."""
    assert versions.parse(text) == version


def test_the_day_is_taken_in_utc() -> None:
    """The `date` scheme gives the same version wherever the time is told."""
    just_after_midnight = datetime(2026, 1, 5, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert versions.of_day(just_after_midnight) == "2026.01.04"
    assert versions.of_day(datetime(2026, 1, 5, 23, 59, tzinfo=UTC)) == "2026.01.05"
