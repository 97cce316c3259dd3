"""AWS's answers, at next to no cost of their own: what is measured is the function."""

import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any, Final, Self
from urllib.parse import parse_qs

import botocore

from local.bench.tls import Authority

ROOTS: Final = Path(botocore.__file__).with_name("cacert.pem").read_text(encoding="utf-8")
"""The roots that botocore trusts."""
TASK: Final = "import-ami-0123456789abcdef0"
AMI: Final = "ami-0abcdef1234567890"
OTHER_AMI: Final = "ami-0fedcba9876543210"
"""One that no import made."""

_IMAGE: Final = """<DescribeImagesResponse><imagesSet><item><imageId>{id}</imageId><imageState>available</imageState>
<imageOwnerId>123456789012</imageOwnerId><architecture>x86_64</architecture><name>{name}</name>
<description>AWS-VMImport service: Linux - Ubuntu 22.04.3 LTS - 5.15.0-97-generic</description>
<creationDate>{created}</creationDate></item></imagesSet></DescribeImagesResponse>"""
_TASK: Final = """<item><importTaskId>{task}</importTaskId>
<architecture>x86_64</architecture><imageId>{ami}</imageId><licenseType>BYOL</licenseType><platform>Linux</platform>
<status>completed</status><snapshotDetailSet><item><userBucket><s3Bucket>exports</s3Bucket>
<s3Key>web-server-1.4.2.ova</s3Key></userBucket><format>VMDK</format></item></snapshotDetailSet>
<tagSet><item><key>Team</key><value>web</value></item></tagSet></item>"""
_TASKS: Final = """<DescribeImportImageTasksResponse><importImageTaskSet>{items}</importImageTaskSet>{more}
</DescribeImportImageTasksResponse>"""
_PUBLISHED: Final = "<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>"
_ARN: Final = "arn:aws:imagebuilder:us-east-1:123456789012:image/web-server/1.4.2"
_POLL_SECONDS: Final = 0.05
"""How often it looks whether it is to end."""
_PAGE: Final = 100
"""Import tasks."""


