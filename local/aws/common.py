"""What the emulated services have in common: the current time, events, errors and pages."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

from moto.core.base_backend import BaseBackend
from moto.core.exceptions import ServiceException
from moto.moto_api._internal import mock_random

Event = dict[str, object]
_Item = TypeVar("_Item")


class ServiceError(ServiceException):
    """An error of a service, by its code and message; botocore's model has the HTTP status.

    moto looks up the code in the model of the called service only for classes that are defined outside of moto.
    """


def clock() -> datetime:
    """Return the current time. Tests replace this function to let import tasks expire."""
    return datetime.now(UTC)


def event(backend: BaseBackend, kind: tuple[str, str], resource: str, detail: dict[str, object]) -> Event:
    """Return an EventBridge event of a kind (source, detail-type) about one resource, as AWS services send it."""
    source, detail_type = kind
    return {
        "version": "0",
        "id": str(mock_random.uuid4()),
        "detail-type": detail_type,
        "source": source,
        "account": backend.account_id,
        "time": clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": backend.region_name,
        "resources": [resource],
        "detail": detail,
    }


def paginate(items: Sequence[_Item], size: int | None, token: str | None) -> tuple[Sequence[_Item], str | None]:
    """Return the page of a token and the token of the next page, None after the last one.

    Without a size there is one page. Raises ValueError for a token that this function did not return.
    """
    first = int(token.removeprefix("page-")) if token else 0
    if not 0 <= first <= len(items):
        raise ValueError(token)
    end = len(items) if size is None else first + size
    return items[first:end], f"page-{end}" if end < len(items) else None
