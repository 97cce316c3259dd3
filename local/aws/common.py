"""What the emulated services have in common: the current time, events, errors and pages."""

import functools
import logging
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from moto.core.base_backend import BaseBackend
from moto.core.common_types import TYPE_RESPONSE
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse
from moto.moto_api._internal import mock_random

Event = dict[str, object]
_Item = TypeVar("_Item")

# Clients repeat a request that is answered with 500 to 504, but not with this.
_NOT_IMPLEMENTED: Final = 501
_FAILURE: Final = "NotImplemented"


class ServiceError(ServiceException):
    """An error of a service, by its code and message; botocore's model has the HTTP status.

    moto looks up the code in the model of the called service only for classes that are defined outside of moto.
    """


def answer(response: BaseResponse, error: ServiceError) -> TYPE_RESPONSE:
    """Return the answer with an error in the format of the called service."""
    with warnings.catch_warnings():
        # Not every code is in every service's model.
        warnings.filterwarnings("ignore", message=".* does not match an error shape")
        return response.serialized(ActionResult(error))


@functools.cache
def install() -> None:
    """Answer and log what is not emulated, and a defect, in one sentence; moto answers a page of HTML."""
    call_action = BaseResponse.call_action

    @functools.wraps(call_action)
    def call(self: BaseResponse) -> TYPE_RESPONSE:
        try:
            return call_action(self)
        except Exception as error:
            operation = f"{self.service_name}:{self._get_action()}"
            message = f"The local AWS cannot do {operation}."
            if not isinstance(error, NotImplementedError) or not str(error).endswith("has not been implemented"):
                message = f"The local AWS cannot do {operation} like this: {type(error).__name__}: {error}"
            logging.getLogger(__name__).warning(message)
            logging.getLogger(__name__).debug("Raised by", exc_info=True)
            _, headers, body = answer(self, ServiceError(_FAILURE, message))
            return _NOT_IMPLEMENTED, headers | {"status": str(_NOT_IMPLEMENTED)}, body

    BaseResponse.call_action = call  # type: ignore[method-assign]


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
