"""The `ImportVmImage` request, and what a person may overrule in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from types_boto3_imagebuilder.type_defs import ImportVmImageRequestTypeDef

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
