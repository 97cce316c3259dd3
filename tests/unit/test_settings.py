"""The function's environment."""

import pytest

from vm_image_import.errors import InvalidSettingsError
from vm_image_import.settings import Settings


def test_an_environment_is_read() -> None:
    """What is not there has its default; other variables, such as Lambda's own, do not matter."""
    assert Settings.from_environment({"PATH": "/bin"}) == Settings()
    settings = Settings.from_environment({"VERSION_SCHEME": "timestamp", "TAGS": '{"Team": "web"}'})
    assert settings == Settings(version_scheme="timestamp", tags={"Team": "web"})


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
    ],
)
def test_a_wrong_value_stops_the_function(name: str, value: str) -> None:
    """A function that was deployed by hand with a typing error does not run on a guess."""
    with pytest.raises(InvalidSettingsError, match=f"^{name} is .*: write ") as caught:
        Settings.from_environment({name: value})
    assert len(caught.value.problems) == 1


def test_every_problem_is_named_at_once() -> None:
    """One look at the log is enough."""
    with pytest.raises(InvalidSettingsError) as caught:
        Settings.from_environment({"VERSION_SCHEME": "weekly", "NAME_TAG": "", "TAGS": "?"})
    assert len(caught.value.problems) == 3
