"""The store on the local DynamoDB, with real boto3."""

import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError

from infra.idempotency_table import OPEN_INDEX
from tests.conftest import client
from vm_image_import.aws.session import CONFIG
from vm_image_import.deadline import Deadline
from vm_image_import.domain.errors import InProgressError, InvalidRecordError, PermanentError, TransientError
from vm_image_import.domain.models import Disk, ImportTask
from vm_image_import.records.registration import Record, Registration, RegistrationId, Unverified
from vm_image_import.records.store import Store, Taken

TABLE = "idempotency"
TASK_ID = "import-ami-fg4d51t0"
OTHER_ID = "import-ami-00000001"
DAY = 24 * 60 * 60
NOW: Final = datetime(2026, 11, 23, 10, 15, tzinfo=UTC)
REGISTRATION: Final = Registration(
    "arn:aws:imagebuilder:us-east-1:123456789012:image/web/1.4.2/1",
    "ami-0abcdef1234567890",
    NOW,
    ImportTask(
        TASK_ID, platform="Linux", disks=(Disk("exports", "web-1.4.2.ova", None, "/dev/sda1"),), tags={"é": "ü"}
    ),
    {"name": "file name"},
    adopted=True,
    request_id="r",
    results={"follow": "AVAILABLE", "tag": ""},
    unverified={"parameter": Unverified("ami-0abcdef1234567890", NOW, "ami-0fedcba9876543210")},
    problems={"tag": "UnauthorizedOperation"},
)
RECORD: Final = Record(REGISTRATION, "REJECTED tag Version", {"active": NOW})
ATTEMPTS: Final = 3
"""Of each call (`CONFIG`)."""
Break = Callable[..., None]


@pytest.fixture
def store(local_aws_mode: str) -> Store:
    """Give an empty store."""
    assert local_aws_mode
    create_table()
    return new_store()


@pytest.fixture
def server_store(endpoint_url: str) -> Store:
    """Give an empty store whose requests go over HTTP."""
    assert endpoint_url
    create_table()
    return new_store()


def create_table() -> None:
    """Create the table as the stack does."""
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


def new_store(event: str = "", hook: Callable[..., object] | None = None) -> Store:
    """Return the same store in another execution environment, whose requests a hook of botocore may change."""
    dynamodb = boto3.client("dynamodb", config=CONFIG)
    if hook:
        dynamodb.meta.events.register(event, hook)
    return Store(dynamodb, TABLE)


def deadline(remaining_ms: int = 60_000) -> Deadline:
    """Return a deadline with this remaining time."""
    return Deadline(lambda: remaining_ms)


def save(store: Store, record: Record = RECORD, id_: object = TASK_ID, *, is_open: bool = False) -> Record:
    """Save a record, and return the one before."""
    with store.claim(id_, deadline()) as claim:
        claim.save(record, is_open=is_open)
        return claim.record


def items() -> list[dict[str, Any]]:
    """Return all items."""
    found: list[dict[str, Any]] = client("dynamodb").scan(TableName=TABLE)["Items"]
    return found


def losing(operation: str) -> tuple[Store, list[str]]:
    """Return a store that gets no answer to the first request of an operation, and the operations that it sends."""
    store = new_store()
    return store, lose(store, operation, times=1)


def lose(store: Store, operation: str, times: int) -> list[str]:
    """Lose so many answers to an operation from now on, and return the list of the operations that are sent."""
    dynamodb = store._client  # noqa: SLF001 - DynamoDB gets the request
    sent: list[str] = []

    def send(request: Any, **_: object) -> None:  # noqa: ANN401 - botocore's hook
        sent.append(operation)
        if len(sent) <= times:
            dynamodb._endpoint.http_session.send(request)  # type: ignore[attr-defined]  # noqa: SLF001 - as above
            raise ReadTimeoutError(endpoint_url=request.url)

    dynamodb.meta.events.register(f"before-send.dynamodb.{operation}", send)
    return sent


def test_a_record_is_read_as_it_was_saved(store: Store) -> None:
    """Every part of a record is read again, in the claim and without one, also in another execution environment."""
    assert save(store) == Record()
    assert save(new_store()) == RECORD
    assert new_store().read([TASK_ID, OTHER_ID]) == {TASK_ID: RECORD}


