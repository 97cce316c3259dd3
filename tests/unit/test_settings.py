"""The function's environment."""

import pytest

from vm_image_import.domain.errors import InvalidSettingsError
from vm_image_import.settings import Settings

REQUIRED = {"TABLE_NAME": "table", "TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:topic"}
SETTINGS = Settings(table_name=REQUIRED["TABLE_NAME"], topic_arn=REQUIRED["TOPIC_ARN"])


def test_an_environment_is_read() -> None:
    """A variable that is not there has its default; other variables do not matter."""
    assert Settings.from_environment({"PATH": "/bin", **REQUIRED}) == SETTINGS
    settings = Settings.from_environment({"VERSION_SCHEME": "timestamp", "TAGS": '{"Team": "web"}', **REQUIRED})
    assert (settings.version_scheme, settings.tags) == ("timestamp", {"Team": "web"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VERSION_SCHEME", "weekly"),
        ("VERSION_SCHEME", "Date"),
        ("VERSION_SCHEME", ""),
        ("NAME_TAG", ""),
        ("VERSION_TAG", ""),
        ("OS_VERSION_TAG", ""),
        ("TAGS", ""),
        ("TAGS", "Team=web"),
        ("TAGS", "[]"),
        ("TAGS", '{"Team": 7}'),
        ("TAGS", '{"Team": "web", "Cost": 7}'),
        ("ONLY_TASKS_TAGGED", "null"),
        ("OBSERVE", ""),
        ("OBSERVE", "True"),
        ("OBSERVE", "1"),
        ("TAG_AMIS", "yes"),
        ("AMI_TAG_KEYS", "Team"),
        ("AMI_TAG_KEYS", '{"Team": "web"}'),
        ("AMI_TAG_KEYS", "[7]"),
        ("KEY_FORMATS", "{name}.ova"),
        ("KEEP_VERSIONS", "0"),
        ("KEEP_VERSIONS", ""),
        ("DELETE_AFTER_DAYS", "-7"),
        ("DELETE_AFTER_DAYS", "30.5"),
        ("KEY_FORMATS", "null"),
        ("ALLOWED_NAMES", "team-a-*"),
        ("ALLOWED_NAMES", "null"),
        ("NAMES_FROM", "files"),
        ("IMMUTABLE_VERSIONS", "yes"),
        ("IMAGE_TAG_KEYS", "{}"),
        ("TABLE_NAME", ""),
        ("TOPIC_ARN", ""),
        ("TABLE_NAME", None),
        ("TOPIC_ARN", None),
    ],
)
def test_a_wrong_or_missing_value_is_an_error(name: str, value: str | None) -> None:
    """The error names the variable and says what to write."""
    environment = {key: text for key, text in {**REQUIRED, name: value}.items() if text is not None}
    with pytest.raises(InvalidSettingsError, match=f"^{name} is .*: write ") as caught:
        Settings.from_environment(environment)
    assert len(caught.value.problems) == 1


def test_every_problem_is_named_at_once() -> None:
    """The error names every wrong and every missing variable."""
    with pytest.raises(InvalidSettingsError) as caught:
        Settings.from_environment({"VERSION_SCHEME": "weekly", "NAME_TAG": "", "TAGS": "?"})
    assert len(caught.value.problems) == 5
