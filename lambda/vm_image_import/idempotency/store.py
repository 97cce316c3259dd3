"""The DynamoDB table of Powertools Idempotency: each operation is done once, whatever is retried or runs at once."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyInvalidStatusError,
    IdempotencyItemAlreadyExistsError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import STATUS_CONSTANTS, DataRecord

from vm_image_import.aws import translate_errors
from vm_image_import.errors import InProgressError, InvalidRecordError, TransientError
from vm_image_import.idempotency.records import (
    MAX_REGISTRATIONS,
    IdempotencyKey,
    Registration,
    RegistrationId,
    invalid_record,
    parse_registration,
)
from vm_image_import.models import Invocation

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_EXPIRES_AFTER_SECONDS: Final = 60 * 24 * 60 * 60
"""60 days: EC2 lists a task for 7 days after its end; the rest is for looking things up."""
_BATCH_SIZE: Final = 100
"""The most keys of one BatchGetItem (API reference)."""
_CONFIG: Final = IdempotencyConfig(expires_after_seconds=_EXPIRES_AFTER_SECONDS)
_COMPLETED: Final = STATUS_CONSTANTS["COMPLETED"]
_IN_PROGRESS: Final = STATUS_CONSTANTS["INPROGRESS"]


@dataclass(slots=True)
class Claim:
    """The right of one invocation to perform an operation, or the result of an earlier one."""

    completed: str | None = None
    """The recorded result; None where the operation is still to be performed."""
    result: str | None = None
    """The result of this invocation, once there is one."""

    def complete(self, result: str) -> None:
        """Record the result when the block of `IdempotencyStore.claim` ends."""
        self.result = result


class Registrations(NamedTuple):
    """The registrations of some tasks, by task and number, and the tasks that have an unreadable record."""

    by_task: Mapping[str, Mapping[int, Registration]]
    unreadable: Mapping[str, InvalidRecordError]


class IdempotencyStore:
    """The records of what was done."""

    def __init__(self, client: "DynamoDBClient", table_name: str) -> None:
        self._client = client
        self._table_name = table_name
        self._layer = _PersistenceLayer(table_name, boto3_client=client)
        self._layer.configure(_CONFIG)

    @contextmanager
    def claim(self, key: IdempotencyKey, invocation: Invocation) -> Iterator[Claim]:
        """Claim an operation: for the length of the block, no other invocation performs it.

        Where the block completes the claim, its result is recorded. Where it does not, or raises an error, the claim is
        released and the next invocation may perform the operation. The claim of an invocation that Lambda ends in the
        middle expires when that invocation would have timed out.

        Raises InProgressError while another invocation has the claim, InvalidRecordError where the record cannot be
        read, and TransientError or PermanentError where DynamoDB does not take the claim.
        """
        # The layer holds the kind, and other operations may be claimed inside the block. It is copied, because each new
        # one adds a hook to the client.
        layer, data = copy(self._layer), {"subject": key.subject}
        layer.configure(_CONFIG, key_prefix=key.kind)
        try:
            with translate_errors():
                layer.save_inprogress(data, invocation.remaining_ms())
        except IdempotencyItemAlreadyExistsError as error:
            yield Claim(completed=self._completed_result(key, error.old_data_record))
            return
        except (KeyError, TypeError, ValueError, IdempotencyInvalidStatusError) as error:
            raise invalid_record(key, error) from error
        claim = Claim()
        try:
            yield claim
        except Exception as error:
            with translate_errors():
                layer.delete_record(data, error)
            raise
        with translate_errors():
            if claim.result is None:
                layer.delete_record(data, InProgressError())
            else:
                layer.save_success(data, cast("Any", claim.result))

    def release(self, key: IdempotencyKey, result: str) -> None:
        """Delete the record of a completed operation, if it still has this result.

        Raises TransientError or PermanentError.
        """
        with translate_errors(), suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._client.delete_item(
                TableName=self._table_name,
                Key={"id": {"S": key.record_id}},
                ConditionExpression="#data = :data",
                ExpressionAttributeNames={"#data": self._layer.data_attr},
                ExpressionAttributeValues={":data": {"S": json.dumps(result)}},
            )

    def get_completed(self, keys: Iterable[IdempotencyKey]) -> dict[IdempotencyKey, str]:
        """Return the recorded results of those operations that are completed; it takes one call for 100 keys.

        A record that cannot be read is not completed. Raises TransientError or PermanentError.
        """
        completed = {}
        for key, item in self._get_items(keys):
            with suppress(InvalidRecordError):
                if (result := self._result(key, item)) is not None:
                    completed[key] = result
        return completed

    def get_registrations(self, import_task_ids: Collection[str]) -> Registrations:
        """Return the registrations of each task; most tasks have one or none.

        Raises TransientError or PermanentError.
        """
        by_task: dict[str, dict[int, Registration]] = {task_id: {} for task_id in import_task_ids}
        unreadable: dict[str, InvalidRecordError] = {}
        remaining = [*by_task]
        # Nearly all tasks have no second registration, and those with a third one are rare.
        for numbers in (range(1), range(1, 2), range(2, MAX_REGISTRATIONS)):
            ids = [RegistrationId(task_id, number) for task_id in remaining for number in numbers]
            by_key = {id_.key: id_ for id_ in ids}
            for key, item in self._get_items(by_key):
                task_id, number = by_key[key]
                try:
                    result = self._result(key, item)
                    if result is not None:
                        by_task[task_id][number] = parse_registration(by_key[key], result)
                except InvalidRecordError as error:
                    unreadable[task_id] = error
            remaining = [task_id for task_id in remaining if numbers[-1] in by_task[task_id]]
        return Registrations(by_task, unreadable)

    def _get_items(self, keys: Iterable[IdempotencyKey]) -> Iterator[tuple[IdempotencyKey, Mapping[str, Any]]]:
        by_id = {key.record_id: key for key in keys}
        ids = [*by_id]
        while ids:
            batch, ids = ids[:_BATCH_SIZE], ids[_BATCH_SIZE:]
            with translate_errors():
                answer = self._client.batch_get_item(
                    RequestItems={
                        self._table_name: {"Keys": [{"id": {"S": id_}} for id_ in batch], "ConsistentRead": True}
                    }
                )
            for item in answer["Responses"][self._table_name]:
                yield by_id[item["id"]["S"]], item
            unprocessed = cast("Any", answer["UnprocessedKeys"]).get(self._table_name, {}).get("Keys", [])
            if len(unprocessed) == len(batch):
                throttled = f"DynamoDB returned none of {len(batch)} records. Try again later."
                raise TransientError(throttled)
            ids += [key["id"]["S"] for key in unprocessed]

    def _result(self, key: IdempotencyKey, item: Mapping[str, Any]) -> str | None:
        """Return the result in an item of the table; None where the operation is in progress."""
        try:
            return self._completed_result(key, self._layer.to_record(item))
        except (KeyError, TypeError, ValueError) as error:
            raise invalid_record(key, error) from error
        except InProgressError:
            return None

    def _completed_result(self, key: IdempotencyKey, record: DataRecord | None) -> str:
        """Return the result of a record. Raises InProgressError where it has none, and InvalidRecordError."""
        try:
            if record is None or record.status != _COMPLETED:
                message = f"Another invocation is processing {key.subject}."
                raise InProgressError(message)
            result = json.loads(record.response_data)
        except (IdempotencyInvalidStatusError, TypeError, ValueError) as error:
            raise invalid_record(key, error) from error
        if not isinstance(result, str):
            raise invalid_record(key, "it is no text")
        return result


class _PersistenceLayer(DynamoDBPersistenceLayer):
    """Powertools' layer, which deletes only the record that this very claim put."""

    _in_progress_expiry: int | None = None

    def to_record(self, item: Mapping[str, Any]) -> DataRecord:
        """Return the record in an item of the table. Raises KeyError, TypeError or ValueError."""
        return self._item_to_data_record({**item})

    def _put_record(self, data_record: DataRecord) -> None:
        super()._put_record(data_record)
        self._in_progress_expiry = data_record.in_progress_expiry_timestamp

    def _delete_record(self, data_record: DataRecord) -> None:
        # botocore repeats a deletion whose answer is lost. Without a condition, the repeat would delete the record that
        # another invocation put meanwhile.
        with suppress(self.client.exceptions.ConditionalCheckFailedException):
            self.client.delete_item(
                TableName=self.table_name,
                Key=self._get_key(data_record.idempotency_key),
                ConditionExpression="#status = :status AND #expiry = :expiry",
                ExpressionAttributeNames={"#status": self.status_attr, "#expiry": self.in_progress_expiry_attr},
                ExpressionAttributeValues={
                    ":status": {"S": _IN_PROGRESS},
                    ":expiry": {"N": str(self._in_progress_expiry)},
                },
            )
