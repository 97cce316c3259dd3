"""What EC2 tells about an import: the import task and the AMI that it made."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import urlparse

_IMPORT_AMI_NAME: Final = re.compile(r"import-ami-[0-9a-z]{8,}")
"""An import's AMI is named like its import task (observed output; ids of 8 and of 17 characters were seen)."""


@dataclass(frozen=True, slots=True)
class Disk:
    """Where one disk was imported from: an object in S3, or a URL, or neither (a snapshot)."""

    bucket: str | None = None
    key: str | None = None
    url: str | None = None

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
    def first_disk(self) -> Disk:
        """The disk that gives the import its name: the boot disk, where there are several."""
        return self.disks[0] if self.disks else Disk()

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
