"""botocore: the clients, and the errors that they raise.

This is the only place that decides which error is transient.
"""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NetworkError
from botocore.httpsession import URLLib3Session
from botocore.parsers import ResponseParserError

from vm_image_import.domain.errors import ClientTokenReusedError, PermanentError, TransientError

if TYPE_CHECKING:
    import ssl

_SESSION: Final = botocore.session.get_session()
"""botocore's own: boto3 on top would make every start slower and is not needed here."""
CONNECT_TIMEOUT: Final = 2
READ_TIMEOUT: Final = 8
"""Seconds."""
CONFIG: Final = Config(
    # Three attempts of at most 2 + 8 seconds a call: where AWS does not answer, Lambda's own retry is the better one.
    connect_timeout=CONNECT_TIMEOUT,
    read_timeout=READ_TIMEOUT,
    retries={"mode": "standard", "total_max_attempts": 3},
)

RETRYABLE_ERROR_CODES: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "CallRateLimitExceededException",
        # EC2 and Systems Manager: another change of the same resource is in progress (API references, `CreateTags`'s
        # error codes and `PutParameter`).
        "ConcurrentTagAccess",
        "EC2ThrottledException",
        # SNS: AWS KMS throttles the topic's key (API reference, `Publish`).
        "KMSThrottling",
        "KMSThrottlingException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "ReplicatedWriteConflictException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "SlowDown",
        "Throttled",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TooManyUpdates",
        "TransactionInProgressException",
    }
)
"""Codes of errors that a later attempt may not get, whatever their HTTP status is. Those without a source here are
the codes that botocore's `standard` retries repeat, or that a service's model calls retryable or throttling."""
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500

_CLIENT_TOKEN_REUSED: Final = "IdempotentParameterMismatchException"  # noqa: S105 - an error code, no secret


def _share_ssl_contexts(session: Any) -> None:  # noqa: ANN401 - botocore's class, whose types have no private members
    """Let clients that trust the same CAs share one TLS context, which loads these CAs once.

    botocore makes a context for each client, and urllib3 loads the bundle of CAs into it for each new connection, a
    quarter of all instructions of a cold start. What is trusted and how it is verified stays as botocore sets it.
    """
    make = session._get_ssl_context  # noqa: SLF001 - there is no other hook
    contexts: dict[object, ssl.SSLContext] = {}

    @functools.wraps(make)
    def get_ssl_context(self: Any) -> "ssl.SSLContext":  # noqa: ANN401 - as above
        # Whether to verify, or the bundle that AWS_CA_BUNDLE or REQUESTS_CA_BUNDLE names.
        trusted = self._verify
        if trusted not in contexts:
            contexts[trusted] = context = make(self)
            context.load_verify_locations = functools.cache(context.load_verify_locations)
        return contexts[trusted]

    session._get_ssl_context = get_ssl_context  # noqa: SLF001 - as above


_share_ssl_contexts(URLLib3Session)


def create_client(service: str) -> Any:  # noqa: ANN401 - the type depends on the name of the service
    """Return botocore's client of a service, in the Region and with the credentials of the environment."""
    return _SESSION.create_client(service, config=CONFIG)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate botocore's errors to TransientError or PermanentError, with the service's own message."""
    try:
        yield
    except ClientError as error:
        error_code, status = code(error), error.response["ResponseMetadata"]["HTTPStatusCode"]
        if error_code in RETRYABLE_ERROR_CODES or status == _TOO_MANY_REQUESTS or status >= _SERVER_ERROR:
            raise TransientError(str(error)) from error
        kind = ClientTokenReusedError if error_code == _CLIENT_TOKEN_REUSED else PermanentError
        raise kind(
            str(error), error_code, certain=not error.response["ResponseMetadata"].get("RetryAttempts")
        ) from error
    except (HTTPClientError, NetworkError, ResponseParserError, UnicodeDecodeError) as error:
        raise TransientError(str(error)) from error
    except BotoCoreError as error:
        raise PermanentError(str(error), type(error).__name__) from error


def member(answer: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - any member
    """Return a member of an answer. Raises TransientError where it is missing: a proxy may have answered."""
    if name not in answer:
        message = f"AWS's answer has no {name}."
        raise TransientError(message)
    return answer[name]


def code(error: ClientError) -> str:
    """Return the service's error code."""
    return error.response["Error"]["Code"]