def test_every_registration_of_a_task_has_its_record(store: Store) -> None:
    """Each registration of a task is one item, whose id is the text of the registration's id."""
    ids = [RegistrationId(TASK_ID, number) for number in range(3)]
    for id_ in ids:
        save(store, Record(REGISTRATION._replace(request_id=str(id_))), id_)
    assert {item["id"]["S"] for item in items()} == {TASK_ID, f"{TASK_ID} 1", f"{TASK_ID} 2"}
    found = {RegistrationId.parse(id_): record.registration for id_, record in store.read(ids).items()}
    assert {id_: registration and registration.request_id for id_, registration in found.items()} == {
        id_: str(id_) for id_ in ids
    }


def test_two_invocations_at_once_are_one(store: Store) -> None:
    """While one invocation has the claim of a record, another one gets InProgressError; other records are free."""
    with store.claim(TASK_ID, deadline()) as claim:
        with pytest.raises(InProgressError, match=TASK_ID), new_store().claim(TASK_ID, deadline()):
            pass
        save(new_store(), id_=OTHER_ID)
        claim.save(RECORD)
    assert save(new_store()) == RECORD


def test_of_many_claims_at_once_one_is_made(server_store: Store) -> None:
    """Of four invocations that claim a record at the same moment, one has the claim, in each of 25 rounds."""
    stores = [server_store, *(new_store() for _ in range(3))]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(stores)) as pool:
            for number in range(25):
                ended = threading.Barrier(len(stores), timeout=60)

                def claim(store: Store, id_: str = f"import-ami-{number:08}", ended: threading.Barrier = ended) -> bool:
                    with suppress(InProgressError), store.claim(id_, deadline()):
                        ended.wait()
                        return True
                    ended.wait()
                    return False

                assert sum(pool.map(claim, stores)) == 1
    finally:
        sys.setswitchinterval(interval)


def test_a_saved_claim_has_ended(store: Store) -> None:
    """Another invocation can claim a record as soon as it is saved, before the block of the first one ends."""
    with store.claim(TASK_ID, deadline()) as claim:
        claim.save(RECORD)
        assert save(new_store(), Record(reported="later")) == RECORD
    assert store.read([TASK_ID]) == {TASK_ID: Record(reported="later")}


@pytest.mark.parametrize("error", [None, PermanentError("x")], ids=["nothing is saved", "error"])
def test_a_claim_that_saves_nothing_leaves_no_trace(store: Store, error: Exception | None) -> None:
    """A block that saves no record, or raises an error, leaves no item, or the record as it was; both are free."""
    save(store, id_=OTHER_ID, is_open=True)
    before = items()
    for id_ in (TASK_ID, OTHER_ID):
        with suppress(PermanentError), store.claim(id_, deadline()):
            if error:
                raise error
        with new_store().claim(id_, deadline()):
            pass
    assert [{**item, "owner": "", "expiration": ""} for item in items()] == [
        {**item, "owner": "", "expiration": ""} for item in before
    ]
    assert [*store.list_open()] == [OTHER_ID]


def test_an_error_after_the_record_keeps_it(store: Store) -> None:
    """An error that follows in the block does not undo the record."""
    with suppress(PermanentError), store.claim(TASK_ID, deadline()) as claim:
        claim.save(RECORD)
        raise PermanentError(TASK_ID)
    assert store.read([TASK_ID]) == {TASK_ID: RECORD}


def test_the_claim_of_an_ended_invocation_expires(store: Store) -> None:
    """The claim of an invocation that Lambda ends is free from the time at which that invocation would time out."""
    for remaining_ms, free in ((60_000, False), (-1, True)):
        # What Lambda does cannot be caught.
        with suppress(KeyboardInterrupt), store.claim(remaining_ms, deadline(remaining_ms)):
            raise KeyboardInterrupt
        if free:
            assert save(new_store(), id_=remaining_ms) == Record()
        else:
            with pytest.raises(InProgressError):
                save(new_store(), id_=remaining_ms)


@pytest.mark.parametrize("recorded", [Record(), RECORD], ids=["new", "recorded"])
@pytest.mark.parametrize("saves", [False, True])
def test_an_expired_claim_changes_nothing(store: Store, recorded: Record, saves: bool) -> None:  # noqa: FBT001 - a case
    """An invocation whose claim has expired and was taken over changes neither the record nor the claim."""
    if recorded.registration:
        save(store, recorded)
    later = RECORD._replace(reported="later")
    with new_store().claim(TASK_ID, deadline(-1)) as expired, store.claim(TASK_ID, deadline()) as claim:
        if saves:
            with pytest.raises(TransientError, match=TASK_ID):
                expired.save(Record(reported="expired"))
        else:
            expired._store._release(TASK_ID, expired._owner, is_new=not recorded.registration)  # noqa: SLF001 - as at its end
        with pytest.raises(InProgressError):
            save(new_store())
        claim.save(later)
    assert store.read([TASK_ID]) == {TASK_ID: later}


