"""What was done already, in DynamoDB: each fact is acted on once, whatever is retried or runs twice at once."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Any, Final, cast

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyInconsistentStateError,
    IdempotencyPersistenceLayerError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord

from vm_image_import.aws import told_apart
from vm_image_import.errors import InProgressError, TransientError
from vm_image_import.ports import Fact, Once

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from types_boto3_dynamodb import DynamoDBClient

_KEPT_SECONDS: Final = 60 * 24 * 60 * 60
"""60 days: EC2 lists a task for 7 days after its end, and a person looks back further."""
_BATCH: Final = 100
"""The most keys of one BatchGetItem (API reference)."""


class Ledger:
    """The table of what was done."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table
        self._store = _Store(table, boto3_client=client)
        self._config = IdempotencyConfig(expires_after_seconds=_KEPT_SECONDS)

    def start_run(self, context: "LambdaContext") -> None:
        """Tell when this run ends: what it leaves half done is free for others from then on."""
        self._config.register_lambda_context(context)

    def once(self, fact: Fact, act: Callable[[], str]) -> Once:
        """Act on a fact and record what that gives, or return what is recorded.

        What `act` raises is raised, and nothing is recorded. Raises InProgressError while another run acts on the fact,
        and TransientError where the table does not answer.
        """
        now = False

        def record(*, about: str) -> str:  # noqa: ARG001 - its name tells Powertools what the key is made of
            nonlocal now
            now = True
            return act()

        acted = idempotent_function(
            record,
            data_keyword_argument="about",
            # One for each act: it holds the fact's key, and acting on one fact may need another. Copied, since each new
            # one adds a hook to the client, which outlives it.
            persistence_store=copy(self._store),
            config=self._config,
            key_prefix=fact.kind,
        )
        try:
            # Powertools gives None for a recorded empty value.
            return Once(acted(about=fact.about) or "", now)
        except IdempotencyAlreadyInProgressError as error:
            another = f"Another run is at {fact.about}."
            raise InProgressError(another) from error
        except (IdempotencyPersistenceLayerError, IdempotencyInconsistentStateError) as error:
            raise TransientError(str(error)) from error

    def known(self, facts: Iterable[Fact]) -> dict[Fact, str]:
        """Return what is recorded of those facts that were acted on, a hundred a call.

        Raises TransientError or PermanentError.
        """
        by_key = {_key(fact): fact for fact in facts}
        return {
            by_key[item["id"]["S"]]: json.loads(item["data"]["S"])
            for item in self._items(list(by_key))
            if item["status"]["S"] == "COMPLETED"
        }

    def _items(self, keys: list[str]) -> Iterator[Mapping[str, Any]]:
        while keys:
            batch, keys = keys[:_BATCH], keys[_BATCH:]
            with told_apart():
                answer = self._client.batch_get_item(
                    RequestItems={self._table: {"Keys": [{"id": {"S": key}} for key in batch], "ConsistentRead": True}}
                )
            yield from answer["Responses"][self._table]
            left_over = cast("Any", answer["UnprocessedKeys"]).get(self._table, {}).get("Keys", [])
            if len(left_over) == len(batch):
                throttled = f"DynamoDB reads none of {len(batch)} records: ask again later."
                raise TransientError(throttled)
            keys += [key["id"]["S"] for key in left_over]


class _Store(DynamoDBPersistenceLayer):
    """Powertools' table, from which a run takes back only what it put there itself."""

    _begun: int | None = None

    def _put_record(self, data_record: DataRecord) -> None:
        super()._put_record(data_record)
        self._begun = data_record.in_progress_expiry_timestamp

    def _delete_record(self, data_record: DataRecord) -> None:
        # Asked once more because its answer was lost, an unconditional deletion takes what another run put there
        # meanwhile.
        with suppress(self.client.exceptions.ConditionalCheckFailedException):
            self.client.delete_item(
                TableName=self.table_name,
                Key=self._get_key(data_record.idempotency_key),
                ConditionExpression="#status = :status AND #begun = :begun",
                ExpressionAttributeNames={"#status": self.status_attr, "#begun": self.in_progress_expiry_attr},
                ExpressionAttributeValues={":status": {"S": "INPROGRESS"}, ":begun": {"N": str(self._begun)}},
            )


def _key(fact: Fact) -> str:
    """Return the key of a fact's record, as Powertools documents it: the prefix, and a hash of the data."""
    return f"{fact.kind}#{hashlib.md5(json.dumps(fact.about).encode(), usedforsecurity=False).hexdigest()}"
