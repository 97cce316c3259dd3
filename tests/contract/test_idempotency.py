"""The store on the local DynamoDB, with Powertools' persistence layer and real boto3."""

import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from vm_image_import.idempotency.store import IdempotencyStore

from tests.conftest import client
from vm_image_import.domain.errors import InProgressError, InvalidRecordError, PermanentError, TransientError
from vm_image_import.domain.models import AwsEnvironment
from vm_image_import.invocation import Invocation
from vm_image_import.records.registration import IdempotencyKey, Registration, RegistrationId, parse_registration

TABLE = "idempotency"
TASK_ID = "import-ami-fg4d51t0"
KEY = IdempotencyKey("registered", TASK_ID)
DAY = 24 * 60 * 60


@pytest.fixture
def store(local_aws_mode: str) -> IdempotencyStore:
    """Give an empty store."""
    assert local_aws_mode
    client("dynamodb").create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return new_store()


def new_store() -> IdempotencyStore:
    """Return the same store in another execution environment."""
    return IdempotencyStore(boto3.client("dynamodb"), TABLE)


def invocation(remaining_ms: int = 60_000) -> Invocation:
    """Return an invocation with this remaining time."""
    return Invocation(AwsEnvironment("aws", "us-east-1", "123456789012"), "r", datetime.now(UTC), lambda: remaining_ms)


def run_once(store: IdempotencyStore, key: IdempotencyKey, result: str, remaining_ms: int = 60_000) -> str | None:
    """Complete a claim, unless it is completed; return the result that was recorded before."""
    with store.claim(key, invocation(remaining_ms)) as claim:
        if claim.completed is None:
            claim.complete(result)
        return claim.completed


def test_an_operation_is_performed_once(store: IdempotencyStore) -> None:
    """Every claim after the first completed one has its result."""
    assert run_once(store, KEY, "arn") is None
    assert run_once(store, KEY, "other") == "arn"
    assert run_once(new_store(), KEY, "other") == "arn"


def test_keys_are_distinct(store: IdempotencyStore) -> None:
    """Another kind or another subject is another operation."""
    run_once(store, KEY, "arn")
    for other in (IdempotencyKey("terminal", TASK_ID), IdempotencyKey("registered", f"{TASK_ID} 1")):
        assert run_once(store, other, "other") is None


def test_claims_can_be_nested(store: IdempotencyStore) -> None:
    """An operation that is claimed inside another one has a record of its own."""
    version = IdempotencyKey("version", TASK_ID)
    with store.claim(KEY, invocation()) as claim:
        run_once(store, version, "1.0.0")
        claim.complete("arn")
    assert store.get_completed([KEY, version]) == {KEY: "arn", version: "1.0.0"}


def test_an_error_releases_the_claim(store: IdempotencyStore) -> None:
    """After an error nothing is recorded, and the next invocation may perform the operation."""
    with pytest.raises(PermanentError), store.claim(KEY, invocation()):
        raise PermanentError(TASK_ID)
    assert client("dynamodb").scan(TableName=TABLE)["Items"] == []
    assert run_once(store, KEY, "arn") is None


def test_a_claim_that_is_not_completed_is_released(store: IdempotencyStore) -> None:
    """A block that ends without a result leaves no record."""
    with store.claim(KEY, invocation()):
        pass
    assert client("dynamodb").scan(TableName=TABLE)["Items"] == []
    assert run_once(store, KEY, "arn") is None


def test_releasing_deletes_only_the_own_record(store: IdempotencyStore) -> None:
    """A claim that another invocation has taken over and completed meanwhile keeps its record."""
    boto = client("dynamodb")
    with store.claim(KEY, invocation()):
        (mine,) = boto.scan(TableName=TABLE)["Items"]
        boto.delete_item(TableName=TABLE, Key={"id": mine["id"]})
        run_once(new_store(), KEY, "arn", remaining_ms=61_000)
    assert store.get_completed([KEY]) == {KEY: "arn"}


def test_an_empty_result_is_a_result(store: IdempotencyStore) -> None:
    """An operation with an empty result is not performed again."""
    run_once(store, KEY, "")
    assert run_once(store, KEY, "other") == ""
    assert store.get_completed([KEY]) == {KEY: ""}


def test_two_invocations_at_once_are_one(store: IdempotencyStore) -> None:
    """While one invocation has the claim, another one gets InProgressError, and the operation is not completed."""
    with store.claim(KEY, invocation()) as claim:
        with pytest.raises(InProgressError, match=TASK_ID):
            run_once(new_store(), KEY, "other")
        assert new_store().get_completed([KEY]) == {}
        claim.complete("arn")
    assert store.get_completed([KEY]) == {KEY: "arn"}


def test_the_claim_of_an_ended_invocation_expires(store: IdempotencyStore) -> None:
    """The claim of an invocation that Lambda ends is free from the time at which that invocation would time out."""
    for remaining_ms, free in ((60_000, False), (-1, True)):
        key = IdempotencyKey("registered", str(remaining_ms))
        # What Lambda does cannot be caught.
        with suppress(KeyboardInterrupt), store.claim(key, invocation(remaining_ms)):
            raise KeyboardInterrupt
        if free:
            assert run_once(new_store(), key, "arn") is None
        else:
            with pytest.raises(InProgressError):
                run_once(new_store(), key, "arn")


def test_records_outlive_the_tasks(store: IdempotencyStore) -> None:
    """A record is kept for at least 30 days; EC2 lists a task for 7 days after its end."""
    run_once(store, KEY, "arn")
    (item,) = client("dynamodb").scan(TableName=TABLE)["Items"]
    assert int(item["expiration"]["N"]) > time.time() + 30 * DAY


