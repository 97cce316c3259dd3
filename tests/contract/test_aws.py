"""The adapters with real boto3, against a server that answers as a test says."""

import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, cast

import boto3
import pytest
from botocore.config import Config
from botocore.model import StructureShape
from botocore.retries import standard
from botocore.session import get_session

from infra.operations import OPERATIONS
from tests.conftest import REGION
from tests.unit.fakes import version_arn
from vm_image_import.aws.ec2 import Ec2
from vm_image_import.aws.image_builder import ImageBuilder
from vm_image_import.aws.session import CONFIG, CONNECT_TIMEOUT, READ_TIMEOUT, RETRYABLE_ERROR_CODES
from vm_image_import.deadline import SLOW_CALL_MS, Deadline
from vm_image_import.domain.errors import ClientTokenReusedError, PermanentError, TransientError, UnknownArnError
from vm_image_import.domain.models import Ami, Disk, ImageRequest, ImportTask

# One attempt each: the tests are about the translation of the last answer, not about botocore's retries.
ONCE: Final = CONFIG.merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))
# Only for a server that never answers: a slow machine would fail the tests of everything else.
SHORT_TIMEOUT: Final = ONCE.merge(Config(read_timeout=0.2))
REQUEST: Final = ImageRequest(
    name="web-server",
    semantic_version="1.4.2",
    description="d",
    platform="Linux",
    os_version=None,
    tags={"Team": "web"},
    import_task_id="import-ami-0123456789abcdef0",
    client_token="12345678-1234-1234-1234-123456789012",
)


class StubServer(http.server.ThreadingHTTPServer):
    """Answers every request with `status` and `body`, or, with status 0, hangs up, or, with -1, never answers."""

    status = 200
    body = b""
    headers: tuple[tuple[str, str], ...] = ()
    release: threading.Event
    received: str
    """The last request's body."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: StubServer

    def _answer(self) -> None:
        self.server.received = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.server.status < 0:
            self.server.release.wait()
        if self.server.status <= 0:
            self.close_connection = True
            return
        self.send_response(self.server.status)
        for name, value in (*self.server.headers, ("Content-Length", str(len(self.server.body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.body)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def _server() -> Iterator[StubServer]:
    with StubServer(("127.0.0.1", 0), _Handler) as server:
        server.release = threading.Event()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def stub(_server: StubServer) -> Iterator[StubServer]:
    """Give a server that answers as stub."""
    _server.status, _server.body, _server.headers = 200, b"", ()
    yield _server
    _server.release.set()
    _server.release = threading.Event()


# A client takes a tenth of a second to make: more than the test that uses it.
@cache
def ec2(url: str, config: Config = ONCE) -> Ec2:
    """Return the adapter as the function has it, but for the number of tries."""
    return Ec2(boto3.client("ec2", endpoint_url=url, region_name=REGION, config=config))


@cache
def image_builder(url: str, config: Config = ONCE) -> ImageBuilder:
    """Return the adapter as the function has it, but for the number of tries."""
    return ImageBuilder(boto3.client("imagebuilder", endpoint_url=url, region_name=REGION, config=config))


def ec2_error(stub: StubServer, status: int, code: str) -> None:
    """Let EC2 answer an error."""
    stub.status = status
    stub.body = (
        "<Response><Errors><Error>"
        f"<Code>{code}</Code><Message>Why.</Message>"
        "</Error></Errors><RequestID>r</RequestID></Response>"
    ).encode()


def image_builder_error(stub: StubServer, status: int, code: str) -> None:
    """Let Image Builder answer an error."""
    stub.status, stub.body = status, json.dumps({"message": "Why."}).encode()
    stub.headers = (("x-amzn-ErrorType", code),)


def test_calls_end_in_time() -> None:
    """All attempts of one call take no longer than the time that a deadline keeps free for it."""
    # Its types leave them out.
    config = cast("Any", CONFIG)
    assert (config.connect_timeout, config.read_timeout) == (CONNECT_TIMEOUT, READ_TIMEOUT)
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}
    assert 3 * (CONNECT_TIMEOUT + READ_TIMEOUT) * 1000 <= SLOW_CALL_MS


def test_retryable_error_codes_are_those_of_botocore() -> None:
    """The codes that botocore's `standard` mode retries are retryable, and the one that only EC2's reference has."""
    # Its types leave them out.
    transient: Any = standard.TransientRetryableChecker
    throttled: Any = standard.ThrottledRetryableChecker
    retried = {*transient._TRANSIENT_ERROR_CODES, *throttled._THROTTLED_ERROR_CODES}  # noqa: SLF001 - nowhere else
    assert retried | {"ConcurrentTagAccess"} <= RETRYABLE_ERROR_CODES


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("dynamodb", {"ProvisionedThroughputExceededException", "ReplicatedWriteConflictException"}),
        # The model of EC2 has no errors.
        ("ec2", set[str]()),
        ("imagebuilder", {"CallRateLimitExceededException", "TooManyRequestsException"}),
        ("sns", {"KMSThrottling", "Throttled"}),
        ("ssm", {"ThrottlingException", "TooManyUpdates"}),
    ],
)
def test_errors_that_a_model_calls_retryable_are_transient(service: str, expected: set[str]) -> None:
    """Every error of a service is transient that its model marks as retryable or describes as throttled."""
    model = get_session().get_service_model(service)
    # Its types know less of an error.
    errors: list[Any] = list(model.error_shapes)
    found = {shape.error_code for shape in errors if is_retryable(shape)}
    assert expected <= found <= RETRYABLE_ERROR_CODES
    assert service in OPERATIONS


def is_retryable(shape: StructureShape) -> bool:
    """Return whether an error says that the same request may succeed later."""
    metadata, text = shape.metadata, shape.documentation.lower()
    words = ("request throttling", "is throttling", "rate at which requests", "permitted request rate")
    return (
        bool(metadata.get("retryable"))
        or metadata.get("error", {}).get("httpStatusCode") == 429
        or any(word in text for word in (*words, "concurrent updates for a resource"))
    )


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        *((400, code, TransientError) for code in sorted(RETRYABLE_ERROR_CODES)),
        (503, "RequestLimitExceeded", TransientError),
        (500, "InternalError", TransientError),
        (503, "Unavailable", TransientError),
        (403, "UnauthorizedOperation", PermanentError),
        (401, "AuthFailure", PermanentError),
        (400, "InvalidParameterValue", PermanentError),
    ],
)
def test_ec2_errors_are_translated(stub: StubServer, status: int, code: str, error: type[Exception]) -> None:
    """Every call of EC2 raises a transient or a permanent error with EC2's own message."""
    ec2_error(stub, status, code)
    adapter = ec2(stub.url)
    for call in (
        lambda: adapter.find_task("import-ami-0123456789abcdef0"),
        lambda: adapter.find_ami("ami-0abcdef1234567890"),
    ):
        with pytest.raises(error, match=f"{code}.*Why") as caught:
            call()
        assert type(caught.value) is error


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (429, "CallRateLimitExceededException", TransientError),
        (429, "TooManyRequestsException", TransientError),
        (400, "ThrottlingException", TransientError),
        (500, "ServiceException", TransientError),
        (503, "ServiceUnavailableException", TransientError),
        (504, "GatewayTimeout", TransientError),
        (400, "ClientException", PermanentError),
        (400, "InvalidVersionNumberException", PermanentError),
        (402, "ServiceQuotaExceededException", PermanentError),
        (403, "AccessDeniedException", PermanentError),
        (403, "ForbiddenException", PermanentError),
        (400, "IdempotentParameterMismatchException", ClientTokenReusedError),
    ],
)
def test_image_builder_errors_are_translated(stub: StubServer, status: int, code: str, error: type[Exception]) -> None:
    """ImportVmImage raises a transient or a permanent error with Image Builder's own message."""
    image_builder_error(stub, status, code)
    with pytest.raises(error, match=f"{code}.*Why") as caught:
        image_builder(stub.url).import_vm_image(REQUEST)
    assert type(caught.value) is error


