"""AWS on this machine, put together: a server, the deployed app, and a clock that somebody else winds."""

import io
import json
import logging
import os
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, cast

import boto3
from moto.core.base_backend import BackendDict
from moto.server import ThreadedMotoServer
from moto.sns.models import sns_backends

from local.aws import cloudformation, events, functions, image_builder, vm_import

ACCOUNT: Final = "123456789012"
"""moto's own."""


class Published(NamedTuple):
    """A message that a topic accepted, with `MessageStructure` json."""

    subject: str
    forms: dict[str, str]
    """By protocol."""
    attributes: dict[str, str]


class LocalAws:
    """One account in one Region. Entering starts it, empty; leaving ends it and everything in it.

    Nothing happens in it by itself: `step()` lets time pass.
    """

    def __init__(self, region: str = "us-east-1", port: int = 0) -> None:
        self.region = region
        self.lost: set[str] = set()
        """Names of AMIs whose events EventBridge loses."""
        self._server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
        self._clients: dict[str, Any] = {}

    def __enter__(self) -> Self:
        # EC2's public AMIs are thousands, and no import is among them.
        os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
        # A line for every request would bury what the user of this prints.
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        image_builder.install()
        cloudformation.install()
        self._server.start()
        functions.install(self.endpoint_url)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        functions.shutdown()
        self._server.stop()
        # stop() leaves the socket open.
        if self._server._server is not None:  # noqa: SLF001 - there is no other way to it
            self._server._server.server_close()  # noqa: SLF001 - as above
        BackendDict.reset()

    @property
    def endpoint_url(self) -> str:
        """Where every service answers."""
        host, port = self._server.get_host_and_port()
        return f"http://{host}:{port}"

    def client(self, service: str) -> Any:  # noqa: ANN401 - which client it is, the caller knows
        """Return the boto3 client of this cloud for a service, with made-up credentials."""
        # One takes longer to make than most of what is asked of it.
        if service not in self._clients:
            self._clients[service] = boto3.client(
                cast("Any", service),
                region_name=self.region,
                endpoint_url=self.endpoint_url,
                aws_access_key_id="testing",
                aws_secret_access_key="testing",  # noqa: S106 - no secret
            )
        return self._clients[service]

    def deploy(self, assembly: Path, stack: str) -> None:
        """Deploy one stack of a cloud assembly (`cdk.out`): upload its assets and create it.

        Raises botocore's ClientError where the template cannot be deployed whole.
        """
        # What `cdk bootstrap` leaves, as far as a deployment looks at it.
        self.client("ssm").put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String")
        assets = json.loads((assembly / f"{stack}.assets.json").read_text(encoding="utf-8"))
        s3 = self.client("s3")
        for asset in assets["files"].values():
            path = assembly / asset["source"]["path"]
            content = _zipped(path) if asset["source"]["packaging"] == "zip" else path.read_bytes()
            for destination in asset["destinations"].values():
                bucket = self._resolved(destination["bucketName"])
                s3.create_bucket(Bucket=bucket)
                s3.put_object(Bucket=bucket, Key=destination["objectKey"], Body=content)
        self.client("cloudformation").create_stack(
            StackName=stack,
            TemplateBody=(assembly / f"{stack}.template.json").read_text(encoding="utf-8"),
            Capabilities=["CAPABILITY_IAM"],
        )

    def step(self) -> None:
        """Let every import and every image go one step on, deliver the events, and run what they start."""
        for service in (vm_import, image_builder):
            for event in service.advance(ACCOUNT, self.region):
                if not self._loses(event):
                    events.deliver(event)
            functions.run_queued()

    def sweep(self) -> None:
        """Let the schedules fire once, and run what they start."""
        events.fire_schedules(ACCOUNT, self.region)
        functions.run_queued()

    def take_messages(self, queue_url: str) -> list[Any]:
        """Take all messages out of an SQS queue and return their bodies, read as JSON."""
        sqs, bodies = self.client("sqs"), []
        while found := sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages", []):
            for message in found:
                bodies.append(json.loads(message["Body"]))
                # Only received, it would come again half a minute later.
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def published(self) -> list[Published]:
        """Return what was published to the topics so far, oldest first."""
        return [
            Published(subject or "", json.loads(message), {name: each["Value"] for name, each in given.items()})
            for topic in sns_backends[ACCOUNT][self.region].topics.values()
            for _, message, subject, attributes, _ in topic.sent_notifications
            if (given := attributes or {})
        ]

    def _loses(self, event: vm_import.Event) -> bool:
        amis = vm_import.backends[ACCOUNT][self.region].ec2.amis.values()
        lost = {ami.id for ami in amis if ami.name in self.lost}
        return any(ami in str(event["resources"]) for ami in lost)

    def _resolved(self, text: str) -> str:
        return text.replace("${AWS::AccountId}", ACCOUNT).replace("${AWS::Region}", self.region)


def _zipped(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return content.getvalue()