def test_a_hundred_records_cost_one_read(store: IdempotencyStore) -> None:
    """The records of 250 keys are read with three calls, and those of no key with none."""
    keys = [IdempotencyKey("registered", f"import-ami-{number:08}") for number in range(250)]
    for key in keys[::10]:
        run_once(store, key, key.subject)
    dynamodb, calls = boto3.client("dynamodb"), []
    dynamodb.meta.events.register("before-call.dynamodb.BatchGetItem", lambda **_: calls.append(1))
    assert IdempotencyStore(dynamodb, TABLE).get_completed(keys) == {key: key.subject for key in keys[::10]}
    assert len(calls) == 3
    assert IdempotencyStore(dynamodb, TABLE).get_completed([]) == {}
    assert len(calls) == 3


def test_every_registration_of_a_task_is_read(store: IdempotencyStore) -> None:
    """The registrations of each task are returned in the order of their numbers."""
    for subject in (TASK_ID, f"{TASK_ID} 1", "import-ami-00000001"):
        run_once(store, IdempotencyKey("registered", subject), Registration(subject, "ami").to_json())
    found = store.get_registrations([TASK_ID, "import-ami-00000001", "import-ami-00000002"])
    assert not found.unreadable
    assert {task_id: [each.arn for each in listed.values()] for task_id, listed in found.by_task.items()} == {
        TASK_ID: [TASK_ID, f"{TASK_ID} 1"],
        "import-ami-00000001": ["import-ami-00000001"],
        "import-ami-00000002": [],
    }


@pytest.mark.usefixtures("store")
def test_a_table_that_returns_no_record_is_a_transient_error() -> None:
    """Where DynamoDB processes none of the keys of a call, the call is not repeated for ever."""
    dynamodb = boto3.client("dynamodb")
    requests = []

    def unprocessed(params: dict[str, Any], **_: object) -> Any:  # noqa: ANN401 - botocore's hook
        requests.append(json.loads(params["body"])["RequestItems"])
        return SimpleNamespace(status_code=200), {"Responses": {TABLE: []}, "UnprocessedKeys": requests[-1]}

    dynamodb.meta.events.register("before-call.dynamodb.BatchGetItem", unprocessed)
    keys = [IdempotencyKey("registered", f"import-ami-{number:08}") for number in range(3)]
    with pytest.raises(TransientError, match="none of 3 records"):
        IdempotencyStore(dynamodb, TABLE).get_completed(keys)
    assert len(requests) == 1


def test_a_missing_table_is_an_error(local_aws_mode: str) -> None:
    """Without its table the store neither claims nor reads; the error names the reason."""
    assert local_aws_mode
    with pytest.raises(PermanentError, match="ResourceNotFoundException"):
        run_once(new_store(), KEY, "arn")
    with pytest.raises(PermanentError, match="ResourceNotFoundException"):
        new_store().get_completed([KEY])


def test_a_completed_operation_can_be_released(store: IdempotencyStore) -> None:
    """A record is deleted only where it has the result that is released."""
    run_once(store, KEY, "arn")
    store.release(KEY, "other")
    assert store.get_completed([KEY]) == {KEY: "arn"}
    store.release(KEY, "arn")
    store.release(KEY, "arn")
    assert run_once(store, KEY, "again") is None


@pytest.mark.parametrize(
    "item",
    [
        {"data": {"S": "?"}},
        {"data": {"S": "7"}},
        {"data": {"N": "7"}},
        {"data": None},
        {"data": {"S": '"?"'}},
        {"data": {"S": '"{\\"arn\\": \\"\\", \\"ami_id\\": \\"ami\\"}"'}},
        {"status": {"S": "DONE"}},
        {"status": None},
        {"expiration": None},
    ],
    ids=json.dumps,
)
def test_an_unreadable_record_is_an_error_of_its_task(store: IdempotencyStore, item: dict[str, Any]) -> None:
    """A record that Powertools or the function cannot read is an error that names its task and its item."""
    other = RegistrationId("import-ami-00000001")
    for id_ in (RegistrationId(TASK_ID), other):
        run_once(store, id_.key, Registration("arn", "ami").to_json())
    boto = client("dynamodb")
    (record,) = boto.scan(
        TableName=TABLE, FilterExpression="id = :id", ExpressionAttributeValues={":id": {"S": KEY.record_id}}
    )["Items"]
    changed = {key: value for key, value in {**record, **item}.items() if value is not None}
    boto.put_item(TableName=TABLE, Item=changed)
    found = store.get_registrations([TASK_ID, other.import_task_id])
    assert [*found.unreadable] == [TASK_ID]
    assert found.by_task == {TASK_ID: {}, other.import_task_id: {0: Registration("arn", "ami")}}
    for part in (TASK_ID, KEY.record_id, "delete"):
        assert part in str(found.unreadable[TASK_ID])
    with pytest.raises(InvalidRecordError, match=KEY.record_id), store.claim(KEY, invocation()) as claim:
        parse_registration(RegistrationId(TASK_ID), str(claim.completed))


def test_fifty_registrations_are_three_reads(store: IdempotencyStore) -> None:
    """All registrations of a task are read in three calls, and no more than fifty are read."""
    for number in range(55):
        run_once(store, RegistrationId(TASK_ID, number).key, Registration(f"arn/{number}", "ami").to_json())
    dynamodb, calls = boto3.client("dynamodb"), []
    dynamodb.meta.events.register("before-call.dynamodb.BatchGetItem", lambda **_: calls.append(1))
    found = IdempotencyStore(dynamodb, TABLE).get_registrations([TASK_ID]).by_task[TASK_ID]
    assert sorted(found) == [*range(50)]
    assert len(calls) == 3