def test_a_lost_answer_of_a_claim_does_not_lock_out(server_store: Store) -> None:
    """Where DynamoDB's answer to a claim is lost, botocore's second attempt gets the claim."""
    assert server_store.read([]) == {}
    store, sent = losing("UpdateItem")
    with store.claim(TASK_ID, deadline()) as claim:
        assert len(sent) == 2
        claim.save(RECORD)
    assert new_store().read([TASK_ID]) == {TASK_ID: RECORD}


def test_a_lost_answer_of_a_save_is_no_error(server_store: Store) -> None:
    """Where DynamoDB's answer to a save is lost, the second attempt saves the record again, and its claim has ended."""
    with server_store.claim(TASK_ID, deadline()) as claim:
        store, sent = losing("UpdateItem")
        store.save(TASK_ID, claim._owner, RECORD, is_open=True)  # noqa: SLF001 - the claim of this invocation
        claim.saved = True
    assert len(sent) == 2
    assert [*server_store.list_open()] == [TASK_ID]
    assert save(server_store) == RECORD


def test_a_lost_answer_of_a_release_is_no_error(server_store: Store) -> None:
    """Where DynamoDB's answer to the deletion of a new item is lost, the claim ends without an error."""
    assert server_store.read([]) == {}
    store, sent = losing("DeleteItem")
    with store.claim(TASK_ID, deadline()):
        pass
    assert len(sent) == 2
    assert items() == []


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_a_save_without_any_answer_is_kept(server_store: Store, known: bool) -> None:  # noqa: FBT001 - a case
    """Where no attempt to save a record gets an answer, it is an error, and the record stays as it was saved."""
    if known:
        save(server_store, Record(reported="REJECTED tag Version"))
    with pytest.raises(TransientError), server_store.claim(TASK_ID, deadline()) as claim:  # noqa: PT012 - the claim is no part
        sent = lose(server_store, "UpdateItem", times=ATTEMPTS)
        claim.save(RECORD, is_open=True)
    assert len(sent) == ATTEMPTS + known
    assert new_store().read([TASK_ID]) == {TASK_ID: RECORD}
    assert [*new_store().list_open()] == [TASK_ID]


@pytest.mark.parametrize(("known", "operation"), [(False, "DeleteItem"), (True, "UpdateItem")])
def test_a_release_without_any_answer_hides_nothing(server_store: Store, known: bool, operation: str) -> None:  # noqa: FBT001 - a case
    """Where no attempt to release a claim gets an answer, the block ends as it would have."""
    if known:
        save(server_store)
    with server_store.claim(TASK_ID, deadline()):
        sent = lose(server_store, operation, times=ATTEMPTS)
    assert len(sent) == ATTEMPTS
    denied = PermanentError("denied")
    store = new_store()
    with pytest.raises(PermanentError, match="denied"), store.claim(TASK_ID, deadline()):  # noqa: PT012 - the release matters
        lose(store, operation, times=ATTEMPTS)
        raise denied
    assert new_store().read([TASK_ID]) == ({TASK_ID: RECORD} if known else {})


def test_a_lost_answer_of_a_version_is_no_error(server_store: Store) -> None:
    """Where DynamoDB's answer to a claimed version is lost, the second attempt has the version."""
    store, sent = losing("UpdateItem")
    assert store.take("version web/1.0.0", TASK_ID).value == TASK_ID
    assert len(sent) == 2
    assert server_store.take("version web/1.0.0", OTHER_ID) == Taken(TASK_ID, TASK_ID)


@pytest.mark.parametrize("instead_of", [TASK_ID, TASK_ID.upper(), ""])
def test_a_value_is_replaced_by_one_invocation(store: Store, instead_of: str) -> None:
    """A key keeps its value unless the value is the one to be replaced, and the first of two replacements counts."""
    key = "version web/1.0.0"
    assert store.take(key, TASK_ID, instead_of=OTHER_ID) == Taken(TASK_ID, "")
    expected = OTHER_ID if instead_of == TASK_ID else TASK_ID
    taken = [new_store().take(key, value, instead_of) for value in (OTHER_ID, "import-ami-2")]
    assert taken == [Taken(expected, TASK_ID), Taken(expected, expected)]
    assert store.read_values([key]) == {key: expected}


