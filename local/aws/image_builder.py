"""EC2 Image Builder for moto, which has none: ImportVmImage, and the operations to get, list, tag and delete images.

`install()` adds the service, for `mock_aws()` and for moto's server. An image is PENDING until its import task has
ended: `advance()` updates the images and returns the events that AWS sends meanwhile.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import RLock
from types import ModuleType, SimpleNamespace
from typing import Any, Final

from moto import backend_index
from moto.core.base_backend import BackendDict, BaseBackend
from moto.core.responses import ActionResult, BaseResponse
from moto.moto_api._internal import mock_random

from local.aws import common, constraints, switches, vm_import
from local.aws.common import Event, ServiceError

_SERVICE: Final = "imagebuilder"
_URL: Final = r"https?://imagebuilder\.(.+)\.amazonaws\.com"
_FILTERS: Final = ("name", "osVersion", "platform", "type", "version")
_PAGE_SIZE: Final = 25
_TAGS_MAX: Final = 50
_REASON_MAX: Final = 1024
_TOKEN_STEPS: Final = 15
_IN_PROGRESS: Final = ("PENDING", "importing")
"""The enum of the model has no `importing`; the user guide has it in two sentences."""
RUNNING: Final = frozenset({*_IN_PROGRESS, "CREATING", "BUILDING", "TESTING", "DISTRIBUTING", "INTEGRATING"})
"""The states of an image whose build is still running: an import has the first two, other builds have the others."""

# The error code for an invalid parameter is not documented. ImportVmImage, GetImage and the list operations declare
# ClientException for errors of the client, the tagging operations InvalidParameterException. Both have status 400.
_INVALID: Final = "ClientException"
_INVALID_IN_TAGGING: Final = "InvalidParameterException"
_NO_SUCH_FILTER: Final = "InvalidRequestException"
_NO_SUCH_PAGE: Final = "InvalidPaginationTokenException"
_NOT_FOUND: Final = "ResourceNotFoundException"
_NO_VERSION: Final = "InvalidParameterValueException"
_MISMATCH: Final = "IdempotentParameterMismatchException"
# With which error DeleteImage fails for a running build is not documented: this is the one that the API reference names
# in the sentence before.
_DEPENDENCY: Final = "ResourceDependencyException"

_lock: Final = RLock()


def arn_name(name: str) -> str:
    """Return the name of an image as its ARN has it.

    It is in lower case, with hyphens for spaces and underscores (API reference, `Filter`).
    """
    return re.sub("[ _]", "-", name.lower())


@dataclass
class Image:
    """One build of an image, with the parameters of its ImportVmImage request."""

    version_arn: str
    build: int
    owner: str
    params: Mapping[str, Any]
    created: str
    tags: dict[str, str]
    state: dict[str, str] = field(
        default_factory=lambda: {"status": _IN_PROGRESS[switches.current().image_is_importing]}
    )
    amis: list[dict[str, str]] = field(default_factory=list)
    build_type: str = "IMPORT"

    @property
    def arn(self) -> str:
        """The full build version ARN."""
        return f"{self.version_arn}/{self.build}"

    @property
    def nodes(self) -> list[str]:
        """The parts of the semantic version."""
        return str(self.params["semanticVersion"]).split(".")

    def describe(self) -> dict[str, Any]:
        """Return the fields of GetImage and of the lists; moto's serializer picks those that an operation has."""
        optional = {name: self.params[name] for name in ("osVersion", "loggingConfiguration") if name in self.params}
        return {
            "arn": self.arn,
            "type": "AMI",
            "name": self.params["name"],
            "version": f"{self.params['semanticVersion']}/{self.build}",
            "platform": self.params["platform"],
            "state": self.state,
            "owner": self.owner,
            "dateCreated": self.created,
            "outputResources": {"amis": self.amis},
            "tags": self.tags or None,
            "buildType": self.build_type,
            **optional,
        }

    def describe_version(self) -> dict[str, Any]:
        """Return the fields of ListImages: those of the version, without the build."""
        return {**self.describe(), "arn": self.version_arn, "version": self.params["semanticVersion"]}