class Stub(ThreadingTCPServer):
    """A server that emulates EC2, Image Builder, DynamoDB and SNS, and notes which operations were requested.

    It has one completed import or those that it is given: ids of import tasks, whose AMIs have the same digits. Every
    call takes it some seconds. Each image has `image_status`. DynamoDB keeps what it is given, under no condition.
    With a context it speaks TLS, and `ca_bundle` is the file of the CAs that verify it.
    """

    daemon_threads = True

    def __init__(
        self,
        tasks: Sequence[str] = (TASK,),
        seconds: float = 0,
        context: ssl.SSLContext | None = None,
        ca_bundle: Path | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.calls: list[str] = []
        self.ca_bundle = ca_bundle
        self.image_status = "AVAILABLE"
        self._amis = {AMI if task == TASK else task.removeprefix("import-"): task for task in tasks}
        self._seconds = seconds
        self._context = context
        self._builds = count(1)
        self.records: dict[str, dict[str, Any]] = {}
        """The items of the table, by id."""

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(_POLL_SECONDS,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        """Where all services answer."""
        return "{}://{}:{}".format("https" if self._context else "http", *self.server_address)

    def forget(self) -> None:
        """Forget the calls and the records, so that the import is new."""
        self.calls.clear()
        self.records.clear()

    def get_request(self) -> tuple[socket.socket, object]:
        """Return the next connection. Its own thread shakes hands, when it first reads."""
        connection, address = super().get_request()
        if self._context:
            connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: object, client_address: object) -> None:
        """Report an error, unless the client refused the certificate or went away."""
        if not isinstance(sys.exception(), (ssl.SSLError, ConnectionError)):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def answer(self, target: str | None, path: str, body: str) -> str:
        """Return the answer to a request: DynamoDB names its operation in a header, EC2 and SNS in the body."""
        form = parse_qs(body)
        operation = (target or "").rpartition(".")[2] or form.get("Action", [path.strip("/")])[0]
        self.calls.append(operation)
        time.sleep(self._seconds)
        match operation:
            case "DescribeImages":
                (ami,) = form["ImageId.1"]
                # An AMI of an older import costs a look at the existing builds.
                created = datetime.now(UTC).isoformat()
                return _IMAGE.format(id=ami, name=self._amis.get(ami, "golden-base-2026"), created=created)
            case "DescribeImportImageTasks":
                return self._tasks(form)
            case "ImportVmImage":
                return json.dumps({"imageArn": f"{_ARN}/{next(self._builds)}"})
            case "GetImage":
                tags = {"vm-image-import:task-id": TASK}
                return json.dumps({"image": {"state": {"status": self.image_status}, "tags": tags}})
            case "Publish":
                return _PUBLISHED
            case "ListImageBuildVersions":
                return json.dumps({"imageSummaryList": []})
            case "BatchGetItem" | "DeleteItem" | "PutItem" | "Query" | "UpdateItem":
                return json.dumps(self._recorded(operation, json.loads(body)))
        message = f"There is no answer to {operation} here"
        raise NotImplementedError(message)

    def _tasks(self, form: Mapping[str, Sequence[str]]) -> str:
        start = int(form.get("NextToken", "0")[0])
        wanted = form.get("ImportTaskId.1")
        found = [(ami, task) for ami, task in self._amis.items() if not wanted or task in wanted]
        items = "".join(_TASK.format(task=task, ami=ami) for ami, task in found[start : start + _PAGE])
        more = f"<nextToken>{start + _PAGE}</nextToken>" if found[start + _PAGE :] else ""
        return _TASKS.format(items=items, more=more)

    def _recorded(self, operation: str, request: Mapping[str, Any]) -> Mapping[str, object]:
        match operation:
            case "PutItem":
                self.records[request["Item"]["id"]["S"]] = request["Item"]
            case "UpdateItem":
                record = self.records.setdefault(request["Key"]["id"]["S"], {**request["Key"]})
                _update(record, request)
                return {"Attributes": record}
            case "DeleteItem":
                self.records.pop(request["Key"]["id"]["S"], None)
            case "Query":
                return {"Items": [{"id": record["id"]} for record in self.records.values() if "open" in record]}
            case _:
                ((table, wanted),) = request["RequestItems"].items()
                keys = [key["id"]["S"] for key in wanted["Keys"]]
                found = [self.records[key] for key in keys if key in self.records]
                return {"Responses": {table: found}, "UnprocessedKeys": {}}
        return {}


def _update(record: dict[str, Any], request: Mapping[str, Any]) -> None:
    """Do what an UpdateExpression of `SET` and `REMOVE` says."""
    names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
    sets, _, removes = request["UpdateExpression"].removeprefix("SET ").partition("REMOVE ")
    for assignment in sets.split(",") if sets else ():
        name, value = map(str.strip, assignment.split("="))
        record[names.get(name, name)] = values[value]
    for name in map(str.strip, removes.split(",")):
        record.pop(names.get(name, name), None)


def tls_stub(bundle: Path) -> Stub:
    """Return a server that speaks TLS. Its own authority is in the file `bundle`, beside the roots of botocore."""
    authority = Authority()
    bundle.write_text(f"{ROOTS}\n{authority.pem}", encoding="utf-8")
    return Stub(context=authority.server_context(), ca_bundle=bundle)


class _Conversation(BaseHTTPRequestHandler):
    server: Stub
    protocol_version = "HTTP/1.1"
    # Nagle's algorithm would hold every answer back for some 40 ms.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def _answer(self, body: str) -> None:
        answer = self.server.answer(self.headers.get("X-Amz-Target"), self.path.partition("?")[0], body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_POST  # noqa: N815 - http.server's name

    def do_GET(self) -> None:
        self._answer("")

    def log_message(self, *_: object) -> None:
        """Say nothing."""
