"""What the tests of this folder share."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the tests of the local AWS itself to `make acceptance`.

    `make quick` runs those of a module that is edited.
    """
    for item in items:
        if item.path.name.startswith("test_local_"):
            item.add_marker(pytest.mark.acceptance)
