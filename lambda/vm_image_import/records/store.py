"""The idempotency table: each import is registered once, and each step is done once, whatever runs at the same time.

An item has the record of one registration, of the sweeps, or of retention. `owner` is a random token of the invocation
that claimed the item last, and `claimed_until` the end of its claim. Every write of a record has the owner as its
condition. Other items are keys with a value, such as a version and the registration that has it.
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from uuid import uuid4

from botocore.exceptions import ClientError

from vm_image_import.aws.session import member, translate_errors
from vm_image_import.deadline import Deadline
from vm_image_import.domain.errors import InProgressError, PermanentError, TransientError
from vm_image_import.records.registration import Record, parse_record, unreadable
from vm_image_import.report.log import logger

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_dynamodb.type_defs import AttributeValueTypeDef, QueryInputTypeDef, UpdateItemInputTypeDef

OPEN_INDEX: Final = "open"
"""The sparse index of the items with the attribute `open`, which is also its key."""
_OPEN: Final["AttributeValueTypeDef"] = {"S": "yes"}
EXPIRES_AFTER: Final = timedelta(days=60)
"""EC2 lists a task for 7 days after its end, and steps end after 7 days. The rest is for looking things up."""
_BATCH_SIZE: Final = 100
"""The most keys of one BatchGetItem (API reference)."""
_CONDITION_FAILED: Final = "ConditionalCheckFailedException"


class Taken(NamedTuple):
    """A key under which a value was to be recorded."""

    value: str
    """The value that the key has now; empty where it was given back meanwhile."""
    before: str
    """The value that it had before; empty where it had none."""


class Claim:
    """The right of one invocation to change a record."""

    def __init__(self, store: "Store", id_: str, owner: str, record: Record) -> None:
        self._store = store
        self._id = id_
        self._owner = owner
        self.record: Final = record
        """As it was when the claim began."""
        self.saved = False

    def save(self, record: Record, *, is_open: bool = False) -> None:
        """Replace the record, and end the claim. `is_open` says whether steps of its registration are left.

        Raises TransientError or PermanentError, also where another invocation has claimed the record meanwhile.
        """
        self._store.save(self._id, self._owner, record, is_open=is_open)
        self.saved = True


class Store:
    """The records, by the id of a registration."""

    def __init__(self, client: "DynamoDBClient", table_name: str) -> None:
        self._client = client
        self._table_name = table_name

    @contextmanager
    def claim(self, id_: object, deadline: Deadline) -> Iterator[Claim]:
        """Claim a record: for the length of the block, no other invocation changes it.

        A block that saves no record leaves it as it was. The claim of an invocation that Lambda ends expires when that
        invocation would have timed out.

        Raises InProgressError while another invocation has the claim, and TransientError or PermanentError where
        DynamoDB refuses it.
        """
        key, owner, now = str(id_), str(uuid4()), time.time()
        item = self._update(
            key,
            f"another invocation is processing {key}",
            UpdateExpression="SET #owner = :owner, claimed_until = :until, expiration = :expiration",
            # With the owner, botocore's repetition of an attempt whose answer was lost is no other invocation's.
            ConditionExpression="attribute_not_exists(claimed_until) OR claimed_until < :now OR #owner = :owner",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={
                ":owner": {"S": owner},
                ":until": {"N": str(math.ceil(now * 1000) + deadline.remaining_ms())},
                ":now": {"N": str(int(now * 1000))},
                ":expiration": _expiration(now),
            },
            ReturnValues="ALL_NEW",
        )
        claim = Claim(self, key, owner, _record(key, item))
        is_new = "data" not in item and "reported" not in item
        try:
            yield claim
        except Exception:
            if not claim.saved:
                self._release(key, owner, is_new=is_new)
            raise
        if not claim.saved:
            self._release(key, owner, is_new=is_new)

    def save(self, id_: str, owner: str, record: Record, *, is_open: bool) -> None:
        """Replace a record and end its claim, as `Claim.save` does."""
        sets = ["reported = :reported", "expiration = :expiration"]
        removes = ["claimed_until"]
        names = {"#owner": "owner"}
        values: dict[str, AttributeValueTypeDef] = {
            ":owner": {"S": owner},
            ":reported": {"S": record.reported},
            ":expiration": _expiration(time.time()),
        }
        # What cannot be read is left as it is, for the operator.
        if not record.unreadable:
            sets.append("#data = :data")
            names |= {"#data": "data", "#open": "open"}
            values[":data"] = {"S": record.to_json()}
            (sets if is_open else removes).append("#open = :open" if is_open else "#open")
        if is_open:
            values[":open"] = _OPEN
        try:
            self._update(
                id_,
                f"another invocation has claimed {id_}",
                UpdateExpression=f"SET {', '.join(sets)} REMOVE {', '.join(removes)}",
                ConditionExpression="#owner = :owner",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
            )
        except InProgressError as error:
            raise TransientError(str(error)) from error

    def read(self, ids: Iterable[object], *, consistent: bool = True) -> dict[str, Record]:
        """Return the records that exist; it is one call for 100 ids. Raises TransientError or PermanentError.

        A read that is not consistent costs half, and may miss what was written in the last moments.
        """
        items = self._get_items(map(str, ids), consistent=consistent)
        return {item["id"]["S"]: _record(item["id"]["S"], item) for item in items}

    def list_open(self) -> Iterator[str]:
        """Yield the ids of the registrations that have steps left. Raises TransientError or PermanentError."""
        request: QueryInputTypeDef = {
            "TableName": self._table_name,
            "IndexName": OPEN_INDEX,
            "KeyConditionExpression": "#open = :open",
            "ExpressionAttributeNames": {"#open": "open"},
            "ExpressionAttributeValues": {":open": _OPEN},
        }
        while True:
            with translate_errors():
                answer = self._client.query(**request)
            for item in member(answer, "Items"):
                yield item["id"]["S"]
            if not answer.get("LastEvaluatedKey"):
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def take(self, key: str, value: str, instead_of: str = "") -> Taken:
        """Record `value` under a key without a value, or with the value `instead_of`. Return what the key has.

        Where the answer to a first attempt was lost, the key had the value before. Raises TransientError or
        PermanentError.
        """
        update: Mapping[str, Any] = {
            "UpdateExpression": "SET #data = :value, expiration = :expiration",
            "ConditionExpression": "attribute_not_exists(id) OR #data = :value OR #data = :before",
            "ExpressionAttributeNames": {"#data": "data"},
            "ExpressionAttributeValues": {
                ":value": {"S": value},
                ":before": {"S": instead_of or value},
                ":expiration": _expiration(time.time()),
            },
            "ReturnValues": "ALL_OLD",
        }
        try:
            item = self._update(key, f"{key} is taken", **update)
        except InProgressError:
            present = self.read_values([key]).get(key, "")
            return Taken(present, present)
        return Taken(value, _value(key, item) if item else "")

    def read_values(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the values of those keys that are taken.

        Raises InvalidRecordError where a value is no text, TransientError or PermanentError.
        """
        return {(key := item["id"]["S"]): _value(key, item) for item in self._get_items(keys)}

    def give_back(self, key: str, value: str) -> None:
        """Delete a key that has this value. Raises TransientError or PermanentError."""
        self._delete(key, "#data = :value", {"#data": "data"}, {":value": {"S": value}})

    def _release(self, key: str, owner: str, *, is_new: bool) -> None:
        """End a claim. An item that the claim has made is deleted. A claim that cannot be released expires."""
        # A save whose answer was lost has ended the claim: its record stays.
        condition, names = "#owner = :owner AND attribute_exists(claimed_until)", {"#owner": "owner"}
        values: dict[str, AttributeValueTypeDef] = {":owner": {"S": owner}}
        update: Mapping[str, Any] = {
            "UpdateExpression": "REMOVE claimed_until",
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }
        try:
            if is_new:
                self._delete(key, condition, names, values)
            else:
                self._update(key, f"the claim of {key} has ended", **update)
        except InProgressError:
            # It had ended already.
            return
        except (PermanentError, TransientError) as error:
            # What the block did, or why it failed, is what its caller needs.
            logger.warning("The claim was not released", record=key, reason=str(error))

    def _update(self, key: str, conflict: str, **update: Any) -> Mapping[str, Any]:  # noqa: ANN401 - any parameter
        """Update an item and return its attributes. Raises InProgressError where the condition fails."""
        request = cast("UpdateItemInputTypeDef", {"TableName": self._table_name, "Key": {"id": {"S": key}}, **update})
        with translate_errors():
            try:
                return self._client.update_item(**request).get("Attributes", {})
            except ClientError as error:
                if error.response["Error"]["Code"] != _CONDITION_FAILED:
                    raise
        raise InProgressError(conflict)

    def _delete(
        self, key: str, condition: str, names: Mapping[str, str], values: Mapping[str, "AttributeValueTypeDef"]
    ) -> None:
        """Delete an item where the condition is met."""
        with translate_errors():
            try:
                self._client.delete_item(
                    TableName=self._table_name,
                    Key={"id": {"S": key}},
                    ConditionExpression=condition,
                    ExpressionAttributeNames=names,
                    ExpressionAttributeValues=values,
                )
            except ClientError as error:
                if error.response["Error"]["Code"] != _CONDITION_FAILED:
                    raise

    def _get_items(self, ids: Iterable[str], *, consistent: bool = True) -> Iterator[Mapping[str, Any]]:
        left = [*dict.fromkeys(ids)]
        while left:
            batch, left = left[:_BATCH_SIZE], left[_BATCH_SIZE:]
            with translate_errors():
                keys = [{"id": {"S": id_}} for id_ in batch]
                answer = self._client.batch_get_item(
                    RequestItems={self._table_name: {"Keys": keys, "ConsistentRead": consistent}}
                )
            yield from member(answer, "Responses").get(self._table_name, ())
            unprocessed = cast("Any", answer).get("UnprocessedKeys", {}).get(self._table_name, {}).get("Keys", [])
            if len(unprocessed) == len(batch):
                throttled = f"DynamoDB returned none of {len(batch)} records. Try again later."
                raise TransientError(throttled)
            left += [key["id"]["S"] for key in unprocessed]


def _record(id_: str, item: Mapping[str, Any]) -> Record:
    # Of whatever type it is: what is no text cannot be read.
    data = next(iter(item.get("data", {}).values()), None)
    return parse_record(id_, data, item.get("reported", {}).get("S", ""))


def _value(key: str, item: Mapping[str, Any]) -> str:
    """Return the value of a key. Raises InvalidRecordError where it is no text: another hand wrote it."""
    value = item.get("data", {}).get("S")
    if not isinstance(value, str):
        raise unreadable(key, "its data is no text")
    return value


def _expiration(now: float) -> "AttributeValueTypeDef":
    return {"N": str(int(now + EXPIRES_AFTER.total_seconds()))}
