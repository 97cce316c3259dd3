"""EC2, Image Builder, SNS and DynamoDB: the only place that knows botocore and AWS's error codes."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Self

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NetworkError

from vm_image_import.derive import names
from vm_image_import.derive.tags import PREFIX
from vm_image_import.errors import PermanentError, TokenUsedError, TransientError
from vm_image_import.models import Ami, Disk, Image, ImageRequest, ImportTask
from vm_image_import.notices import Notice

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import ImageTypeDef, ImportImageTaskTypeDef
    from types_boto3_imagebuilder import ImagebuilderClient
    from types_boto3_sns import SNSClient

_SESSION: Final = botocore.session.get_session()
"""botocore's own: with boto3 on top every start would take longer, for nothing that is used here."""
CONNECT_TIMEOUT: Final = 2
READ_TIMEOUT: Final = 8
"""Seconds."""
CONFIG: Final = Config(
    # Three tries of at most 2 + 8 seconds a call: where AWS hardly answers, Lambda's own retry is the better one.
    connect_timeout=CONNECT_TIMEOUT,
    read_timeout=READ_TIMEOUT,
    retries={"mode": "standard", "total_max_attempts": 3},
)

_PASSING: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
"""Codes that botocore's `standard` retries take for passing whatever their status is; some come with 400."""
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500

_TOKEN_USED: Final = "IdempotentParameterMismatchException"  # noqa: S105 - an error code, no secret
_NO_SUCH_IMAGE: Final = "ResourceNotFoundException"
_PAGE: Final = 25
_PAGES: Final = 10
"""More versions that are not yet AVAILABLE are not looked for: the worst is another build of the same version."""
_NO_SUCH_AMI: Final = ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable")
_NO_SUCH_TASK: Final = "InvalidConversionTaskId"
"""The beginning of the code; EC2 also answers an empty list (both observed)."""


class Ec2:
    """Import tasks and AMIs, as EC2 shows them."""

    def __init__(self, client: "EC2Client") -> None:
        self._client = client

    @classmethod
    def connect(cls) -> Self:
        """Return one for the Region that the environment names."""
        return cls(_connect("ec2"))

    def find_task(self, import_task_id: str) -> ImportTask | None:
        """Return the task, or None where EC2 does not list it. Raises TransientError or PermanentError."""
        with told_apart():
            try:
                answer = self._client.describe_import_image_tasks(ImportTaskIds=[import_task_id])
            except ClientError as error:
                if _code(error).startswith(_NO_SUCH_TASK):
                    return None
                raise
        return next(map(import_task, answer["ImportImageTasks"]), None)

    def finished_tasks(self) -> Iterator[list[ImportTask]]:
        """Yield pages of the tasks that ended in the last 7 days. Raises TransientError or PermanentError."""
        pages = self._client.get_paginator("describe_import_image_tasks").paginate(
            # Not those that are `deleting`: they may not say yet whether they failed or were cancelled.
            Filters=[{"Name": "task-state", "Values": ["completed", "deleted"]}]
        )
        with told_apart():
            for page in pages:
                yield [import_task(answer) for answer in page["ImportImageTasks"]]

    def find_ami(self, image_id: str) -> Ami | None:
        """Return the AMI, or None where EC2 does not show it. Raises TransientError or PermanentError."""
        with told_apart():
            try:
                answer = self._client.describe_images(ImageIds=[image_id])
            except ClientError as error:
                if _code(error) in _NO_SUCH_AMI:
                    return None
                raise
        return next(map(ami, answer["Images"]), None)

    def find_ami_named(self, name: str) -> Ami | None:
        """Return this account's AMI of that name, or None. Raises TransientError or PermanentError."""
        with told_apart():
            answer = self._client.describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": [name]}])
        # A copy can have the name, too.
        return min(map(ami, answer["Images"]), key=lambda found: found.is_copy, default=None)


