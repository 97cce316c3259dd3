"""The account of the caller in one Region, its answers, and its errors in one line each."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, TokenRetrievalError

from vm_image_import.domain.errors import PermanentError, TransientError

_EXPIRED: Final = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId"}
_DENIED: Final = re.compile("AccessDenied|UnauthorizedOperation|AuthorizationError|NotAuthorized")
_ACCOUNT_ID: Final = re.compile(r"(?<![0-9A-Za-z])\d{12}(?![0-9A-Za-z])")
_MAX_EVIDENCE: Final = 300
"""Characters. What AWS and others write can be of any length."""


class VerifyError(Exception):
    """What keeps the verification from going on, in one line for the caller."""


ERRORS: Final = (BotoCoreError, ClientError, PermanentError, TransientError, VerifyError)
"""What ends a verification: of boto3, of the function's own reads of the table, and of this program."""


class Answer(NamedTuple):
    """What AWS answers to one call: a value, or an error."""

    value: str = ""
    code: str = ""
    message: str = ""

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.code else self.value


class Account:
    """The account of a session. Raises botocore's errors where there are no credentials or no Region."""

    def __init__(self, session: boto3.Session) -> None:
        identity = session.client("sts").get_caller_identity()
        self.id: Final = identity["Account"]
        self.caller: Final = identity["Arn"]
        self.region: Final = session.client("ec2").meta.region_name
        self._session = session
        self.client: Final = cache(self._client)

    def _client(self, service: str) -> Any:  # noqa: ANN401 - the service decides the type
        # Some calls are made every few seconds for an hour.
        config = Config(retries={"mode": "standard", "total_max_attempts": 5})
        return self._session.client(cast("Any", service), config=config)


def answer_of(call: Callable[[], object]) -> Answer:
    """Return what AWS answers to a call. Raises botocore's errors where it does not answer, or not this caller."""
    try:
        return Answer(str(call()))
    except ClientError as error:
        if error.response["Error"]["Code"] in _EXPIRED:
            raise
        return Answer("", error.response["Error"]["Code"], error.response["Error"]["Message"])


def is_denied(text: str) -> bool:
    """Return whether a text has the error code of a call that IAM denies."""
    return _DENIED.search(text) is not None


def redacted(text: str) -> str:
    """Return evidence without account ids, in one line of limited length."""
    line = _ACCOUNT_ID.sub("ACCOUNT", " ".join(text.split()))
    return line if len(line) <= _MAX_EVIDENCE else f"{line[:_MAX_EVIDENCE]} …"


def explain(error: Exception) -> str:
    """Return one of `ERRORS` as text that says what to do."""
    if isinstance(error, VerifyError):
        return str(error)
    if isinstance(error, NoRegionError):
        return "No Region is set: export AWS_REGION=us-east-1, for example."
    if isinstance(error, NoCredentialsError):
        return "No credentials were found: sign in, or set AWS_PROFILE."
    code = error.code if isinstance(error, PermanentError) else ""
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else code
    if code in _EXPIRED or isinstance(error, TokenRetrievalError):
        return "The credentials are not valid, or not any more: sign in again."
    if is_denied(code):
        return f"The credentials lack a right: {error}"
    return f"AWS does not answer as expected: {error}"