def test_a_lost_answer_of_a_replaced_value_is_no_error(server_store: Store) -> None:
    """Where DynamoDB's answer to a replacement is lost, the second attempt has the value."""
    server_store.take("version web/1.0.0", OTHER_ID)
    store, sent = losing("UpdateItem")
    assert store.take("version web/1.0.0", TASK_ID, instead_of=OTHER_ID).value == TASK_ID
    assert len(sent) == 2


def test_records_outlive_the_tasks(store: Store) -> None:
    """Records and versions are kept for 60 days after their last change; EC2 lists a task for 7 days after its end."""
    save(store)
    with store.claim(OTHER_ID, deadline()):
        store.take("version web/1.0.0", TASK_ID)
        found = [int(item["expiration"]["N"]) for item in items()]
    assert len(found) == 3
    assert all(59 * DAY < expiration - time.time() < 61 * DAY for expiration in found)


def test_a_hundred_records_cost_one_read(store: Store) -> None:
    """The records of 250 ids are read with three calls, and those of no id with none."""
    calls: list[int] = []
    ids = [RegistrationId(f"import-ami-{number:08}") for number in range(250)]
    for id_ in ids[::10]:
        save(store, id_=id_)
    counting = new_store("before-call.dynamodb.BatchGetItem", lambda **_: calls.append(1))
    assert counting.read(ids) == {str(id_): RECORD for id_ in ids[::10]}
    assert len(calls) == 3
    assert counting.read([]) == {}
    assert len(calls) == 3


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("consistent", [True, False])
def test_a_read_is_consistent_or_costs_half(consistent: bool) -> None:  # noqa: FBT001 - a case
    """The request says whether the read is consistent, which is the default of the store and not of DynamoDB."""
    bodies: list[dict[str, Any]] = []
    store = new_store(
        "before-call.dynamodb.BatchGetItem", lambda params, **_: bodies.append(json.loads(params["body"]))
    )
    store.read([TASK_ID], **({} if consistent else {"consistent": False}))
    assert [body["RequestItems"][TABLE]["ConsistentRead"] for body in bodies] == [consistent]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("processed", [0, 2])
def test_what_dynamodb_has_not_processed_is_read_again(processed: int) -> None:
    """Unprocessed keys are read with another call; where no key of a call is processed, it is a transient error."""
    ids = [f"import-ami-{number:08}" for number in range(7)]
    requests: list[int] = []

    def process(params: dict[str, Any], **_: object) -> Any:  # noqa: ANN401 - botocore's hook
        keys = json.loads(params["body"])["RequestItems"][TABLE]["Keys"]
        requests.append(len(keys))
        unprocessed = {TABLE: {"Keys": keys[processed:]}} if keys[processed:] else {}
        answer = {"Responses": {TABLE: keys[:processed]} if processed else {}, "UnprocessedKeys": unprocessed}
        return SimpleNamespace(status_code=200), answer

    reading = new_store("before-call.dynamodb.BatchGetItem", process)
    if processed:
        assert [*reading.read(ids)] == ids
        assert requests == [7, 5, 3, 1]
    else:
        with pytest.raises(TransientError, match="none of 7 records"):
            reading.read(ids)
        assert requests == [7]


def test_open_registrations_are_listed(store: Store) -> None:
    """The ids of the open registrations are listed, over several pages, until a record is saved that is not open."""
    ids = [f"import-ami-{number:08}" for number in range(5)]
    for id_ in ids:
        save(store, id_=id_, is_open=True)
    save(store)
    store.take("version web/1.0.0", TASK_ID)
    calls: list[int] = []

    def limit(params: dict[str, Any], **_: object) -> None:
        calls.append(1)
        params["Limit"] = 2

    paging = new_store("provide-client-params.dynamodb.Query", limit)
    assert sorted(paging.list_open()) == ids
    assert len(calls) == 3
    for id_ in ids[:3]:
        save(store, id_=id_)
    assert sorted(paging.list_open()) == ids[3:]


def test_a_version_is_taken_once(store: Store) -> None:
    """A version belongs to the first registration that takes it, however often and by whom it is asked for."""
    key = "version web/1.0.0"
    assert store.take(key, TASK_ID) == Taken(TASK_ID, before="")
    assert [new_store().take(key, id_) for id_ in (OTHER_ID, TASK_ID)] == [Taken(TASK_ID, before=TASK_ID)] * 2
    assert store.read_values([key, "version web/1.0.1"]) == {key: TASK_ID}


