"""Who may use the local AWS: only the programs that have an access key of this run.

Its port is open to every web page in the browser and to every user of the machine, and it runs functions as the user
who started it.
"""

import base64
import json
import re
import secrets
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from moto.iam.models import iam_backends

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_SIGNED: Final = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/")
# Only browsers send these headers.
_OF_BROWSERS: Final = ("HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE")
_CODE: Final = "AccessDenied"


def new_access_key() -> str:
    """Return a random access key id, in the form of AWS's."""
    return f"AKIA{base64.b32encode(secrets.token_bytes(10)).decode()}"


def restrict(app: "WSGIApplication", access_key: str) -> "WSGIApplication":
    """Return `app` for the requests with this access key, or one that IAM or STS issued; it answers 403 to others.

    A request needs the server's own host and port as well, against names that a web page lets point here, and no header
    that only browsers send.
    """

    def restricted(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if problem := _problem(environ, access_key):
            return _refuse(problem, environ, start_response)
        return app(environ, start_response)

    return restricted


def _problem(environ: "WSGIEnvironment", access_key: str) -> str | None:
    """Return why a request is refused, None if it is not."""
    address = f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    if environ.get("HTTP_HOST") != address:
        return f"The local AWS answers only requests to http://{address}."
    if any(header in environ for header in _OF_BROWSERS):
        return "The local AWS answers no requests of web pages."
    key = _access_key(environ)
    if not secrets.compare_digest(key.encode(), access_key.encode()) and not _is_issued(key):
        return "The access key is not one of the running local AWS. Paste the variables that it has printed."
    return None


def _access_key(environ: "WSGIEnvironment") -> str:
    """Return the access key of the credential scope, in the header or in a presigned query; "" without one."""
    if signed := _SIGNED.match(environ.get("HTTP_AUTHORIZATION", "")):
        return signed[1]
    query: str = environ.get("QUERY_STRING", "")
    return parse_qs(query).get("X-Amz-Credential", [""])[0].partition("/")[0]


def _is_issued(access_key: str) -> bool:
    """Return whether IAM or STS has issued the key to somebody who had one, like the CDK command line for its roles."""
    return any(access_key in iam.access_keys for account in [*iam_backends.values()] for iam in [*account.values()])


def _refuse(problem: str, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    kind, body = "application/json", json.dumps({"__type": _CODE, "message": problem})
    if "json" not in environ.get("CONTENT_TYPE", ""):
        error = f"<Error><Code>{_CODE}</Code><Message>{problem}</Message></Error>"
        kind, body = "text/xml", f"<ErrorResponse>{error}</ErrorResponse>"
    status = HTTPStatus.FORBIDDEN
    start_response(f"{status.value} {status.phrase}", [("Content-Type", kind), ("x-amzn-ErrorType", _CODE)])
    return [body.encode()]
