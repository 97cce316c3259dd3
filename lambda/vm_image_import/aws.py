"""EC2, Image Builder, Parameter Store and SNS: the only module that knows botocore and AWS's error codes."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NetworkError
from botocore.httpsession import URLLib3Session
from botocore.parsers import ResponseParserError

from vm_image_import.derive import names
from vm_image_import.derive.tags import PREFIX
from vm_image_import.errors import ClientTokenReusedError, PermanentError, TransientError
from vm_image_import.models import Ami, Disk, Image, ImageRequest, ImportBuild, ImportTask
from vm_image_import.text import one_line

if TYPE_CHECKING:
    import ssl

    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import DescribeImportImageTasksRequestTypeDef, ImageTypeDef, ImportImageTaskTypeDef
    from types_boto3_imagebuilder import ImagebuilderClient
    from types_boto3_imagebuilder.type_defs import ImageStateTypeDef
    from types_boto3_sns import SNSClient
    from types_boto3_ssm import SSMClient

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
"""Codes that botocore's `standard` retries treat as transient whatever their HTTP status is; some come with 400."""
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500

_CLIENT_TOKEN_REUSED: Final = "IdempotentParameterMismatchException"  # noqa: S105 - an error code, no secret
_IMAGE_NOT_FOUND: Final = "ResourceNotFoundException"
_NO_VERSION: Final = (_IMAGE_NOT_FOUND, "InvalidParameterValueException")
"""The codes of GetImage for `x.x.x` where no version is AVAILABLE. Which one it is is not documented.

The ARN is the only parameter, and its form is right.
"""
_PAGE_SIZE: Final = 25
_MAX_PAGES: Final = 10
"""Beyond 250 versions the highest one may be missed while it is not AVAILABLE: its version then gets another build."""
_MAX_REASON: Final = 4_000
"""Characters; messages of components have up to 384,000 (API reference, `ComponentFailure`)."""
_AMI_NOT_FOUND: Final = ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable")
_RESOURCE_NOT_FOUND: Final = (*_AMI_NOT_FOUND, "InvalidSnapshot.NotFound")
_PARAMETER_NOT_FOUND: Final = "ParameterNotFound"
_ENDED: Final = frozenset({"completed", "deleted"})
"""The states of a task that has ended, with its result (observed output)."""
_TASK_NOT_FOUND: Final = "InvalidConversionTaskId"
"""The beginning of the code; EC2 also answers an empty list (both observed)."""


class TaskPage(NamedTuple):
    """One page of import tasks, and the token of the next one; None at the end."""

    tasks: Sequence[ImportTask]
    next_token: str | None = None