@pytest.mark.parametrize("arn", [version_arn("1.4.2").removesuffix("/1"), version_arn("1.4.2", "web.server"), ""])
def test_an_arn_of_another_form_is_an_error(stub: StubServer, arn: str) -> None:
    """An answer to ImportVmImage whose ARN is none of an image build version is an error with the ARN."""
    stub.body = json.dumps({"imageArn": arn, "requestId": "r"}).encode()
    with pytest.raises(UnknownArnError, match=f"{arn!r} is not the ARN of an image build version") as caught:
        image_builder(stub.url).import_vm_image(REQUEST)
    assert not caught.value.certain


@pytest.mark.parametrize("status", [0, -1], ids=["connection dropped", "no answer in time"])
def test_a_broken_network_is_transient(stub: StubServer, status: int) -> None:
    """A dropped connection and a missing answer are transient errors."""
    stub.status = status
    with pytest.raises(TransientError):
        ec2(stub.url, SHORT_TIMEOUT).find_ami("ami-0abcdef1234567890")
    with pytest.raises(TransientError):
        image_builder(stub.url, SHORT_TIMEOUT).import_vm_image(REQUEST)


@pytest.mark.parametrize("body", [b"<<<", b"\xff\xfe", b"{", b"<a></b>"])
def test_an_answer_that_cannot_be_parsed_is_transient(stub: StubServer, body: bytes) -> None:
    """An answer that is neither XML nor JSON, as of a proxy, is a transient error."""
    stub.body = body
    with pytest.raises(TransientError):
        ec2(stub.url).find_ami("ami-0abcdef1234567890")
    with pytest.raises(TransientError):
        image_builder(stub.url).import_vm_image(REQUEST)