@pytest.mark.parametrize("item", [{"data": {"N": "1"}}, {"data": {"L": []}}, {"note": {"S": "1"}}])
def test_a_version_of_another_hand_is_an_error_that_names_it(store: Store, item: dict[str, Any]) -> None:
    """A version whose value is no text is an error that names its item, whether it is read or claimed."""
    key = "version web/1.0.0"
    client("dynamodb").put_item(TableName=TABLE, Item={"id": {"S": key}, **item})
    for read in (lambda: store.read_values([key]), lambda: store.take(key, TASK_ID)):
        with pytest.raises(InvalidRecordError, match=f"{key}.*delete the item.*The version is then free"):
            read()


def test_only_the_own_version_is_given_back(store: Store) -> None:
    """A version is given back by the registration that has it, and by no other one; a second time changes nothing."""
    key = "version web/1.0.0"
    store.take(key, TASK_ID)
    store.give_back(key, OTHER_ID)
    assert store.take(key, OTHER_ID).value == TASK_ID
    for _ in range(2):
        store.give_back(key, TASK_ID)
    assert items() == []
    assert store.take(key, OTHER_ID) == Taken(OTHER_ID, "")


def test_a_version_that_is_given_back_meanwhile_is_nobodys(store: Store) -> None:
    """Where another registration gives a version back while it is asked for, neither has it."""
    key = "version web/1.0.0"
    store.take(key, OTHER_ID)
    racing = new_store("before-call.dynamodb.BatchGetItem", lambda **_: store.give_back(key, OTHER_ID))
    assert racing.take(key, TASK_ID).value == ""
    assert store.take(key, TASK_ID) == Taken(TASK_ID, "")


OPERATIONS: Final[dict[str, Callable[[Store], object]]] = {
    "UpdateItem": save,
    "BatchGetItem": lambda store: store.read([TASK_ID]),
    "Query": lambda store: [*store.list_open()],
    "DeleteItem": lambda store: store.give_back("version web/1.0.0", TASK_ID),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_missing_table_is_an_error(local_aws_mode: str, operation: str) -> None:
    """Without its table each operation of the store is a permanent error, which names the reason."""
    assert local_aws_mode
    with pytest.raises(PermanentError, match="ResourceNotFoundException"):
        OPERATIONS[operation](new_store())


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "ProvisionedThroughputExceededException"), (400, "ThrottlingException"), (500, "InternalServerError")],
)
def test_throttling_is_transient(operation: str, status: int, code: str) -> None:
    """An operation that DynamoDB throttles, or fails to do, is a transient error."""

    def refuse(**_: object) -> object:
        answer = {"Error": {"Code": code, "Message": "Why."}, "ResponseMetadata": {"HTTPStatusCode": status}}
        return SimpleNamespace(status_code=status), answer

    with pytest.raises(TransientError, match=f"{code}.*Why"):
        OPERATIONS[operation](new_store(f"before-call.dynamodb.{operation}", refuse))


@pytest.mark.parametrize(
    "data",
    [
        *({"S": text} for text in ("", "?", "7", '"?"', "[]", '{"registration": 7}', '{"registration": {}}')),
        {"S": json.dumps({**json.loads(RECORD.to_json()), "registration": {"arn": "", "ami_id": "ami"}})},
        {"S": RECORD.to_json().replace("/1.4.2/1", "/x.x.x")},
        {"S": RECORD.to_json().replace("2026-11-23", "2026-11-31")},
        {"S": RECORD.to_json().replace('"id": ', '"name": ')},
        *({"N": "7"}, {"NULL": True}, {"M": {}}, {"L": []}),
    ],
)
def test_an_unreadable_record_is_an_error_of_its_task(store: Store, data: dict[str, Any]) -> None:
    """A record that the function cannot read is an error that names its item, and other records are read."""
    for id_ in (TASK_ID, OTHER_ID):
        save(store, id_=id_, is_open=True)
    boto = client("dynamodb")
    item = boto.get_item(TableName=TABLE, Key={"id": {"S": TASK_ID}})["Item"]
    boto.put_item(TableName=TABLE, Item={**item, "data": data})
    found = store.read([TASK_ID, OTHER_ID])
    assert found[OTHER_ID] == RECORD
    for record in (found[TASK_ID], save(store, found[TASK_ID]._replace(reported="REJECTED"))):
        with pytest.raises(InvalidRecordError, match=rf"(?s){TASK_ID}.*delete the item"):
            record.readable()
    # What is reported is recorded, and nothing else is changed.
    after = boto.get_item(TableName=TABLE, Key={"id": {"S": TASK_ID}})["Item"]
    assert (after["data"], after["reported"]) == (data, {"S": "REJECTED"})
    assert sorted(store.list_open()) == sorted([TASK_ID, OTHER_ID])