class Ec2:
    """Import tasks and AMIs, as EC2 shows them."""

    def __init__(self, client: "EC2Client") -> None:
        self._client = client

    def find_task(self, import_task_id: str) -> ImportTask | None:
        """Return the task, or None where EC2 does not list it. Raises TransientError or PermanentError."""
        with translate_errors():
            try:
                answer = self._client.describe_import_image_tasks(ImportTaskIds=[import_task_id])
            except ClientError as error:
                if _code(error).startswith(_TASK_NOT_FOUND):
                    return None
                raise
        return next(map(import_task, _member(answer, "ImportImageTasks")), None)

    def list_ended_tasks(self, next_token: str | None) -> TaskPage:
        """Return those tasks of a page that ended in the last 7 days. Raises TransientError or PermanentError."""
        # Without the filter `task-state`, which may accept one value only. A task that is `deleting` has not ended: its
        # status message may not say yet whether it failed.
        request: DescribeImportImageTasksRequestTypeDef = {"NextToken": next_token} if next_token else {}
        with translate_errors():
            answer = self._client.describe_import_image_tasks(**request)
        tasks = map(import_task, _member(answer, "ImportImageTasks"))
        # Observed as an empty string in other lists of EC2.
        return TaskPage([task for task in tasks if task.status in _ENDED], answer.get("NextToken") or None)

    def find_ami(self, image_id: str) -> Ami | None:
        """Return the AMI, or None where EC2 does not show it. Raises TransientError or PermanentError."""
        with translate_errors():
            try:
                answer = self._client.describe_images(ImageIds=[image_id])
            except ClientError as error:
                if _code(error) in _AMI_NOT_FOUND:
                    return None
                raise
        return next(map(ami, _member(answer, "Images")), None)

    def find_ami_named(self, name: str) -> Ami | None:
        """Return this account's AMI of that name, or None. Raises TransientError or PermanentError."""
        with translate_errors():
            answer = self._client.describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": [name]}])
        # A copy can have the name, too.
        return min(map(ami, _member(answer, "Images")), key=lambda found: found.is_copy, default=None)

    def find_tags(self, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the tags of AMIs and snapshots by their ids; those without tags are missing.

        Raises TransientError or PermanentError.
        """
        by_id: Any = [{"Name": "resource-id", "Values": [*ids]}]
        pages = self._client.get_paginator("describe_tags").paginate(Filters=by_id)
        found: dict[str, dict[str, str]] = {}
        with translate_errors():
            for tag in (tag for page in pages for tag in _member(page, "Tags")):
                found.setdefault(tag["ResourceId"], {})[tag["Key"]] = tag["Value"]
        return found

    def create_tags(self, ids: Sequence[str], tags: Mapping[str, str]) -> bool:
        """Tag AMIs and snapshots; return False, with none of them tagged, where one does not exist.

        Raises TransientError or PermanentError.
        """
        with translate_errors():
            try:
                self._client.create_tags(
                    Resources=[*ids], Tags=[{"Key": key, "Value": value} for key, value in tags.items()]
                )
            except ClientError as error:
                if _code(error) in _RESOURCE_NOT_FOUND:
                    return False
                raise
        return True


class ImageBuilder:
    """The images of EC2 Image Builder."""

    def __init__(self, client: "ImagebuilderClient") -> None:
        self._client = client

    def import_vm_image(self, request: ImageRequest) -> str:
        """Register the image and return its build version's ARN.

        Raises TransientError, PermanentError, or ClientTokenReusedError where the client token came with other values
        before.
        """
        with translate_errors():
            answer = self._client.import_vm_image(**request.parameters())
        return str(_member(answer, "imageArn"))

    def find_image(self, arn: str) -> Image | None:
        """Return the image with this ARN, or None. Raises TransientError or PermanentError.

        The ARN is that of a build version. With `x.x.x` as version, it finds the highest one that is AVAILABLE.
        """
        answer = self._get_image(arn)
        if answer is None:
            return None
        state = answer.get("state", {})
        amis = answer.get("outputResources", {}).get("amis", [])
        region = self._client.meta.region_name
        return Image(
            answer.get("arn", arn),
            status=state.get("status", ""),
            reason=_failure_reason(state),
            # A pipeline may distribute an image to other Regions.
            ami_id=next((ami.get("image") for ami in amis if ami.get("region", region) == region), None),
            tagged_task_id=answer.get("tags", {}).get(f"{PREFIX}task-id"),
        )

    def list_versions(self, arn: str, name: str) -> list[str]:
        """Return semantic versions of an image, the highest one among them.

        `arn` is that of all versions; it finds the highest one that is AVAILABLE, however its name is written. `name`
        finds those that are not, by one of the ways to write it. Raises TransientError or PermanentError.
        """
        pages = self._client.get_paginator("list_images").paginate(
            owner="Self",
            # The filter compares names as they were written, unlike the ARN (API reference, `Filter`).
            filters=[{"name": "name", "values": sorted({name, names.arn_name(name)})}],
            PaginationConfig={"PageSize": _PAGE_SIZE, "MaxItems": _PAGE_SIZE * _MAX_PAGES},
        )
        with translate_errors():
            found = [version["version"] for page in pages for version in _member(page, "imageVersionList")]
        image = self._get_image(arn)
        # 1.4.2/1: the build is no part of the semantic version.
        return found if image is None else [*found, image["version"].partition("/")[0]]

    def list_import_builds(self) -> dict[str, list[ImportBuild]]:
        """Return all builds of this account that carry the tag of an import task, by the task's id, oldest first.

        It takes one call for 25 builds of the account. Builds of the last two minutes may be missing. Raises
        TransientError or PermanentError.
        """
        found: dict[str, list[ImportBuild]] = {}
        pages = self._client.get_paginator("list_image_build_versions").paginate(
            PaginationConfig={"PageSize": _PAGE_SIZE}
        )
        with translate_errors():
            summaries = [summary for page in pages for summary in _member(page, "imageSummaryList")]
        for summary in sorted(summaries, key=lambda summary: summary.get("dateCreated", "")):
            tags = summary.get("tags", {})
            task_id, ami_id = tags.get(f"{PREFIX}task-id"), tags.get(f"{PREFIX}ami-id")
            amis = [ami.get("image") for ami in summary.get("outputResources", {}).get("amis", [])]
            # Tags can be copied to other images. Only an import adopts the AMI of the task.
            if task_id and ami_id and summary.get("buildType") == "IMPORT" and amis in ([], [ami_id]):
                found.setdefault(task_id, []).append(ImportBuild(summary["arn"], ami_id))
        return found

    def _get_image(self, arn: str) -> Any:  # noqa: ANN401 - a member of an answer
        """Return GetImage's image, or None where the ARN names none. Raises TransientError or PermanentError."""
        with translate_errors():
            try:
                return _member(self._client.get_image(imageBuildVersionArn=arn), "image")
            except ClientError as error:
                if _code(error) in (_NO_VERSION if arn.endswith("/x.x.x") else (_IMAGE_NOT_FOUND,)):
                    return None
                raise


class Topic:
    """The SNS topic of the notifications."""

    def __init__(self, client: "SNSClient", arn: str) -> None:
        self._client = client
        self._arn = arn

    def publish(self, subject: str, message: str, outcome: str) -> None:
        """Publish a message that has a form for each protocol, with `outcome` as message attribute.

        Raises TransientError or PermanentError.
        """
        with translate_errors():
            self._client.publish(
                TopicArn=self._arn,
                Subject=subject,
                Message=message,
                MessageStructure="json",
                MessageAttributes={"outcome": {"DataType": "String", "StringValue": outcome}},
            )


class ParameterStore:
    """The parameters of AWS Systems Manager."""

    def __init__(self, client: "SSMClient") -> None:
        self._client = client

    def find(self, name: str) -> str | None:
        """Return the value of a parameter, or None. Raises TransientError or PermanentError."""
        with translate_errors():
            try:
                answer = self._client.get_parameter(Name=name)
            except ClientError as error:
                if _code(error) == _PARAMETER_NOT_FOUND:
                    return None
                raise
        return str(_member(answer, "Parameter")["Value"])

    def put_ami(self, name: str, ami_id: str, description: str) -> None:
        """Write the id of an AMI, which Systems Manager checks only after it has answered.

        Raises TransientError or PermanentError.
        """
        with translate_errors():
            self._client.put_parameter(
                Name=name,
                Value=ami_id,
                Description=description,
                Type="String",
                DataType="aws:ec2:image",
                Overwrite=True,
            )


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
        code, status = _code(error), error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code in RETRYABLE_ERROR_CODES or status == _TOO_MANY_REQUESTS or status >= _SERVER_ERROR:
            raise TransientError(str(error)) from error
        kind = ClientTokenReusedError if code == _CLIENT_TOKEN_REUSED else PermanentError
        raise kind(str(error), code, certain=not error.response["ResponseMetadata"].get("RetryAttempts")) from error
    except (HTTPClientError, NetworkError, ResponseParserError, UnicodeDecodeError) as error:
        raise TransientError(str(error)) from error
    except BotoCoreError as error:
        raise PermanentError(str(error)) from error


def _failure_reason(state: "ImageStateTypeDef") -> str | None:
    """Return why an image failed: Image Builder's reason, and what its `failureContext` adds."""
    context: Any = state.get("failureContext", {})
    details = [
        state.get("reason"),
        context.get("imageStatus") and f"stage {context['imageStatus']}",
        context.get("failedStep") and f"step {context['failedStep']}",
        context.get("componentFailure", {}).get("errorMessage"),
        context.get("distributionFailure", {}).get("errorMessage"),
    ]
    return one_line("; ".join(filter(None, details)), _MAX_REASON) or None


def _member(answer: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - any member
    """Return a member of an answer. Raises TransientError where it is missing: a proxy may have answered."""
    if name not in answer:
        message = f"AWS's answer has no {name}."
        raise TransientError(message)
    return answer[name]


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


def _parse_time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text or "")
    except ValueError:
        return None


def ami(answer: "ImageTypeDef") -> Ami:
    """Return the AMI that EC2 describes."""
    return Ami(
        id=answer["ImageId"],
        created=_parse_time(answer.get("CreationDate")),
        state=answer["State"],
        owner_id=answer.get("OwnerId"),
        name=answer.get("Name"),
        description=answer.get("Description"),
        platform=answer.get("Platform"),
        architecture=answer.get("Architecture"),
        boot_mode=answer.get("BootMode"),
        source_image_id=answer.get("SourceImageId"),
        snapshot_ids=tuple(
            mapping["Ebs"]["SnapshotId"]
            for mapping in answer.get("BlockDeviceMappings", [])
            if "SnapshotId" in mapping.get("Ebs", {})
        ),
    )
