"""AWS's answers to one registration, at no cost of their own: what is measured is the function."""

import json
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Final
from urllib.parse import parse_qs

TASK: Final = "import-ami-0123456789abcdef0"
AMI: Final = "ami-0abcdef1234567890"
OTHER_AMI: Final = "ami-0fedcba9876543210"
"""One that no import made."""

_IMAGE: Final = """<DescribeImagesResponse><imagesSet><item><imageId>{id}</imageId><imageState>available</imageState>
<imageOwnerId>123456789012</imageOwnerId><architecture>x86_64</architecture><name>{name}</name>
<description>AWS-VMImport service: Linux - Ubuntu 22.04.3 LTS - 5.15.0-97-generic</description>
<creationDate>2026-11-23T10:15:00.000Z</creationDate></item></imagesSet></DescribeImagesResponse>"""
_TASK: Final = f"""<DescribeImportImageTasksResponse><importImageTaskSet><item><importTaskId>{TASK}</importTaskId>
<architecture>x86_64</architecture><imageId>{AMI}</imageId><licenseType>BYOL</licenseType><platform>Linux</platform>
<status>completed</status><snapshotDetailSet><item><userBucket><s3Bucket>exports</s3Bucket>
<s3Key>web-server-1.4.2.ova</s3Key></userBucket><format>VMDK</format></item></snapshotDetailSet>
<tagSet><item><key>Team</key><value>web</value></item></tagSet>
</item></importImageTaskSet></DescribeImportImageTasksResponse>"""
_PUBLISHED: Final = "<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>"
_IMPORTED: Final = {
    "requestId": "r",
    "clientToken": "c",
    "imageArn": "arn:aws:imagebuilder:us-east-1:123456789012:image/web-server/1.4.2/1",
}


class Stub(ThreadingTCPServer):
    """A server that plays EC2, Image Builder, DynamoDB and SNS, and notes which operations it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.calls: list[str] = []

    @property
    def url(self) -> str:
        """Where all services answer."""
        return "http://{}:{}".format(*self.server_address)

    def answer(self, target: str | None, path: str, body: str) -> str:
        """Return the answer to a request: DynamoDB names its operation in a header, EC2 and SNS in the body."""
        form = parse_qs(body)
        operation = (target or "").rpartition(".")[2] or form.get("Action", [path.strip("/")])[0]
        self.calls.append(operation)
        match operation:
            case "DescribeImages":
                (ami,) = form["ImageId.1"]
                return _IMAGE.format(id=ami, name=TASK if ami == AMI else "golden-base-2026")
            case "DescribeImportImageTasks":
                return _TASK
            case "ImportVmImage":
                return json.dumps(_IMPORTED)
            case "Publish":
                return _PUBLISHED
            case "PutItem" | "UpdateItem":
                return "{}"
        message = f"There is no answer to {operation} here"
        raise NotImplementedError(message)


class _Conversation(BaseHTTPRequestHandler):
    server: Stub
    protocol_version = "HTTP/1.1"
    # Nagle's algorithm would hold every answer back for some 40 ms.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        answer = self.server.answer(self.headers.get("X-Amz-Target"), self.path, body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_POST  # noqa: N815 - http.server's name

    def log_message(self, *_: object) -> None:
        """Say nothing."""