def test_a_server_that_cannot_be_reached_is_transient() -> None:
    """A refused connection is a transient error."""
    with pytest.raises(TransientError):
        ec2("http://127.0.0.1:9").find_ami("ami-0abcdef1234567890")


def test_a_request_that_botocore_refuses_is_permanent(stub: StubServer) -> None:
    """A request that botocore does not send is a permanent error."""
    with pytest.raises(PermanentError):
        ec2(stub.url).find_ami(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", ["InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"])
def test_an_ami_that_is_not_there_is_none(stub: StubServer, code: str) -> None:
    """EC2's errors for an AMI that does not exist give None."""
    ec2_error(stub, 400, code)
    assert ec2(stub.url).find_ami("ami-0abcdef1234567890") is None


@pytest.mark.parametrize("code", ["InvalidConversionTaskId", "InvalidConversionTaskId.Malformed"])
def test_a_task_that_is_not_there_is_none(stub: StubServer, code: str) -> None:
    """EC2's error and its empty list for a task that does not exist give None."""
    ec2_error(stub, 400, code)
    assert ec2(stub.url).find_task("import-ami-0123456789abcdef0") is None
    stub.status = 200
    stub.body = b"<DescribeImportImageTasksResponse><importImageTaskSet/></DescribeImportImageTasksResponse>"
    assert ec2(stub.url).find_task("import-ami-0123456789abcdef0") is None


TASK_ANSWER = b"""<DescribeImportImageTasksResponse><importImageTaskSet><item>
<importTaskId>import-ami-fg4d51t0</importTaskId><architecture>x86_64</architecture><bootMode>uefi</bootMode>
<description>Web</description><hypervisor>xen</hypervisor><imageId>ami-0abcdef1234567890</imageId>
<licenseType>BYOL</licenseType><platform>Linux</platform><progress>39</progress><status>active</status>
<statusMessage>converting</statusMessage>
<snapshotDetailSet>
<item><userBucket><s3Bucket>b</s3Bucket><s3Key>exports/web.ova</s3Key></userBucket><format>VMDK</format></item>
<item><url>https://h.example/data.vmdk?Signature=s</url></item>
<item><snapshotId>snap-0abcdef1234567890</snapshotId></item>
</snapshotDetailSet>
<tagSet><item><key>Name</key><value>web</value></item><item><key>Empty</key><value/></item></tagSet>
</item></importImageTaskSet></DescribeImportImageTasksResponse>"""

AMI_ANSWER = b"""<DescribeImagesResponse><imagesSet><item>
<imageId>ami-0abcdef1234567890</imageId><imageState>available</imageState><imageOwnerId>123456789012</imageOwnerId>
<architecture>arm64</architecture><platform>windows</platform><name>import-ami-fg4d51t0</name>
<description>AWS-VMImport service: Linux - Ubuntu 20.04.3 LTS</description><bootMode>uefi</bootMode>
<creationDate>2026-11-23T10:15:00.000Z</creationDate><sourceImageId>ami-0fedcba9876543210</sourceImageId>
<enaSupport>true</enaSupport><blockDeviceMapping><item><deviceName>/dev/sda1</deviceName><ebs>
<snapshotId>snap-1</snapshotId><deleteOnTermination>false</deleteOnTermination></ebs></item></blockDeviceMapping>
</item></imagesSet></DescribeImagesResponse>"""


def test_every_field_of_a_task_is_read(stub: StubServer) -> None:
    """Every field of a task that the function uses is read from EC2's answer."""
    stub.body = TASK_ANSWER
    assert ec2(stub.url).find_task("import-ami-fg4d51t0") == ImportTask(
        id="import-ami-fg4d51t0",
        status="active",
        status_message="converting",
        progress="39",
        image_id="ami-0abcdef1234567890",
        description="Web",
        platform="Linux",
        architecture="x86_64",
        boot_mode="uefi",
        license_type="BYOL",
        disks=(
            Disk(bucket="b", key="exports/web.ova"),
            Disk(url="https://h.example/data.vmdk?Signature=s"),
            Disk(),
        ),
        tags={"Name": "web", "Empty": ""},
    )


@pytest.mark.parametrize(
    ("token", "next_token"), [("<nextToken>t</nextToken>", "t"), ("<nextToken/>", None), ("", None)]
)
def test_an_empty_token_ends_the_list_of_tasks(stub: StubServer, token: str, next_token: str | None) -> None:
    """A page of tasks whose token is empty or missing is the last one."""
    stub.body = TASK_ANSWER.replace(b"</importImageTaskSet>", f"</importImageTaskSet>{token}".encode())
    page = ec2(stub.url).list_tasks(None)
    assert [task.id for task in page.tasks] == ["import-ami-fg4d51t0"]
    assert page.next_token == next_token
    assert "MaxResults=100" in stub.received


def test_every_field_of_an_ami_is_read(stub: StubServer) -> None:
    """Every field of an AMI is read."""
    stub.body = AMI_ANSWER
    expected = Ami(
        id="ami-0abcdef1234567890",
        created=datetime(2026, 11, 23, 10, 15, tzinfo=UTC),
        state="available",
        owner_id="123456789012",
        name="import-ami-fg4d51t0",
        description="AWS-VMImport service: Linux - Ubuntu 20.04.3 LTS",
        platform="windows",
        architecture="arm64",
        boot_mode="uefi",
        source_image_id="ami-0fedcba9876543210",
        snapshot_ids=("snap-1",),
        has_ena=True,
        kept_devices=("/dev/sda1",),
    )
    assert ec2(stub.url).find_ami("ami-0abcdef1234567890") == expected


@pytest.mark.parametrize("state", ["available", "disabled", "failed", "pending"])
def test_only_available_amis_are_found_available(stub: StubServer, state: str) -> None:
    """An AMI in another state than `available` is not available, whether EC2 lists it or not."""
    stub.body = AMI_ANSWER.replace(b">available<", f">{state}<".encode())
    found = ec2(stub.url).find_available(["ami-0abcdef1234567890"], Deadline(lambda: 300_000))
    assert found == ({"ami-0abcdef1234567890"} if state == "available" else set())


def test_a_deregistered_ami_is_none(stub: StubServer) -> None:
    """An AMI that EC2 still shows as deregistered is none."""
    stub.body = AMI_ANSWER.replace(b">available<", b">deregistered<")
    assert ec2(stub.url).find_ami("ami-0abcdef1234567890") is None


def test_a_disabled_ami_is_asked_for(stub: StubServer) -> None:
    """EC2 is asked for an AMI even if it is disabled: by default it leaves such AMIs out."""
    stub.body = AMI_ANSWER.replace(b">available<", b">disabled<")
    ami = ec2(stub.url).find_ami("ami-0abcdef1234567890")
    assert ami
    assert ami.state == "disabled"
    assert "IncludeDisabled=true" in stub.received


def test_an_empty_ami_id_is_no_ami_id(stub: StubServer) -> None:
    """An empty ImageId is read as None, as is any absent field."""
    stub.body = (
        b"<DescribeImportImageTasksResponse><importImageTaskSet><item>"
        b"<importTaskId>import-ami-03202c13763ba4333</importTaskId><imageId/>"
        b"</item></importImageTaskSet></DescribeImportImageTasksResponse>"
    )
    task = ec2(stub.url).find_task("import-ami-03202c13763ba4333")
    assert task is not None
    assert (task.image_id, task.status, task.disks, task.tags) == (None, None, (), {})


@pytest.mark.parametrize("error", ["InvalidParameterException", "InvalidParameterValueException", "AccessDenied"])
@pytest.mark.parametrize("version", ["x.x.x", "1.0.0/1"])
def test_a_name_without_an_available_version(stub: StubServer, error: str, version: str) -> None:
    """An invalid `x.x.x` is a name without an available version; of an exact version, and otherwise, it is an error."""
    stub.status, stub.body = 400, json.dumps({"__type": error, "message": "Why."}).encode()
    client, arn = image_builder(stub.url), f"arn:aws:imagebuilder:us-east-1:123456789012:image/web/{version}"
    if version == "x.x.x" and error != "AccessDenied":
        assert client.find_image(arn) is None
        return
    with pytest.raises(PermanentError, match=error):
        client.find_image(arn)


def test_a_failed_image_has_its_reason_and_context(stub: StubServer) -> None:
    """The reason of a failed image has Image Builder's reason, the stage, the step and the messages, and is bounded."""
    context = {
        "imageStatus": "INTEGRATING",
        "failedStep": "CreateAmi",
        "componentFailure": {"errorMessage": "No space left."},
        "distributionFailure": {"errorMessage": "x" * 10_000},
    }
    state = {"status": "FAILED", "reason": "The import failed.", "failureContext": context}
    stub.body = json.dumps({"image": {"state": state}}).encode()
    image = image_builder(stub.url).find_image("arn:aws:imagebuilder:us-east-1:123456789012:image/web/1.0.0/1")
    assert image
    for part in ("The import failed.", "INTEGRATING", "CreateAmi", "No space left.", "xxx"):
        assert part in (image.reason or "")
    assert len(image.reason or "") <= 4_000
    stub.body = json.dumps({"image": {"state": {"status": "AVAILABLE"}}}).encode()
    available = image_builder(stub.url).find_image("arn:aws:imagebuilder:us-east-1:123456789012:image/web/1.0.0/1")
    assert available
    assert available.reason is None
