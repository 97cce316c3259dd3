"""AWS on this machine: moto's server with the services of this package, and the app deployed to it."""

import functools
import json
import logging
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, cast

import boto3
from moto import backends
from moto.core import responses
from moto.core.base_backend import BackendDict
from moto.core.utils import method_names_from_class
from moto.ec2.models import ec2_backends
from moto.events.models import events_backends
from moto.kms import models as kms
from moto.kms.utils import generate_private_key
from moto.moto_server import werkzeug_app
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.sns.models import sns_backends
from werkzeug.serving import BaseWSGIServer, make_server

from local.aws import (
    access,
    cloudformation,
    common,
    events,
    functions,
    image_builder,
    lifecycle,
    supplements,
    switches,
    vm_import,
)
from local.aws.common import Event
from local.aws.lifecycle import Action
from local.aws.switches import Switches

ACCOUNT: Final = "123456789012"
"""moto's default account."""


class PublishedMessage(NamedTuple):
    """A message that SNS accepted, with `MessageStructure` json."""

    subject: str
    texts: dict[str, str]
    """By protocol."""
    attributes: dict[str, str]


class LocalAws:
    """One account. Entering starts it, empty; leaving ends its processes and removes its resources.

    It has every Region; what this object does itself, it does in `region`. `switched` is where it answers other than by
    default. Entering raises OSError if the port is in use.

    Time does not pass in it: imports and images change with `advance`, schedules fire with `fire_schedules`.
    """

    def __init__(self, region: str = "us-east-1", port: int = 0, switched: Switches | None = None) -> None:
        self.region = region
        self._switches = switched or Switches()
        self._opened = ExitStack()
        self.access_key = access.new_access_key()
        """Without it, or one that IAM or STS issued, requests are refused."""
        self.amis_without_events: set[str] = set()
        """Names of AMIs whose events EventBridge does not deliver."""
        self._port = port
        self._server: BaseWSGIServer

    def __enter__(self) -> Self:
        # moto would load thousands of public AMIs.
        os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
        # moto would let every web page read its answers.
        vars(werkzeug_app).update(DISABLE_GLOBAL_CORS=True)
        # moto's server logs every request.
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        # werkzeug ends the thread where the port is in use.
        with socket.create_server(("127.0.0.1", self._port)) as listener:
            app = access.restrict(DomainDispatcherApplication(create_backend_app), self.access_key)
            options = {"threaded": True, "request_handler": MotoRequestHandler, "fd": listener.fileno()}
            self._server = make_server("127.0.0.1", self._port, app, **options)  # type: ignore[arg-type]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        _save_time()
        common.install()
        supplements.install()
        image_builder.install()
        self._opened.enter_context(switches.use(self._switches))
        functions.install(self.endpoint_url, self.access_key)
        cloudformation.install()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        functions.shutdown()
        self._opened.close()
        self._server.shutdown()
        self._server.server_close()
        BackendDict.reset()

    @property
    def endpoint_url(self) -> str:
        """The URL of every service."""
        return "http://{}:{}".format(*self._server.server_address)

    def client(self, service: str) -> Any:  # noqa: ANN401 - the service decides the type
        """Return a boto3 client for a service."""
        return cached_client(service, self.region, self.endpoint_url, self.access_key)

    def deploy(self, assembly: Path, stack: str) -> None:
        """Deploy one stack of a cloud assembly (`cdk.out`): upload its assets and create it.

        Raises botocore's ClientError if a resource of the template is not supported.
        """
        # The parameter of `cdk bootstrap` that a deployment reads.
        version = {"Name": "/cdk-bootstrap/hnb659fds/version", "Value": "30", "Type": "String", "Overwrite": True}
        self.client("ssm").put_parameter(**version)
        assets = json.loads((assembly / f"{stack}.assets.json").read_text(encoding="utf-8"))
        s3 = self.client("s3")
        for asset in assets["files"].values():
            content = _read_asset(assembly / asset["source"]["path"], asset["source"]["packaging"])
            for destination in asset["destinations"].values():
                bucket = destination["bucketName"]
                bucket = bucket.replace("${AWS::AccountId}", ACCOUNT).replace("${AWS::Region}", self.region)
                s3.create_bucket(Bucket=bucket)
                s3.put_object(Bucket=bucket, Key=destination["objectKey"], Body=content)
        self.client("cloudformation").create_stack(
            StackName=stack,
            TemplateBody=(assembly / f"{stack}.template.json").read_text(encoding="utf-8"),
            Capabilities=["CAPABILITY_IAM"],
        )

    def advance(self) -> None:
        """Advance every import and every image by one step, deliver the events, and run the functions."""
        for service in (vm_import, image_builder):
            # Also those where AMIs are all there is. A copy: a request may be the first one in its Region.
            for region in sorted({*service.backends[ACCOUNT], *ec2_backends[ACCOUNT]}):
                for event in service.advance(ACCOUNT, region):
                    if self._is_delivered(event):
                        events.deliver(event)
            functions.run_queued()
        self._check_parameters()

    def fire_schedules(self, minute: int = 0) -> None:
        """Fire every schedule, or those that are due so many minutes after a start, and run the functions."""
        for region in [*events_backends[ACCOUNT]]:
            events.fire_schedules(ACCOUNT, region, minute)
        functions.run_queued()
        self._check_parameters()

    def run_lifecycle_policies(self, day: timedelta = timedelta(days=1)) -> list[Action]:
        """Execute every lifecycle policy of Image Builder once, with days of that length, and return what they did."""
        regions = [*image_builder.backends[ACCOUNT]]
        return [action for region in regions for action in lifecycle.run(ACCOUNT, region, day)]

    def import_vm(self, bucket: str, keys: Sequence[str], metadata: Mapping[str, str], tags: Mapping[str, str]) -> str:
        """Upload disks with the metadata that `vm_import` reads, and start their import; return the task's id."""
        s3 = self.client("s3")
        s3.create_bucket(Bucket=bucket)
        for key in keys:
            s3.put_object(Bucket=bucket, Key=key, Body=b"disk", Metadata=metadata)
        task_tags = [{"Key": key, "Value": value} for key, value in tags.items()]
        answer = self.client("ec2").import_image(
            DiskContainers=[{"UserBucket": {"S3Bucket": bucket, "S3Key": key}} for key in keys],
            TagSpecifications=[{"ResourceType": "import-image-task", "Tags": task_tags}] if task_tags else [],
        )
        return str(answer["ImportTaskId"])

    def images(self) -> list[dict[str, Any]]:
        """Return every build of every image, oldest first."""
        pages = self.client("imagebuilder").get_paginator("list_image_build_versions").paginate()
        return [image for page in pages for image in page["imageSummaryList"]]

    def invoke(self, function_name: str, payload: object) -> dict[str, Any]:
        """Invoke a function and return its answer, or its error in Lambda's format."""
        answer = self.client("lambda").invoke(FunctionName=function_name, Payload=json.dumps(payload))
        decoded: dict[str, Any] = json.load(answer["Payload"])
        return decoded

    def receive_messages(self, queue_url: str) -> list[Any]:
        """Receive and delete all messages of an SQS queue; return their bodies, which have to be JSON."""
        sqs, bodies = self.client("sqs"), []
        while messages := sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                bodies.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def published_messages(self) -> list[PublishedMessage]:
        """Return the messages of all topics, oldest first."""
        return [
            PublishedMessage(subject or "", json.loads(message), {name: each["Value"] for name, each in given.items()})
            for topic in sns_backends[ACCOUNT][self.region].topics.values()
            for _, message, subject, attributes, _ in topic.sent_notifications
            if (given := attributes or {})
        ]

    def _check_parameters(self) -> None:
        for region in [*ec2_backends[ACCOUNT]]:
            supplements.check_parameters(ACCOUNT, region)

    def _is_delivered(self, event: Event) -> bool:
        amis = vm_import.backends[ACCOUNT][self.region].ec2.amis.values()
        without = [ami.id for ami in amis if ami.name in self.amis_without_events]
        return not any(ami in str(event["resources"]) for ami in without)


@functools.cache
def _save_time() -> None:
    """Let moto list its services and their methods once, not for each request, and make no pair for a symmetric key."""
    services = frozenset(backends.list_of_moto_modules())
    vars(responses).update(method_names_from_class=functools.cache(method_names_from_class))
    vars(backends).update(list_of_moto_modules=lambda: services)
    vars(kms).update(generate_private_key=functools.cache(generate_private_key))


@functools.cache
def cached_client(service: str, region: str, endpoint_url: str | None, access_key: str) -> Any:  # noqa: ANN401 - as above
    """Return a boto3 client. To create one takes longer than most requests."""
    return boto3.client(
        cast("Any", service),
        region_name=region,
        endpoint_url=endpoint_url,
        aws_access_key_id=access_key,
        # Signatures are not checked.
        aws_secret_access_key="testing",  # noqa: S106 - no secret
    )


@functools.cache
def _read_asset(path: Path, packaging: str) -> bytes:
    """Return the content to upload for an asset: its file, or the zip of its folder. Its path has its hash."""
    if packaging != "zip":
        return path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        return Path(shutil.make_archive(f"{folder}/asset", "zip", path)).read_bytes()
