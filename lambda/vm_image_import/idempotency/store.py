"""The DynamoDB table of Powertools Idempotency: each operation is done once, whatever is retried or runs at once."""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyItemAlreadyExistsError
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import STATUS_CONSTANTS, DataRecord

from vm_image_import.aws import translate_errors
from vm_image_import.errors import InProgressError, TransientError
from vm_image_import.idempotency.records import IdempotencyKey, Registration, RegistrationId
from vm_image_import.models import Invocation

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_EXPIRES_AFTER_SECONDS: Final = 60 * 24 * 60 * 60
"""60 days: EC2 lists a task for 7 days after its end; the rest is for looking things up."""
_BATCH_SIZE: Final = 100
"""The most keys of one BatchGetItem (API reference)."""
_CONFIG: Final = IdempotencyConfig(expires_after_seconds=_EXPIRES_AFTER_SECONDS)


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

        Raises InProgressError while another invocation has the claim, and TransientError or PermanentError where
        DynamoDB does not take it.
        """
        # The layer holds the kind, and other operations may be claimed inside the block. It is copied, because each new
        # one adds a hook to the client.
        layer, data = copy(self._layer), {"subject": key.subject}
        layer.configure(_CONFIG, key_prefix=key.kind)
        try:
            with translate_errors():
                layer.save_inprogress(data, invocation.remaining_ms())
        except IdempotencyItemAlreadyExistsError as error:
            record = error.old_data_record
            if record is None or record.status != STATUS_CONSTANTS["COMPLETED"]:
                message = f"Another invocation is processing {key.subject}."
                raise InProgressError(message) from error
            yield Claim(completed=json.loads(record.response_data))
            return
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

    def get_completed(self, keys: Iterable[IdempotencyKey]) -> dict[IdempotencyKey, str]:
        """Return the recorded results of those operations that are completed; it takes one call for 100 keys.

        Raises TransientError or PermanentError.
        """
        by_id = {_record_id(key): key for key in keys}
        return {
            by_id[item["id"]["S"]]: json.loads(item["data"]["S"])
            for item in self._get_items(list(by_id))
            if item["status"]["S"] == STATUS_CONSTANTS["COMPLETED"]
        }

    def get_registrations(self, import_task_ids: Collection[str]) -> dict[str, list[Registration]]:
        """Return the registrations of each task, by number; most tasks have one or none.

        Raises TransientError or PermanentError.
        """
        found: dict[str, list[Registration]] = {task_id: [] for task_id in import_task_ids}
        remaining = [*found]
        number = 0
        while remaining:
            keys = {
                IdempotencyKey("registered", str(RegistrationId(task_id, number))): task_id for task_id in remaining
            }
            records = self.get_completed(keys)
            for key, record in records.items():
                found[keys[key]].append(Registration.from_json(record))
            remaining = [keys[key] for key in records]
            number += 1
        return found

    def _get_items(self, ids: list[str]) -> Iterator[Mapping[str, Any]]:
        while ids:
            batch, ids = ids[:_BATCH_SIZE], ids[_BATCH_SIZE:]
            with translate_errors():
                answer = self._client.batch_get_item(
                    RequestItems={
                        self._table_name: {"Keys": [{"id": {"S": id_}} for id_ in batch], "ConsistentRead": True}
                    }
                )
            yield from answer["Responses"][self._table_name]
            unprocessed = cast("Any", answer["UnprocessedKeys"]).get(self._table_name, {}).get("Keys", [])
            if len(unprocessed) == len(batch):
                throttled = f"DynamoDB returned none of {len(batch)} records. Try again later."
                raise TransientError(throttled)
            ids += [key["id"]["S"] for key in unprocessed]


class _PersistenceLayer(DynamoDBPersistenceLayer):
    """Powertools' layer, which deletes only the record that this very claim put."""

    _in_progress_expiry: int | None = None

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
                    ":status": {"S": STATUS_CONSTANTS["INPROGRESS"]},
                    ":expiry": {"N": str(self._in_progress_expiry)},
                },
            )


def _record_id(key: IdempotencyKey) -> str:
    """Return the id of a key's record, as Powertools documents it: the prefix, and a hash of the data."""
    data = json.dumps({"subject": key.subject})
    return f"{key.kind}#{hashlib.md5(data.encode(), usedforsecurity=False).hexdigest()}"
