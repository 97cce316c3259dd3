"""EC2 Image Builder: images and their builds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botocore.exceptions import ClientError

from vm_image_import.aws.session import code, member, translate_errors
from vm_image_import.deadline import Deadline
from vm_image_import.derive.tags import PREFIX, STATED_NAME
from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.errors import TransientError, UnknownArnError
from vm_image_import.domain.models import DELETE, KEEP, NO_MARKS, SUPERSEDED, Build, Image, ImageRequest, Marks
from vm_image_import.domain.text import one_line, without_secrets

if TYPE_CHECKING:
    from types_boto3_imagebuilder import ImagebuilderClient
    from types_boto3_imagebuilder.type_defs import ImageStateTypeDef

_IMPORT: Final = "IMPORT"
"""The build type of images that `ImportVmImage` made."""
_IMAGE_NOT_FOUND: Final = "ResourceNotFoundException"
_VERSION_NOT_FOUND: Final = frozenset({_IMAGE_NOT_FOUND, "InvalidParameterException", "InvalidParameterValueException"})
"""With which of them Image Builder answers `x.x.x` of a name without an available version is not documented. To take
another error of this kind for it does no harm: where `x.x.x` names nothing, nothing is written."""
_PAGE_SIZE: Final = 100
"""The most builds of one page (botocore's model of `ListImageBuildVersions`)."""
_CALLS_AFTER: Final = 4
"""The calls for which the list of builds leaves time: to claim, request and record one registration, and one more."""
_MAX_REASON: Final = 4_000
"""Characters; the message of a component has at most 1,024 (API reference, `ComponentFailureContext`)."""


class ImportAnswer(NamedTuple):
    """What `ImportVmImage` answers."""

    arn: str
    """Of the image build version."""
    request_id: str
    """AWS Support asks for it."""


class ImageBuilder:
    """The images of EC2 Image Builder."""

    def __init__(self, client: "ImagebuilderClient") -> None:
        self._client = client

    def import_vm_image(self, request: ImageRequest) -> ImportAnswer:
        """Register the image.

        Raises TransientError, PermanentError, ClientTokenReusedError where the client token came with other values
        before, or UnknownArnError where the image has an ARN that cannot be recorded.
        """
        with translate_errors():
            answer = self._client.import_vm_image(**request.parameters())
        arn, request_id = str(member(answer, "imageArn")), answer.get("requestId", "")
        try:
            BuildArn.parse(arn)
        except ValueError as error:
            message = f"Image Builder made an image, and answered (request {request_id}): {error}"
            raise UnknownArnError(message, certain=False) from error
        return ImportAnswer(arn, request_id)

    def find_image(self, arn: str) -> Image | None:
        """Return the image build version with this ARN, of `…/x.x.x` the highest available one, or None.

        Raises TransientError or PermanentError.
        """
        not_found = _VERSION_NOT_FOUND if arn.endswith("/x.x.x") else {_IMAGE_NOT_FOUND}
        with translate_errors():
            try:
                answer = member(self._client.get_image(imageBuildVersionArn=arn), "image")
            except ClientError as error:
                if code(error) in not_found:
                    return None
                raise
        state = answer.get("state", {})
        return Image(
            answer.get("arn", arn),
            status=state.get("status", ""),
            reason=_failure_reason(state),
            ami_id=next(iter(self._amis(answer)), None),
            tagged_task_id=answer.get("tags", {}).get(f"{PREFIX}task-id"),
            is_import=answer.get("buildType", _IMPORT) == _IMPORT,
        )

    def list_builds(self, deadline: Deadline) -> Iterator[Build]:
        """Yield every image build version of this account; it is one call for 100 builds.

        Those of the last two minutes may be missing (API reference, `ListImages`). Raises TransientError, also where
        the invocation has no time for the whole list, or PermanentError.
        """
        pages = self._client.get_paginator("list_image_build_versions").paginate(
            PaginationConfig={"PageSize": _PAGE_SIZE}
        )
        with translate_errors():
            for page in pages:
                for summary in member(page, "imageSummaryList"):
                    tags = summary.get("tags", {})
                    yield Build(
                        summary["arn"],
                        summary.get("state", {}).get("status", ""),
                        summary.get("buildType") == _IMPORT,
                        tuple(self._amis(summary)),
                        tags.get(f"{PREFIX}task-id"),
                        tags.get(f"{PREFIX}ami-id"),
                        tags.get(STATED_NAME, summary.get("name", "")),
                        _marks(tags),
                    )
                if page.get("nextToken") and not deadline.allows(_CALLS_AFTER):
                    message = "Image Builder has more builds than one invocation has time to list."
                    raise TransientError(message)

    def tag(self, arn: str, tags: Mapping[str, str]) -> bool:
        """Tag an image build version; return whether it exists. Raises TransientError or PermanentError."""
        return self._change_tags(lambda: self._client.tag_resource(resourceArn=arn, tags=tags))

    def untag(self, arn: str, keys: Sequence[str]) -> bool:
        """Remove tags of an image build version; return whether it exists. Raises TransientError or PermanentError."""
        return self._change_tags(lambda: self._client.untag_resource(resourceArn=arn, tagKeys=keys))

    def _change_tags(self, change: Callable[[], object]) -> bool:
        with translate_errors():
            try:
                change()
            except ClientError as error:
                if code(error) == _IMAGE_NOT_FOUND:
                    return False
                raise
        return True

    def _amis(self, answer: Mapping[str, Any]) -> Iterator[str]:
        """Yield the AMIs of an image in this Region. A pipeline may distribute an image to other Regions."""
        region = self._client.meta.region_name
        for ami in answer.get("outputResources", {}).get("amis", []):
            if ami.get("region", region) == region and ami.get("image"):
                yield ami["image"]


def _marks(tags: Mapping[str, str]) -> Marks:
    if not {SUPERSEDED, DELETE, KEEP} & tags.keys():
        return NO_MARKS
    return Marks(tags.get(SUPERSEDED), tags.get(DELETE), KEEP in tags)


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
    return one_line(without_secrets("; ".join(filter(None, details))), _MAX_REASON) or None