class ImageBuilderBackend(BaseBackend):
    """The images of one account in one Region. moto resets it together with its own backends."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.images: dict[str, Image] = {}
        self.tokens: dict[str, tuple[Mapping[str, Any], dict[str, str]]] = {}
        self.token_ages: dict[str, int] = {}
        """Each client token's age in steps."""
        self.lifecycle_policies: dict[str, dict[str, Any]] = {}
        """The properties of `AWS::ImageBuilder::LifecyclePolicy`, by name."""

    @property
    def _url_module(self) -> SimpleNamespace:
        # moto imports a backend's URLs from the module `urls` beside it, which only its own services have.
        return SimpleNamespace(url_bases=[_URL], url_paths={"{0}/.*": ImageBuilderResponse.dispatch})

    def import_vm_image(self, params: Mapping[str, Any]) -> dict[str, str]:
        """Return the answer of ImportVmImage; the same client token gets the same answer again."""
        token, task_id = params["clientToken"], params["vmImportTaskId"]
        with _lock:
            if token in self.tokens:
                previous, answer = self.tokens[token]
                if previous != params:
                    raise ServiceError(_MISMATCH, f"Client token {token} was used before, with other parameters.")
                return answer
            task = self.task(task_id)
            if task and (refused := task.machine.get("import-vm-image-error")):
                raise ServiceError(refused, f"The disk of {task_id} asks for this error.")
            failure = self.failure(task_id)
            if failure and not switches.current().failed_task_fails_later:
                raise ServiceError(_INVALID, failure)
            has_image = any(image.params["vmImportTaskId"] == task_id for image in self.images.values())
            if has_image and switches.current().second_import_is_refused:
                raise ServiceError(_INVALID, f"VM import task {task_id} has an image.")
            image = self._add(params)
            answer = {"requestId": str(mock_random.uuid4()), "imageArn": image.arn, "clientToken": token}
            self.tokens[token], self.token_ages[token] = (params, answer), 0
        return answer

    def age_tokens(self) -> None:
        """Let every client token be a step older."""
        with _lock:
            for token in self.token_ages:
                self.token_ages[token] += 1
                if switches.current().client_token_is_forgotten and self.token_ages[token] >= _TOKEN_STEPS:
                    self.tokens.pop(token, None)

    def _add(self, params: Mapping[str, Any]) -> Image:
        version = f"{arn_name(params['name'])}/{params['semanticVersion']}"
        version_arn = f"arn:{self.partition}:imagebuilder:{self.region_name}:{self.account_id}:image/{version}"
        image = Image(
            version_arn=version_arn,
            build=1 + max((image.build for image in self.builds(version_arn)), default=0),
            owner=self.account_id,
            params=params,
            created=common.clock().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            tags=dict(params.get("tags", {})),
        )
        self.images[image.arn] = image
        return image

    def builds(self, version_arn: str | None = None) -> list[Image]:
        """Return all builds, or those of one version, oldest first."""
        return [image for image in [*self.images.values()] if version_arn in {None, image.version_arn}]

    def get(self, arn: str) -> Image:
        """Return the build with exactly this ARN."""
        if arn not in self.images:
            raise ServiceError(_NOT_FOUND, f"The resource ARN '{arn}' does not exist.")
        return self.images[arn]

    def resolve(self, arn: str) -> str:
        """Return the build version ARN for an ARN without a build, which may have `x` in its version.

        It is the highest version that is AVAILABLE, as documented for the parent image of a recipe. Any other ARN, and
        one that matches no image, is returned unchanged.
        """
        image_arn, _, version = arn.rpartition("/")
        wanted = version.split(".")
        matching = [
            image
            for image in self.builds()
            if image.state["status"] == "AVAILABLE"
            and image.version_arn.startswith(f"{image_arn}/")
            and len(wanted) == len(image.nodes)
            and all(each in {"x", node} for each, node in zip(wanted, image.nodes, strict=True))
        ]
        highest = max(matching, key=lambda image: (*map(int, image.nodes), image.build), default=None)
        return highest.arn if highest else arn

    def task(self, task_id: str) -> vm_import.Task | None:
        """Return the import task with this id, None if EC2 does not list it (any more)."""
        return vm_import.backends[self.account_id][self.region_name].find(task_id)

    def failure(self, task_id: str) -> str | None:
        """Return why an import task has no AMI, None if it is completed or in progress."""
        task = self.task(task_id)
        if task is None:
            return f"VM import task {task_id} does not exist."
        if task.answer["Status"] in {"deleting", "deleted"}:
            return f"VM import task {task_id} did not complete: {task.answer['StatusMessage']}"
        return None

    def update_state(self, image: Image) -> bool:
        """Update a PENDING image from its import task; return whether its state changed."""
        task_id = image.params["vmImportTaskId"]
        with _lock:
            if image.state["status"] not in _IN_PROGRESS:
                return False
            task = self.task(task_id)
            if failure := self.failure(task_id) or (task and task.machine.get("image-reason")):
                image.state = {"status": "FAILED", "reason": failure[:_REASON_MAX]}
            elif task and task.answer["Status"] == "completed":
                ami = {"image": task.answer["ImageId"], "name": task_id}
                is_named = bool(image.amis)
                image.amis = [{**ami, "region": self.region_name, "accountId": self.account_id}]
                if switches.current().pending_image_names_ami and not is_named:
                    return False
                image.state = {"status": "AVAILABLE"}
                if switches.current().image_tags_reach_ami:
                    vm_import.backends[self.account_id][self.region_name].ec2.create_tags([ami["image"]], image.tags)
            return image.state["status"] not in _IN_PROGRESS


