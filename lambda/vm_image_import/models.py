"""What the use cases work with: what EC2 and Image Builder say, the request, and the outcome."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, Self
from urllib.parse import urlparse

if TYPE_CHECKING:
    from types_boto3_imagebuilder.type_defs import ImportVmImageRequestTypeDef


@dataclass(frozen=True, slots=True)
class AwsEnvironment:
    """The account and the Region, with their partition (`aws`, `aws-cn` …)."""

    partition: str
    region: str
    account: str

    @classmethod
    def of_function(cls, arn: str) -> Self:
        """Return the environment of the function with this ARN, `arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME`."""
        _, partition, _, region, account, *_ = arn.split(":")
        return cls(partition, region, account)

    def image_arn(self, name: str) -> str:
        """Return the ARN of all versions of an image, `name` being written as in ARNs."""
        return f"arn:{self.partition}:imagebuilder:{self.region}:{self.account}:image/{name}/x.x.x"


_IMPORT_AMI_NAME: Final = re.compile(r"import-ami-[0-9a-z]{8,}")
"""An import's AMI is named like its import task (observed output; ids of 8 and of 17 characters were seen)."""


_BOOT_DEVICES: Final = ("/dev/sda1", "/dev/xvda")


@dataclass(frozen=True, slots=True)
class Disk:
    """Where one disk was imported from: an object in S3, or a URL, or neither (a snapshot)."""

    bucket: str | None = None
    key: str | None = None
    url: str | None = None
    device_name: str | None = None

    @property
    def source(self) -> str | None:
        """The disk's address as `s3://BUCKET/KEY`, or its URL without what may be secret (user, parameters, query)."""
        if self.bucket and self.key:
            return f"s3://{self.bucket}/{self.key}"
        try:
            scheme, host, path, *_ = urlparse(self.url or "")
        except ValueError:
            return None
        return f"{scheme}://{host.rpartition('@')[2]}{path}" if host else None


@dataclass(frozen=True, slots=True)
class ImportTask:
    """An import task. EC2 leaves out every field but the id when it has nothing to tell."""

    id: str
    status: str | None = None
    status_message: str | None = None
    progress: str | None = None
    image_id: str | None = None
    description: str | None = None
    platform: str | None = None
    architecture: str | None = None
    boot_mode: str | None = None
    license_type: str | None = None
    disks: tuple[Disk, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def boot_disk(self) -> Disk:
        """The disk that gives the import its name: EC2 promises no order of disks, so it is told by its device."""
        boot_disks = [disk for device in _BOOT_DEVICES for disk in self.disks if disk.device_name == device]
        return [*boot_disks, *self.disks, Disk()][0]

    @property
    def ended_without_ami(self) -> bool:
        """Whether the task failed or was cancelled: both end as `deleted` (observed output)."""
        return self.status == "deleted"

    @property
    def cancelled(self) -> bool:
        """Whether a task that ended without an AMI was cancelled.

        Only the status message tells a cancelled task from a failed one (observed output). Its wording is not
        documented, so any message that speaks of cancelling counts.
        """
        return self.ended_without_ami and "cancel" in (self.status_message or "").lower()


@dataclass(frozen=True, slots=True)
class Image:
    """One build of an image in Image Builder."""

    arn: str
    status: str
    reason: str | None = None
    ami_id: str | None = None
    import_task_id: str | None = None
    """From its tag, which only this system sets."""


@dataclass(frozen=True, slots=True)
class Ami:
    """An AMI of this account and Region."""

    id: str
    created: datetime
    """When it was made, with a time zone."""
    state: str = "available"
    name: str | None = None
    description: str | None = None
    platform: str | None = None
    architecture: str | None = None
    boot_mode: str | None = None
    source_image_id: str | None = None

    @property
    def import_task_id(self) -> str | None:
        """The id of the import task that made this AMI, or None where its name tells that none did."""
        return self.name if self.name and _IMPORT_AMI_NAME.fullmatch(self.name) else None

    @property
    def is_copy(self) -> bool:
        """Whether it was copied from another AMI. A copy keeps the name of what it was copied from."""
        return self.source_image_id is not None


Platform = Literal["Windows", "Linux", "macOS"]
"""The values of the parameter `platform` (API reference, `ImportVmImage`)."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the payload states instead of what would be derived; None where it states nothing."""

    name: str | None = None
    semantic_version: str | None = None
    description: str | None = None
    platform: Platform | None = None
    os_version: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One complete request, within every limit of the API."""

    name: str
    semantic_version: str
    description: str
    platform: Platform
    os_version: str | None
    tags: Mapping[str, str]
    import_task_id: str
    client_token: str
    log_group: str | None = None

    def parameters(self) -> "ImportVmImageRequestTypeDef":
        """Return the request in the API's own shape; a parameter without a value is left out."""
        parameters: ImportVmImageRequestTypeDef = {
            "name": self.name,
            "semanticVersion": self.semantic_version,
            "description": self.description,
            "platform": self.platform,
            "vmImportTaskId": self.import_task_id,
            "tags": self.tags,
            "clientToken": self.client_token,
        }
        if self.os_version:
            parameters["osVersion"] = self.os_version
        if self.log_group:
            parameters["loggingConfiguration"] = {"logGroupName": self.log_group}
        return parameters


class OutcomeKind(StrEnum):
    """The outcomes that a caller can rely on."""

    REGISTERED = "REGISTERED"
    DRY_RUN = "DRY_RUN"
    IMPORT_FAILED = "IMPORT_FAILED"
    IMPORT_CANCELLED = "IMPORT_CANCELLED"
    REJECTED = "REJECTED"
    IGNORED = "IGNORED"
    IN_PROGRESS = "IN_PROGRESS"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_REGISTERED = "ALREADY_REGISTERED"
    IMAGE_AVAILABLE = "IMAGE_AVAILABLE"
    IMAGE_FAILED = "IMAGE_FAILED"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One outcome; what does not apply is None."""

    kind: OutcomeKind
    import_task_id: str | None = None
    image_arn: str | None = None
    """The full ARN of the image build version."""
    request: Mapping[str, object] | None = None
    """The `ImportVmImage` request, in the API's own shape."""
    reason: str | None = None
    """For a person: what happened and what to do."""
    ami_id: str | None = None
    """For the notice; no part of the answer."""
    news: bool = True
    """Whether people do not know it yet; no part of the answer."""

    def as_answer(self) -> dict[str, object]:
        """Return the function's answer; keys that do not apply are left out."""
        answer: dict[str, object | None] = {
            "outcome": self.kind.value,
            "importTaskId": self.import_task_id,
            "imageArn": self.image_arn,
            "request": self.request,
            "reason": self.reason,
        }
        return {key: value for key, value in answer.items() if value is not None}
