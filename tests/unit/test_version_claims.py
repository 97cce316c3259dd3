"""The versions of the scheme `increment`, where imports share a name and Image Builder's lists are old."""

import pytest

from tests.unit.fakes import TASK_ID, InMemoryAws
from vm_image_import.errors import RejectedError, TransientError
from vm_image_import.idempotency.records import IdempotencyKey, RegistrationId
from vm_image_import.version_claims import VersionClaims

FIRST = RegistrationId(TASK_ID)
FORCED = RegistrationId(TASK_ID, 1)
OTHER = RegistrationId("import-ami-00000000")


def claims(aws: InMemoryAws) -> VersionClaims:
    """Return the claims of a new execution environment."""
    return VersionClaims(aws.clients(), aws.invocation())


def test_imports_of_one_name_get_different_versions() -> None:
    """Imports of one name get one version each, although the list shows none of them, and however it is written."""
    aws = InMemoryAws()
    spellings = {OTHER: "web server", FIRST: "Web_Server", FORCED: "web-server"}
    assert [claims(aws).claim(id_, name) for id_, name in spellings.items()] == ["1.0.0", "1.0.1", "1.0.2"]


def test_a_retry_gets_its_version_again() -> None:
    """A registration has one version of a name, and another one of another name."""
    aws = InMemoryAws()
    claims(aws).claim(OTHER, "web")
    assert [claims(aws).claim(FIRST, "web") for _ in range(3)] == ["1.0.1"] * 3
    assert claims(aws).claim(FIRST, "data") == "1.0.0"


def test_a_version_is_higher_than_every_listed_one() -> None:
    """A version that was claimed below the highest listed one is not used any more."""
    aws = InMemoryAws()
    assert claims(aws).claim(FIRST, "web") == "1.0.0"
    aws.versions = ("3.0.0",)
    assert claims(aws).claim(FIRST, "web") == "3.0.1"


def test_a_released_version_is_free() -> None:
    """The version of a refused request goes to the next import; a release of another registration's does nothing."""
    aws = InMemoryAws()
    version = claims(aws).claim(FIRST, "web")
    claims(aws).release(OTHER, "web", version)
    assert claims(aws).claim(OTHER, "web") == "1.0.1"
    claims(aws).release(FIRST, "web", version)
    assert claims(aws).claim(FORCED, "web") == "1.0.0"


def test_a_version_that_another_invocation_claims_is_skipped() -> None:
    """A version whose claim is in progress is left to the other invocation."""
    aws = InMemoryAws(in_progress={IdempotencyKey("version", "web/1.0.0")})
    assert claims(aws).claim(FIRST, "web") == "1.0.1"


def test_keys_of_different_names_do_not_collide() -> None:
    """The claim of a name with a number is another one than that of a forced registration."""
    aws = InMemoryAws()
    claims(aws).claim(FIRST, "1 web")
    claims(aws).claim(FORCED, "web")
    assert len(aws.records) == 2


def test_a_highest_version_has_no_successor() -> None:
    """A name whose highest patch cannot be incremented needs a stated version."""
    with pytest.raises(RejectedError, match="state the version"):
        claims(InMemoryAws(versions=("1.0.1073741823",))).claim(FIRST, "web")


def test_a_hundred_claimed_versions_are_a_transient_error() -> None:
    """Where 100 imports of one name have claimed the next versions, the import is tried again later."""
    aws = InMemoryAws()
    for number in range(100):
        claims(aws).claim(RegistrationId(f"import-ami-{number:08}"), "web")
    with pytest.raises(TransientError, match="web"):
        claims(aws).claim(FIRST, "web")
    assert claims(aws).claim(RegistrationId("import-ami-00000007"), "web") == "1.0.7"