class ImageBuilderResponse(BaseResponse):
    """The operations of the API, by their names in snake case, as moto calls them."""

    def __init__(self) -> None:
        super().__init__(service_name=_SERVICE)
        self.automated_parameter_parsing = True

    @property
    def backend(self) -> ImageBuilderBackend:
        """The images of the caller's account and Region."""
        return backends[self.current_account][self.region]

    def import_vm_image(self) -> ActionResult:
        """ImportVmImage."""
        return ActionResult(self.backend.import_vm_image(self._valid_params()))

    def get_image(self) -> ActionResult:
        """GetImage."""
        backend, arn = self.backend, self._valid_params()["imageBuildVersionArn"]
        found = backend.resolve(arn)
        if found.endswith("/x.x.x") and switches.current().no_version_is_invalid:
            raise ServiceError(_NO_VERSION, f"No version of '{arn}' is available.")
        return _result(image=backend.get(found).describe())

    def delete_image(self) -> ActionResult:
        """DeleteImage. The AMI stays, and a build that is still running cannot be deleted (API reference)."""
        image = self.backend.get(self._valid_params()["imageBuildVersionArn"])
        if image.state["status"] in RUNNING:
            raise ServiceError(_DEPENDENCY, f"The build of {image.arn} is still running.")
        del self.backend.images[image.arn]
        return _result(imageBuildVersionArn=image.arn)

    def list_images(self) -> ActionResult:
        """ListImages: one entry for each version. No owner but `Self` has images."""
        params = self._valid_params()
        builds = self.backend.builds() if params.get("owner", "Self") == "Self" else []
        versions = {image.version_arn: image.describe_version() for image in builds}
        return self._page("imageVersionList", list(versions.values()), params)

    def list_image_build_versions(self) -> ActionResult:
        """ListImageBuildVersions."""
        params = self._valid_params()
        builds = [image.describe() for image in self.backend.builds(params.get("imageVersionArn"))]
        return self._page("imageSummaryList", builds, params)

    def tag_resource(self) -> ActionResult:
        """TagResource."""
        params = self._valid_params(_INVALID_IN_TAGGING)
        image = self.backend.get(params["resourceArn"])
        tags = {**image.tags, **params["tags"]}
        if len(tags) > _TAGS_MAX:
            raise ServiceError(_INVALID_IN_TAGGING, f"A resource has at most {_TAGS_MAX} tags.")
        image.tags = tags
        return ActionResult({})

    def untag_resource(self) -> ActionResult:
        """UntagResource."""
        params = self._valid_params(_INVALID_IN_TAGGING)
        image = self.backend.get(params["resourceArn"])
        image.tags = {key: value for key, value in image.tags.items() if key not in params["tagKeys"]}
        return ActionResult({})

    def list_tags_for_resource(self) -> ActionResult:
        """ListTagsForResource."""
        params = self._valid_params(_INVALID_IN_TAGGING)
        return ActionResult({"tags": self.backend.get(params["resourceArn"]).tags})

    def _valid_params(self, code: str = _INVALID) -> dict[str, Any]:
        params: dict[str, Any] = self._get_params()
        if problems := constraints.check(_SERVICE, self._get_action(), params):
            raise ServiceError(code, constraints.message(problems))
        return params

    def _page(self, member: str, images: Sequence[dict[str, Any]], params: Mapping[str, Any]) -> ActionResult:
        for given in params.get("filters", []):
            name, values = given.get("name"), given.get("values", [])
            if name not in _FILTERS:
                raise ServiceError(_NO_SUCH_FILTER, f"The filter '{name}' is invalid.")
            images = [image for image in images if image.get(name) in values]
        try:
            page, token = common.paginate(images, params.get("maxResults", _PAGE_SIZE), params.get("nextToken"))
        except ValueError:
            raise ServiceError(_NO_SUCH_PAGE, "The pagination token is invalid.") from None
        return _result(**{member: page, "nextToken": token})


# BackendDict reads the list of Regions from this service's endpoints; botocore has none for Image Builder.
backends: Final = BackendDict(ImageBuilderBackend, "ec2")


def install() -> None:
    """Add Image Builder to moto, and VM import, which it reads. A second call changes nothing."""
    vm_import.install()
    module = ModuleType("moto.imagebuilder")
    vars(module).update(imagebuilder_backends=backends)
    sys.modules[module.__name__] = module
    if all(service != _SERVICE for service, _ in backend_index.backend_url_patterns):
        backend_index.backend_url_patterns.append((_SERVICE, re.compile(_URL)))


def advance(account_id: str, region: str) -> list[Event]:
    """Update every PENDING image from its import task; return an event for each that changed its state."""
    backend = backends[account_id][region]
    backend.age_tokens()
    previous = {image.arn: image.state["status"] for image in backend.builds()}
    changed = [image for image in backend.builds() if backend.update_state(image)]
    return [
        common.event(
            backend,
            ("aws.imagebuilder", "EC2 Image Builder Image State Change"),
            image.arn,
            {"previous-state": {"status": previous[image.arn]}, "state": {"status": image.state["status"]}},
        )
        for image in changed
        if not switches.current().no_image_event
    ]


def _result(**members: object) -> ActionResult:
    return ActionResult({"requestId": str(mock_random.uuid4()), **members})
