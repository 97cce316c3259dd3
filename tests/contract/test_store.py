"""The store on the local DynamoDB, with real boto3."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError
from moto.core.botocore_stubber import BotocoreStubber

from tests.conftest import client
from tests.unit.fakes import ARN, TASK_ID, InMemoryAws
from vm_image_import.deadline import Deadline
from vm_image_import.domain.errors import InProgressError, InvalidRecordError, PermanentError, TransientError
from vm_image_import.records.registration import Record, Registration
from vm_image_import.records.store import OPEN_INDEX, Store

TABLE = "idempotency"
MINUTE = Deadline(lambda: 60_000)
DAY = 24 * 60 * 60
REPORTED = Record(reported="REJECTED tag Version")


@pytest.fixture
def store(local_aws_mode: str) -> Store:
    """Give an empty store."""
    assert local_aws_mode
    client("dynamodb").create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("id", OPEN_INDEX)],
        GlobalSecondaryIndexes=[
            {
                "IndexName": OPEN_INDEX,
                "KeySchema": [{"AttributeName": OPEN_INDEX, "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return new_store()


def new_store() -> Store:
    """Return the same store in another execution environment."""
    return Store(boto3.client("dynamodb"), TABLE)


def registered() -> Record:
    """Return the record of a registration."""
    aws = InMemoryAws()
    aws.put_registration()
    return Record(aws.registration(), "IMPORT_HANGS", {"active": aws.registration().time})


def items() -> list[dict[str, Any]]:
    """Return the items of the table."""
    found: list[dict[str, Any]] = client("dynamodb").scan(TableName=TABLE)["Items"]
    return found


def save(store: Store, record: Record, *, is_open: bool = False) -> None:
    """Save a record."""
    with store.claim(TASK_ID, MINUTE) as claim:
        claim.save(record, is_open=is_open)


@contextmanager
def lost_answers(operation: str, times: int = 1) -> Iterator[list[str]]:
    """Let DynamoDB do what it is asked for, and lose its first answers to an operation."""
    real, lost = BotocoreStubber.__call__, []

    def send(self: BotocoreStubber, event_name: str, request: Any, **rest: object) -> Any:  # noqa: ANN401 - botocore's
        answer = real(self, event_name, request, **rest)
        if event_name.endswith(operation) and len(lost) < times:
            lost.append(event_name)
            raise ReadTimeoutError(endpoint_url=request.url)
        return answer

    with mock.patch.object(BotocoreStubber, "__call__", send), mock.patch("botocore.endpoint.time.sleep"):
        yield lost


def test_a_record_is_read_as_it_was_saved(store: Store) -> None:
    """A record has every fact of its registration in another execution environment."""
    save(store, registered())
    assert new_store().read([TASK_ID, "import-ami-00000000"]) == {TASK_ID: registered()}


def test_a_claim_excludes_every_other_one(store: Store) -> None:
    """While an invocation has a claim, another one gets InProgressError, and neither its block nor its save runs."""
    with store.claim(TASK_ID, MINUTE) as claim:
        with pytest.raises(InProgressError, match=TASK_ID), new_store().claim(TASK_ID, MINUTE):
            pytest.fail("claimed twice")
        claim.save(REPORTED)
    with new_store().claim(TASK_ID, MINUTE) as later:
        assert later.record == REPORTED


def test_a_saved_claim_has_ended(store: Store) -> None:
    """After the save, another invocation may claim the record, although the block goes on."""
    with store.claim(TASK_ID, MINUTE) as claim:
        claim.save(REPORTED)
        save(new_store(), registered())
    assert store.read([TASK_ID]) == {TASK_ID: registered()}


@pytest.mark.parametrize("error", [PermanentError("denied"), None])
def test_a_block_that_saves_nothing_leaves_nothing(store: Store, error: Exception | None) -> None:
    """A claim that saves nothing leaves no item, and an existing record as it was."""
    for before in ({}, {TASK_ID: registered()}):
        if before:
            save(store, registered())
        try:
            with store.claim(TASK_ID, MINUTE):
                if error:
                    raise error
        except PermanentError:
            assert error
        assert store.read([TASK_ID]) == before
        assert bool(items()) is bool(before)
        assert not any("claimed_until" in item for item in items())


def test_a_claim_expires_with_its_invocation(store: Store) -> None:
    """The claim of an invocation that was ended is free when that invocation would have timed out."""
    with mock.patch.object(Store, "_release"), store.claim(TASK_ID, Deadline(lambda: 0)):
        pass
    with mock.patch("vm_image_import.records.store.time.time", return_value=time.time() + 1):
        save(new_store(), REPORTED)
    assert store.read([TASK_ID]) == {TASK_ID: REPORTED}


def test_a_claim_that_another_invocation_has_taken_over_is_lost(store: Store) -> None:
    """A save by an invocation whose claim has expired changes nothing, and is an error; nor does it release."""
    with store.claim(TASK_ID, MINUTE) as claim:
        client("dynamodb").delete_item(TableName=TABLE, Key={"id": {"S": TASK_ID}})
        save(new_store(), registered())
        with pytest.raises(TransientError, match=TASK_ID):
            claim.save(REPORTED)
    with store.claim(TASK_ID, MINUTE):
        client("dynamodb").delete_item(TableName=TABLE, Key={"id": {"S": TASK_ID}})
        save(new_store(), registered())
    assert store.read([TASK_ID]) == {TASK_ID: registered()}


@pytest.mark.parametrize("operation", ["UpdateItem", "DeleteItem"])
def test_a_lost_answer_locks_nobody_out(store: Store, operation: str) -> None:
    """Where the answer of a claim, a save or a release is lost, botocore's next attempt is the same invocation's."""
    with lost_answers(operation) as lost, store.claim(TASK_ID, MINUTE):
        pass
    assert items() == []
    with store.claim(TASK_ID, MINUTE) as claim, lost_answers("UpdateItem"):
        claim.save(registered(), is_open=True)
    assert store.read([TASK_ID]) == {TASK_ID: registered()}
    assert not any("claimed_until" in item for item in items())
    assert lost


@pytest.mark.parametrize("data", ["?", "[]", '{"registration": {}}'])
def test_an_unreadable_record_is_kept(store: Store, data: str) -> None:
    """A record that cannot be read says so, and a save leaves it for the operator."""
    boto = client("dynamodb")
    boto.put_item(TableName=TABLE, Item={"id": {"S": TASK_ID}, "data": {"S": data}})
    record = store.read([TASK_ID])[TASK_ID]
    with pytest.raises(InvalidRecordError, match=TASK_ID):
        record.readable()
    with store.claim(TASK_ID, MINUTE) as claim:
        claim.save(Record(reported="REJECTED record", unreadable=claim.record.unreadable))
    (item,) = items()
    assert (item["data"], item["reported"]) == ({"S": data}, {"S": "REJECTED record"})


def test_open_registrations_are_listed(store: Store) -> None:
    """The index has the registrations with steps left, over all pages, and no other item."""
    for number in range(3):
        with store.claim(f"{TASK_ID} {number}", MINUTE) as claim:
            claim.save(registered(), is_open=True)
    save(store, registered())
    real, limited = store._client.query, 0  # noqa: SLF001 - to make pages of one

    def query(**request: Any) -> Any:  # noqa: ANN401 - botocore's
        nonlocal limited
        limited += 1
        return real(**request, Limit=1)

    with mock.patch.object(store._client, "query", query):  # noqa: SLF001 - as above
        assert sorted(store.list_open()) == [f"{TASK_ID} {number}" for number in range(3)]
    assert limited >= 3
    with store.claim(f"{TASK_ID} 1", MINUTE) as claim:
        claim.save(registered())
    assert len([*store.list_open()]) == 2


def test_a_value_is_taken_once(store: Store) -> None:
    """The first value of a key stays, for whoever asks, until its owner gives it back."""
    assert [store.take("version web/1.0.0", value) for value in ("a", "b", "a")] == ["a", "a", "a"]
    store.give_back("version web/1.0.0", "b")
    assert store.read_values(["version web/1.0.0", "version web/1.0.1"]) == {"version web/1.0.0": "a"}
    store.give_back("version web/1.0.0", "a")
    assert new_store().take("version web/1.0.0", "b") == "b"


def test_a_thousand_records_are_read_in_batches(store: Store) -> None:
    """A read has no limit of ids, and an id that is asked for twice is read once."""
    ids = [f"import-ami-{number:08}" for number in range(250)]
    with store.claim(ids[-1], MINUTE) as claim:
        claim.save(REPORTED)
    with mock.patch.object(store._client, "batch_get_item", wraps=store._client.batch_get_item) as calls:  # noqa: SLF001 - counted
        assert store.read([*ids, *ids]) == {ids[-1]: REPORTED}
    assert calls.call_count == 3


def test_unprocessed_keys_are_read_again(store: Store) -> None:
    """What DynamoDB leaves out of an answer is asked for again; where it answers nothing, it is a transient error."""
    save(store, REPORTED)
    real = store._client.batch_get_item  # noqa: SLF001 - to leave something out
    left: list[Any] = []

    def batch(**request: Any) -> Any:  # noqa: ANN401 - botocore's
        keys = request["RequestItems"][TABLE]["Keys"]
        if len(left) < 1 and len(keys) > 1:
            left.append(keys[1:])
            answer = real(RequestItems={TABLE: {"Keys": keys[:1]}})
            return {**answer, "UnprocessedKeys": {TABLE: {"Keys": keys[1:]}}}
        return real(**request)

    with mock.patch.object(store._client, "batch_get_item", batch):  # noqa: SLF001 - as above
        assert store.read(["import-ami-00000000", TASK_ID]) == {TASK_ID: REPORTED}
    assert left
    nothing = {"Responses": {TABLE: []}, "UnprocessedKeys": {TABLE: {"Keys": [{"id": {"S": TASK_ID}}]}}}
    with (
        mock.patch.object(store._client, "batch_get_item", return_value=nothing),  # noqa: SLF001 - as above
        pytest.raises(TransientError),
    ):
        store.read([TASK_ID])


def test_records_expire(store: Store) -> None:
    """Every item expires 60 days after it was written last."""
    save(store, registered())
    store.take("version web/1.0.0", TASK_ID)
    for item in items():
        assert abs(int(item["expiration"]["N"]) - time.time() - 60 * DAY) < DAY


def test_a_registration_can_be_found_by_its_task(store: Store) -> None:
    """The item's id is the id of the import task, so that an operator finds it."""
    save(store, registered(), is_open=True)
    (item,) = items()
    assert (item["id"], item["open"]) == ({"S": TASK_ID}, {"S": "yes"})
    assert ARN in item["data"]["S"]
    assert isinstance(registered().registration, Registration)
