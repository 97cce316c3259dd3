"""What the use cases work with: what EC2 and Image Builder say, and the request."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types_boto3_imagebuilder.type_defs import ImportVmImageRequestTypeDef


class AwsEnvironment(NamedTuple):
    """The account and the Region, with their partition (`aws`, `aws-cn` …)."""

    partition: str
    region: str
    account: str

    @classmethod
    def of_function(cls, arn: str) -> Self:
        """Return the environment of the function with this ARN, `arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME`."""
        _, partition, _, region, account, *_ = arn.split(":")
        return cls(partition, region, account)


IMPORT_TASK_ID: Final = re.compile(r"import-ami-[0-9a-z]{8,64}")
"""An import task's id, which is also the name of its AMI (observed output; ids of 8 and of 17 characters were seen)."""


_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(?::\d+)?|\[[0-9a-fA-F:.]+\](?::\d+)?", re.ASCII)


_BOOT_DEVICES: Final = ("/dev/sda1", "/dev/xvda")


class Disk(NamedTuple):
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
            parts = urlsplit(self.url or "")
        except ValueError:
            return None
        host = parts.netloc.rpartition("@")[2]
        # Where a user's password has a slash, a part of it looks like a port or a path.
        if not _HOST.fullmatch(host) or "@" in parts.path:
            return None
        path = "/".join(segment.partition(";")[0] for segment in parts.path.split("/"))
        return f"{parts.scheme}://{host}{path}"


class ImportTask(NamedTuple):
    """An import task. Any field but the id may be missing (observed output)."""

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
    tags: Mapping[str, str] = {}

    @property
    def boot_disk(self) -> Disk:
        """The disk that gives the import its name, by its device: EC2 promises no order of disks."""
        boot_disks = [disk for device in _BOOT_DEVICES for disk in self.disks if disk.device_name == device]
        return [*boot_disks, *self.disks, Disk()][0]

    @property
    def disk_files(self) -> list[str]:
        """The addresses of the disks' files."""
        return [disk.source for disk in self.disks if disk.source]

    @property
    def step(self) -> str:
        """What EC2 says of a running import, like `converting, 39 %`; empty where it says nothing."""
        return ", ".join(filter(None, (self.status_message, self.progress and f"{self.progress} %")))

    @property
    def ended_without_ami(self) -> bool:
        """Whether the task failed or was cancelled: both end as `deleted` (observed output)."""
        return self.status == "deleted"

    @property
    def is_being_deleted(self) -> bool:
        """Whether the task has ended, and its status message may not say yet whether it failed or was cancelled."""
        return self.status == "deleting"

    @property
    def is_active(self) -> bool:
        """Whether the import is still running. A status that is not known here is taken for a running import."""
        return self.status not in {None, "completed", "deleted", "deleting"}


class Image(NamedTuple):
    """One build of an image in Image Builder."""

    arn: str
    status: str
    reason: str | None = None
    ami_id: str | None = None
    tagged_task_id: str | None = None
    """The value of the tag `vm-image-import:task-id`, which anybody may set."""
    is_import: bool = True
    """Whether `ImportVmImage` made it."""

    @property
    def import_task_id(self) -> str | None:
        """The import task that the tag names, or None where its value is no id of an import task."""
        task_id = self.tagged_task_id
        return task_id if task_id and IMPORT_TASK_ID.fullmatch(task_id) else None


SUPERSEDED: Final = "vm-image-import:superseded"
"""The key of the tag whose value is the day since which an image is superseded."""
DELETE: Final = "vm-image-import:delete"
"""The key of the tag whose value is the day from which an image may be deleted, and from that day on `yes`."""
KEEP: Final = "vm-image-import:keep"
"""The key of the tag that keeps an image, whatever its value is."""


class Marks(NamedTuple):
    """What the tags of an image build version say about its retention. Anybody may set them."""

    superseded: str | None = None
    """The value of SUPERSEDED."""
    delete: str | None = None
    """The value of DELETE."""
    is_kept: bool = False
    """Whether it has the tag KEEP."""


NO_MARKS: Final = Marks()


class Build(NamedTuple):
    """An image build version, as the list of builds shows it: what is needed of thousands."""

    arn: str
    status: str
    is_import: bool
    """Whether `ImportVmImage` made it."""
    ami_ids: tuple[str, ...] = ()
    """The AMIs that are its output in this Region; none while the list shows none."""
    tagged_task_id: str | None = None
    tagged_ami_id: str | None = None
    """The values of the tags `vm-image-import:task-id` and `vm-image-import:ami-id`, which anybody may set."""
    stated_name: str = ""
    """What its name was made of."""
    marks: Marks = NO_MARKS

    @property
    def is_usable(self) -> bool:
        """Whether it has not failed, and was neither cancelled nor deleted (API reference, `ImageState`)."""
        return self.status not in {"FAILED", "CANCELLED", "DELETED"}


class Ami(NamedTuple):
    """An AMI, of this account or of another one that shares it."""

    id: str
    created: datetime | None
    """When it was made, with a time zone. EC2 may leave it out."""
    state: str = "available"
    owner_id: str | None = None
    """The account that owns it."""
    name: str | None = None
    description: str | None = None
    platform: str | None = None
    architecture: str | None = None
    boot_mode: str | None = None
    source_image_id: str | None = None
    snapshot_ids: tuple[str, ...] = ()
    """Of its disks."""
    has_ena: bool = True
    """Whether `EnaSupport` is true (API reference, EC2 `Image`). Where it is missing, ENA is taken to be off."""
    kept_devices: tuple[str, ...] = ()
    """The devices of the volumes that stay when an instance is terminated (API reference, `EbsBlockDevice`)."""

    @property
    def import_task_id(self) -> str | None:
        """The id of the import task that made this AMI, or None where its name is not that of an import task."""
        return self.name if self.name and IMPORT_TASK_ID.fullmatch(self.name) else None

    @property
    def is_copy(self) -> bool:
        """Whether it was copied from another AMI. A copy may have the name of what it was copied from."""
        return self.source_image_id is not None


Platform = Literal["Windows", "Linux", "macOS"]
"""The values of the parameter `platform` (API reference, `ImportVmImage`)."""


class Overrides(NamedTuple):
    """What a payload states instead of what would be derived. None where it states nothing."""

    name: str | None = None
    semantic_version: str | None = None
    description: str | None = None
    platform: Platform | None = None
    os_version: str | None = None
    tags: Mapping[str, str] = {}


NO_OVERRIDES: Final = Overrides()
"""What an event and a sweep state."""


class ImageRequest(NamedTuple):
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