class ImageBuilder:
    """The images of EC2 Image Builder."""

    def __init__(self, client: "ImagebuilderClient") -> None:
        self._client = client

    @classmethod
    def connect(cls) -> Self:
        """Return one for the Region that the environment names."""
        return cls(_connect("imagebuilder"))

    def import_vm_image(self, request: ImageRequest) -> str:
        """Register the image and return its build version's ARN.

        Raises TransientError, PermanentError, or TokenUsedError where the token came with other values before.
        """
        with told_apart():
            answer = self._client.import_vm_image(**request.parameters())
        return answer["imageArn"]

    def find_image(self, arn: str) -> Image | None:
        """Return the image with this build version's ARN, or None. Raises TransientError or PermanentError."""
        with told_apart():
            try:
                answer = self._client.get_image(imageBuildVersionArn=arn)["image"]
            except ClientError as error:
                if _code(error) == _NO_SUCH_IMAGE:
                    return None
                raise
        state = answer.get("state", {})
        return Image(
            arn,
            status=state.get("status", ""),
            reason=state.get("reason"),
            ami_id=next((ami.get("image") for ami in answer.get("outputResources", {}).get("amis", [])), None),
            import_task_id=answer.get("tags", {}).get(f"{PREFIX}task-id"),
        )

    def versions(self, arn: str, name: str) -> Iterator[str]:
        """Yield semantic versions of an image, the highest one among them.

        `arn` is that of all versions; it finds the highest one that is AVAILABLE, however its name is written. `name`
        finds those that are not, by one of the ways to write it. Raises TransientError or PermanentError.
        """
        with told_apart():
            try:
                image = self._client.get_image(imageBuildVersionArn=arn)["image"]
            except ClientError as error:
                if _code(error) != _NO_SUCH_IMAGE:
                    raise
            else:
                # 1.4.2/1: the build is no part of the semantic version.
                yield image["version"].partition("/")[0]
        pages = self._client.get_paginator("list_images").paginate(
            owner="Self",
            # The filter compares names as they were written, unlike the ARN (API reference, `Filter`).
            filters=[{"name": "name", "values": sorted({name, names.arn_name(name)})}],
            PaginationConfig={"PageSize": _PAGE, "MaxItems": _PAGE * _PAGES},
        )
        with told_apart():
            for page in pages:
                yield from (version["version"] for version in page["imageVersionList"])


class Topic:
    """The SNS topic of the notices."""

    def __init__(self, client: "SNSClient", arn: str) -> None:
        self._client = client
        self._arn = arn

    @classmethod
    def connect(cls, arn: str) -> Self:
        """Return one for the topic with this ARN."""
        return cls(_connect("sns"), arn)

    def publish(self, notice: Notice) -> None:
        """Send a notice. Raises TransientError or PermanentError."""
        with told_apart():
            self._client.publish(
                TopicArn=self._arn,
                Subject=notice.subject,
                Message=notice.message,
                MessageAttributes={"outcome": {"DataType": "String", "StringValue": notice.outcome}},
            )


def dynamodb() -> "DynamoDBClient":
    """Return the client for the ledger."""
    client: DynamoDBClient = _connect("dynamodb")
    return client


def _connect(service: str) -> Any:  # noqa: ANN401 - which client it is, the service's name says
    return _SESSION.create_client(service, config=CONFIG)


@contextmanager
def told_apart() -> Iterator[None]:
    """Raise what botocore raises as TransientError or PermanentError, with the service's own words."""
    try:
        yield
    except ClientError as error:
        code, status = _code(error), error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code in _PASSING or status == _TOO_MANY_REQUESTS or status >= _SERVER_ERROR:
            raise TransientError(str(error)) from error
        raise (TokenUsedError if code == _TOKEN_USED else PermanentError)(str(error)) from error
    except (HTTPClientError, NetworkError) as error:
        raise TransientError(str(error)) from error
    except BotoCoreError as error:
        raise PermanentError(str(error)) from error


def _code(error: ClientError) -> str:
    return error.response["Error"]["Code"]


def import_task(answer: "ImportImageTaskTypeDef") -> ImportTask:
    """Return the task that EC2 describes; any field but the id may be absent."""
    details = answer.get("SnapshotDetails", [])
    return ImportTask(
        id=answer["ImportTaskId"],
        status=answer.get("Status"),
        status_message=answer.get("StatusMessage"),
        progress=answer.get("Progress"),
        # Observed as an empty string, too.
        image_id=answer.get("ImageId") or None,
        description=answer.get("Description"),
        platform=answer.get("Platform"),
        architecture=answer.get("Architecture"),
        boot_mode=answer.get("BootMode"),
        license_type=answer.get("LicenseType"),
        disks=tuple(
            Disk(
                bucket=detail.get("UserBucket", {}).get("S3Bucket"),
                key=detail.get("UserBucket", {}).get("S3Key"),
                url=detail.get("Url"),
                device_name=detail.get("DeviceName"),
            )
            for detail in details
        ),
        tags={tag["Key"]: tag["Value"] for tag in answer.get("Tags", [])},
    )


def ami(answer: "ImageTypeDef") -> Ami:
    """Return the AMI that EC2 describes."""
    return Ami(
        id=answer["ImageId"],
        created=datetime.fromisoformat(answer["CreationDate"]),
        state=answer["State"],
        name=answer.get("Name"),
        description=answer.get("Description"),
        platform=answer.get("Platform"),
        architecture=answer.get("Architecture"),
        boot_mode=answer.get("BootMode"),
        source_image_id=answer.get("SourceImageId"),
    )
