"""The versions of the scheme `increment`, where imports share a name and Image Builder's lists are old."""

from collections.abc import Callable

import pytest

from tests.unit.fakes import TASK_ID, InMemoryAws, Item
from vm_image_import.domain.errors import InvalidRecordError, RejectedError, TransientError
from vm_image_import.records.registration import RegistrationId
from vm_image_import.records.version_claims import VersionClaims

FIRST = RegistrationId(TASK_ID)
FORCED = RegistrationId(TASK_ID, 1)
OTHER = RegistrationId("import-ami-00000000")


def claims(aws: InMemoryAws, id_: RegistrationId = FIRST, name: str = "web") -> VersionClaims:
    """Return the claims of a new execution environment."""
    return VersionClaims(aws.clients().store, id_, name)


def test_imports_of_one_name_get_different_versions() -> None:
    """Imports of one name get one version each, although the list shows none of them, and however it is written."""
    aws = InMemoryAws()
    spellings = {OTHER: "web server", FIRST: "Web_Server", FORCED: "web-server"}
    assert [claims(aws, id_, name).claim(None) for id_, name in spellings.items()] == ["1.0.0", "1.0.1", "1.0.2"]


def test_a_retry_gets_its_version_again() -> None:
    """A registration has one version of a name, and another one of another name."""
    aws = InMemoryAws()
    claims(aws, OTHER).claim(None)
    assert [claims(aws).claim(None) for _ in range(3)] == ["1.0.1"] * 3
    assert claims(aws, name="data").claim(None) == "1.0.0"


def test_a_version_is_higher_than_every_listed_one() -> None:
    """A version that was claimed below the highest listed one is not used any more."""
    aws = InMemoryAws()
    assert claims(aws).claim(None) == "1.0.0"
    assert claims(aws).claim("3.0.0") == "3.0.1"


def test_a_version_is_higher_than_every_claimed_one() -> None:
    """A version that was given back is used again only where no higher one is claimed."""
    aws = InMemoryAws()
    first, forced = claims(aws), claims(aws, FORCED)
    version = first.claim(None)
    assert claims(aws, OTHER).claim(None) == "1.0.1"
    first.give_back(version)
    assert forced.claim(None) == "1.0.2"
    forced.give_back("1.0.2")
    assert claims(aws).claim(None) == "1.0.2"


@pytest.mark.parametrize("id_", [FIRST, OTHER])
@pytest.mark.parametrize(
    "retry",
    [lambda each: each.claim(None), lambda each: each.take("1.0.0"), lambda _: None],
    ids=["claims", "takes", "neither"],
)
def test_only_a_new_claim_is_given_back(id_: RegistrationId, retry: Callable[[VersionClaims], object]) -> None:
    """What another registration or an earlier attempt has claimed is not given back."""
    aws = InMemoryAws()
    assert claims(aws).claim(None) == "1.0.0"
    attempt = claims(aws, id_)
    retry(attempt)
    attempt.give_back("1.0.0")
    assert claims(aws, FORCED).take("1.0.0") == FIRST


def test_a_version_is_given_back_to_the_one_that_had_it() -> None:
    """A version that was taken from another registration is given back to it, once, and not made free."""
    aws = InMemoryAws()
    claims(aws).claim(None)
    forced = claims(aws, FORCED)
    assert forced.take("1.0.0", instead_of=FIRST) == FORCED
    forced.give_back("1.0.0")
    assert claims(aws, OTHER).take("1.0.0") == FIRST


@pytest.mark.parametrize("value", ["note of an operator", f"{TASK_ID} 1 2"])
def test_a_value_of_another_hand_is_an_error_that_names_it(value: str) -> None:
    """A version whose value is no registration is an error that names its item."""
    aws = InMemoryAws(items={"version web/1.0.0": Item(value)})
    with pytest.raises(InvalidRecordError, match=r"'version web/1\.0\.0' cannot be read"):
        claims(aws).take("1.0.0")


def test_a_stated_version_is_taken() -> None:
    """A version that is stated is not given to another import, however it is written."""
    aws = InMemoryAws()
    assert claims(aws).take("01.0.0") == FIRST
    assert claims(aws, OTHER).take("1.0.0") == FIRST
    assert claims(aws, OTHER).claim(None) == "1.0.1"


def test_a_peek_claims_nothing() -> None:
    """A peek returns the version that a claim returns."""
    aws = InMemoryAws()
    assert [claims(aws).peek("1.0.0"), claims(aws).peek("1.0.0")] == ["1.0.1"] * 2
    assert aws.items == {}
    assert claims(aws).claim("1.0.0") == claims(aws).peek("1.0.0") == "1.0.1"


def test_keys_of_different_names_do_not_collide() -> None:
    """The claim of a name with a number is another one than that of a forced registration."""
    aws = InMemoryAws()
    claims(aws, name="1 web").claim(None)
    claims(aws, FORCED).claim(None)
    assert len(aws.items) == 2


def test_a_highest_version_has_no_successor() -> None:
    """A name whose highest patch cannot be incremented needs a stated version."""
    with pytest.raises(RejectedError, match="state the version"):
        claims(InMemoryAws()).claim("1.0.1073741823")


def test_a_hundred_claimed_versions_are_a_transient_error() -> None:
    """Where 100 imports of one name have claimed the next versions, the import is tried again later."""
    aws = InMemoryAws()
    for number in range(100):
        claims(aws, RegistrationId(f"import-ami-{number:08}")).claim(None)
    with pytest.raises(TransientError, match="web"):
        claims(aws).claim(None)
    assert claims(aws, RegistrationId("import-ami-00000007")).claim(None) == "1.0.7"
