"""EC2: import tasks and AMIs."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botocore.exceptions import ClientError

from vm_image_import.aws.session import code, member, translate_errors
from vm_image_import.deadline import Deadline
from vm_image_import.domain.errors import TransientError
from vm_image_import.domain.models import Ami, Disk, ImportTask
from vm_image_import.domain.text import without_secrets

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_ec2.type_defs import DescribeImportImageTasksRequestTypeDef, ImageTypeDef, ImportImageTaskTypeDef

_AMI_NOT_FOUND: Final = ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable")
_RESOURCE_NOT_FOUND: Final = (*_AMI_NOT_FOUND, "InvalidSnapshot.NotFound")
PAGE_SIZE: Final = 100
"""Tasks: EC2 recommends pages (developer guide, "Pagination in the Amazon EC2 API")."""
_TASK_NOT_FOUND: Final = "InvalidConversionTaskId"
"""The beginning of the code; EC2 also answers an empty list (both observed)."""
_FILTER_VALUES: Final = 200
"""The most values of a filter (user guide, "Filtering")."""
_CALLS_AFTER: Final = 5
"""The calls for which the list of AMIs leaves time: those of one change of retention."""


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
                if code(error).startswith(_TASK_NOT_FOUND):
                    return None
                raise
        return next(map(parse_import_task, member(answer, "ImportImageTasks")), None)

    def list_tasks(self, next_token: str | None) -> TaskPage:
        """Return a page of the tasks that are active or ended in the last 7 days.

        Raises TransientError or PermanentError.
        """
        request: DescribeImportImageTasksRequestTypeDef = {"MaxResults": PAGE_SIZE}
        if next_token:
            request["NextToken"] = next_token
        with translate_errors():
            answer = self._client.describe_import_image_tasks(**request)
        tasks = [parse_import_task(task) for task in member(answer, "ImportImageTasks")]
        # Observed as an empty string in other lists of EC2.
        return TaskPage(tasks, answer.get("NextToken") or None)

    def find_ami(self, image_id: str) -> Ami | None:
        """Return the AMI, or None where EC2 shows none or a deregistered one.

        Raises TransientError or PermanentError.
        """
        with translate_errors():
            try:
                # Without this, a disabled AMI may look like a deregistered one.
                answer = self._client.describe_images(ImageIds=[image_id], IncludeDisabled=True)
            except ClientError as error:
                if code(error) in _AMI_NOT_FOUND:
                    return None
                raise
        ami = next(map(parse_ami, member(answer, "Images")), None)
        return None if ami is None or ami.state == "deregistered" else ami

    def find_ami_of(self, task: ImportTask) -> Ami | None:
        """Return the AMI that a task names: anybody in the account may register another one with the task's name.

        Raises TransientError or PermanentError.
        """
        return self.find_ami(task.image_id) if task.image_id else None

    def find_available(self, ids: Collection[str], deadline: Deadline) -> set[str]:
        """Return those of this account's AMIs that are available; it is one call for 200.

        Raises TransientError, also where the invocation has no time for all of them, or PermanentError.
        """
        found, left = set[str](), sorted(ids)
        while left:
            # Not by `ImageIds`: EC2 answers an error where one of them does not exist.
            by_id: Any = [{"Name": "image-id", "Values": left[:_FILTER_VALUES]}]
            pages = self._client.get_paginator("describe_images").paginate(Owners=["self"], Filters=by_id)
            with translate_errors():
                images = [image for page in pages for image in member(page, "Images")]
            found |= {image["ImageId"] for image in images if image["State"] == "available"}
            left = left[_FILTER_VALUES:]
            if left and not deadline.allows(_CALLS_AFTER):
                message = "No time was left to look at the AMIs of all superseded images."
                raise TransientError(message)
        return found

    def find_tags(self, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the tags of AMIs and snapshots by their ids; those without tags are missing.

        Raises TransientError or PermanentError.
        """
        by_id: Any = [{"Name": "resource-id", "Values": [*ids]}]
        pages = self._client.get_paginator("describe_tags").paginate(Filters=by_id)
        found: dict[str, dict[str, str]] = {}
        with translate_errors():
            for tag in (tag for page in pages for tag in member(page, "Tags")):
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
                if code(error) in _RESOURCE_NOT_FOUND:
                    return False
                raise
        return True


def parse_import_task(answer: "ImportImageTaskTypeDef") -> ImportTask:
    """Return the task that EC2 describes; any field but the id may be absent."""
    details = answer.get("SnapshotDetails", [])
    return ImportTask(
        id=answer["ImportTaskId"],
        status=answer.get("Status"),
        status_message=_without_secrets(answer.get("StatusMessage")),
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
                key=_without_secrets(detail.get("UserBucket", {}).get("S3Key")),
                url=detail.get("Url"),
                device_name=detail.get("DeviceName"),
            )
            for detail in details
        ),
        tags={tag["Key"]: tag["Value"] for tag in answer.get("Tags", [])},
    )


def _without_secrets(text: str | None) -> str | None:
    """Return a text without the signature that a presigned URL has, for example."""
    return None if text is None else without_secrets(text)


def _parse_time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text or "")
    except ValueError:
        return None


def parse_ami(answer: "ImageTypeDef") -> Ami:
    """Return the AMI that EC2 describes."""
    disks = [mapping for mapping in answer.get("BlockDeviceMappings", []) if "Ebs" in mapping]
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
        snapshot_ids=tuple(disk["Ebs"]["SnapshotId"] for disk in disks if "SnapshotId" in disk["Ebs"]),
        has_ena=answer.get("EnaSupport") is True,
        kept_devices=tuple(
            disk["DeviceName"]
            for disk in disks
            if "DeviceName" in disk and not disk["Ebs"].get("DeleteOnTermination", True)
        ),
    )
