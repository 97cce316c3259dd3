"""EC2 VM import for moto, which has none: ImportImage, DescribeImportImageTasks and CancelImportTask.

`install()` adds the operations to moto's EC2, for `mock_aws()` and for moto's server. `advance()` advances every
unfinished task by one step and returns the events that AWS sends meanwhile.

The user metadata of a disk in S3 describes the imported machine: `platform` (Linux, Windows), `os` (for example
`Ubuntu 22.04.3 LTS - 5.15.0-97-generic`), `architecture`; `status-message` makes the import fail with this message,
`image-reason` its image, and `import-vm-image-error` makes Image Builder refuse it with this error code. With `ena` or
`delete-on-termination` `false`, its AMI lacks it.
"""

import re
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count
from string import ascii_lowercase
from threading import RLock
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import moto.ec2.models as ec2_models
import moto.ec2.models.tags as ec2_tags
import moto.ec2.utils as ec2_utils
from moto.core.base_backend import BackendDict, BaseBackend
from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.amis import Ami
from moto.ec2.responses import EC2Response
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, EC2_RESOURCE_TO_PREFIX, random_id
from moto.moto_api._internal import mock_random
from moto.s3.exceptions import MissingBucket
from moto.s3.models import s3_backends

from local.aws import common, constraints, switches
from local.aws.common import Event

_PREFIX: Final = "import-ami"
_TASK_STATES: Final = ("active", "completed", "deleting", "deleted")
# User guide: a task is listed while it is active and for 7 days after.
_LISTED_AFTER_END: Final = timedelta(days=7)
# Documented under "Troubleshooting VM import", and observed.
_ACCESS_DENIED: Final = (
    "ClientError: Disk validation failed [We do not have access to the given resource. Reason 403 Forbidden]"
)
# Only the message distinguishes a cancelled task from a failed one (observed output). The text is inferred from
# `AWS initiated task cancellation`, which was observed.
_CANCELLED: Final = "User initiated task cancellation"

_INVALID: Final = "InvalidParameterValue"
_MISMATCH: Final = "IdempotentParameterMismatch"
_MISSING: Final = "MissingParameter"
_NO_SUCH_PAGE: Final = "InvalidNextToken"
_WRONG_STATE: Final = "IncorrectState"

# API reference of ImportImage; the model has them as plain strings. AWS's examples differ in upper and lower case.
_ALLOWED_VALUES: Final = {
    "Architecture": {"i386", "x86_64"},
    "Format": {"ova", "vhd", "vhdx", "vmdk", "raw"},
    "LicenseType": {"aws", "byol"},
    "Platform": {"windows", "linux"},
}
_S3_URL: Final = re.compile(r"(?:s3:/|https://s3[.-][^/]*)/([^/]+)/(.+)|https://([^/]+)\.s3[.-][^/]*/(.+)")
_COPIED_PARAMETERS: Final = (
    *("Architecture", "BootMode", "Description", "Encrypted", "Hypervisor", "KmsKeyId", "LicenseSpecifications"),
    *("LicenseType", "Platform", "UsageOperation"),
)
_METADATA_PREFIX: Final = "x-amz-meta-"
_lock: Final = RLock()
_moto_mappings: Final = vars(Ami)["block_device_mappings"].fget
_moto_copy_image: Final = EC2Backend.copy_image
_moto_describe_images: Final = EC2Response.describe_images
_moto_get_prefix: Final = ec2_utils.get_prefix


class Disk(NamedTuple):
    """An uploaded disk: its size in bytes and the user metadata of its object in S3."""

    size: int
    metadata: dict[str, str]


class Task:
    """One import task: `answer` is what DescribeImportImageTasks returns, without the tags."""

    def __init__(self, backend: "VmImportBackend", request: Mapping[str, Any]) -> None:
        self.id = random_id(_PREFIX)
        self.request = request
        self.ended_at: datetime | None = None
        self.machine: Mapping[str, str] = {}
        """What the metadata of the disks says."""
        self._backend = backend
        self._steps = self._import()
        self.answer: dict[str, Any] = {
            "ImportTaskId": self.id,
            **{name: request[name] for name in _COPIED_PARAMETERS if request.get(name)},
            "SnapshotDetails": [{**disk, "DiskImageSize": 0.0} for disk in request["DiskContainers"]],
            "Status": "active",
            "StatusMessage": "pending",
            "Progress": "1",
        }

    def advance(self) -> None:
        """Advance the task by one step; a task that has ended stays as it is."""
        with _lock:
            changes = {**self.answer, **next(self._steps, {})}
        self.answer = {name: value for name, value in changes.items() if value is not None}
        if self.answer["Status"] in {"completed", "deleted"}:
            self.ended_at = self.ended_at or common.clock()

    def cancel(self, reason: str | None) -> None:
        """Stop the import: the task is `deleting` at once and ends as `deleted` (API reference)."""
        self._steps = _deletion(f"{_CANCELLED}: {reason}" if reason else _CANCELLED, self._backend.deleting_steps)
        self.advance()

    def _import(self) -> Iterator[dict[str, Any]]:
        """Yield the changes of each step to the answer; None removes a field."""
        yield {"StatusMessage": "validating", "Progress": "5"}
        containers = self.request["DiskContainers"]
        disks = [disk for disk in map(self._backend.read_disk, containers) if disk]
        if len(disks) < len(containers):
            yield from _deletion(_ACCESS_DENIED, self._backend.deleting_steps)
            return
        self.machine = machine = ChainMap(*(disk.metadata for disk in disks))
        known = {name: machine[name.lower()] for name in ("Platform", "Architecture") if name.lower() in machine}
        if {**known, **self.answer}.get("Platform", "").lower() == "linux":
            # Observed output: completed Linux tasks have it even if the request has not.
            known["LicenseType"] = "BYOL"
        details = list(map(_snapshot_detail, count(), self.answer["SnapshotDetails"], disks))
        yield {**known, **self.answer, "SnapshotDetails": details, "StatusMessage": "validated", "Progress": "10"}
        yield {"StatusMessage": "converting", "Progress": "28"}
        details = [{**detail, "Status": "completed"} for detail in details]
        if "status-message" in machine:
            yield from _deletion(machine["status-message"], self._backend.deleting_steps, SnapshotDetails=details)
            return
        for message, progress in (("updating", "40"), ("booting", "55"), ("booted", "70"), ("preparing ami", "85")):
            yield {"SnapshotDetails": details, "StatusMessage": message, "Progress": progress}
        registered = self._register_ami(machine.get("os"))
        if switches.current().ami_comes_first:
            yield {"ImageId": registered["ImageId"]} if switches.current().active_task_names_ami else {}
        yield {"Status": "completed", "StatusMessage": None, "Progress": None, **registered}

    def _register_ami(self, operating_system: str | None) -> dict[str, Any]:
        ec2 = self._backend.ec2
        platform = self.answer.get("Platform", "").capitalize()
        # Observed output for Linux; the form for Windows is inferred from it.
        found = " - ".join(filter(None, (platform, operating_system)))
        name = f"vm-{self.id}" if switches.current().ami_has_another_name else self.id
        ami = ec2.register_image(name, f"AWS-VMImport service: {found}".removesuffix(": "))
        self._backend.imported_amis.add(ami.id)
        vars(ami).update(
            architecture=self.answer.get("Architecture", "x86_64"),
            boot_mode=self.answer.get("BootMode"),
            creation_date=common.clock(),
            # Not documented: what an import sets.
            ena_support=self.machine.get("ena") != "false",
            deletes_volumes=self.machine.get("delete-on-termination") != "false",
            platform="windows" if platform == "Windows" else None,
            platform_details="Windows" if platform == "Windows" else "Linux/UNIX",
            root_device_type="ebs",
            virtualization_type="hvm",
        )
        root, details = ami.ebs_snapshot, self.answer["SnapshotDetails"]
        others = [ec2.copy_snapshot(root.id, ec2.region_name, root.description, None).id for _ in details[1:]]
        devices = [detail["DeviceName"] for detail in details[1:]]
        vars(ami).update(other_snapshots=dict(zip(devices, others, strict=True)))
        snapshots = zip(details, (root.id, *others), strict=True)
        return {"ImageId": ami.id, "SnapshotDetails": [{**detail, "SnapshotId": id_} for detail, id_ in snapshots]}


def _deletion(message: str, steps: int, **changes: object) -> Iterator[dict[str, Any]]:
    """Yield the last steps of a failed or cancelled task; its image id is empty (observed output)."""
    deleting = {"Status": "deleting", "Progress": None, "ImageId": "", **changes}
    for _ in range(steps - 1):
        yield {**deleting, "StatusMessage": "deleting"}
    yield {**deleting, "StatusMessage": message}
    yield {"Status": "deleted"}


def _snapshot_detail(number: int, detail: Mapping[str, Any], disk: Disk) -> dict[str, Any]:
    """Return the entry of SnapshotDetails for a validated disk.

    The first device is /dev/sda1 and an OVA contains VMDKs (observed output); the other device names are inferred.
    """
    known: dict[str, Any] = {"DeviceName": f"/dev/sd{ascii_lowercase[number]}{'' if number else 1}", **detail}
    if "Format" in known:
        known["Format"] = known["Format"].upper().replace("OVA", "VMDK")
    return {**known, "DiskImageSize": float(disk.size)}


class VmImportBackend(BaseBackend):
    """The import tasks of one account in one Region. moto resets it together with its own backends."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.tasks: dict[str, Task] = {}
        self.tokens: dict[str, Task] = {}
        self.available_amis: set[str] = set()
        self.imported_amis: set[str] = set()
        # Not documented: for how many steps a task is `deleting`, and that only the last one says why.
        self.deleting_steps = 1

    @property
    def ec2(self) -> EC2Backend:
        """EC2 of the same account and Region."""
        return ec2_backends[self.account_id][self.region_name]

    def listed_tasks(self) -> list[Task]:
        """Return the tasks that EC2 lists, oldest first: all but those that ended 7 days ago."""
        expired = common.clock() - _LISTED_AFTER_END
        return [task for task in [*self.tasks.values()] if task.ended_at is None or task.ended_at > expired]

    def find(self, task_id: str) -> Task | None:
        """Return the task with this id, None when EC2 does not list it (any more)."""
        return next((task for task in self.listed_tasks() if task.id == task_id), None)

    def expire(self, task_id: str) -> None:
        """Remove a task as if its 7 days were over."""
        del self.tasks[task_id]

    def start(self, request: Mapping[str, Any], tags: dict[str, str]) -> Task:
        """Return a new task for an ImportImage request, or the one that the same client token made before."""
        token = request.get("ClientToken", "")
        with _lock:
            if token in self.tokens:
                if self.tokens[token].request != request:
                    raise EC2ClientError(_MISMATCH, "The client token was used before, with other parameters.")
                return self.tokens[token]
            task = Task(self, request)
            self.tasks[task.id] = task
            if token:
                self.tokens[token] = task
        self.ec2.create_tags([task.id], tags)
        return task

    def describe(self, task: Task) -> dict[str, Any]:
        """Return a task as DescribeImportImageTasks does, with the tags that EC2 has for it."""
        tags = [{"Key": key, "Value": value} for key, value in self.ec2.tags.get(task.id, {}).items()]
        return {**task.answer, "Tags": tags} if tags or task.answer["Status"] == "deleted" else task.answer

    def read_disk(self, disk: Mapping[str, Any]) -> Disk | None:
        """Return the disk of a disk container, None if it cannot be read."""
        if "SnapshotId" in disk:
            snapshot = self.ec2.snapshots.get(disk["SnapshotId"])
            return Disk(snapshot.volume_size * 2**30, {}) if snapshot else None
        try:
            key = s3_backends[self.account_id][self.partition].get_object(*_location(disk))
        except MissingBucket:
            return None
        if key is None:
            return None
        return Disk(key.size, {name.removeprefix(_METADATA_PREFIX): value for name, value in key.metadata.items()})


# BackendDict reads the list of Regions from this service's endpoints.
backends: Final = BackendDict(VmImportBackend, "ec2")


def install() -> None:
    """Add VM import to moto's EC2. A second call changes nothing."""
    for operation in (import_image, describe_import_image_tasks, cancel_import_task, describe_images):
        setattr(EC2Response, operation.__name__, operation)
    setattr(EC2Backend, copy_image.__name__, copy_image)
    setattr(Ami, block_device_mappings.__name__, property(block_device_mappings))
    # CreateTags and DescribeTags read a resource's type from its id; moto expects one dash in an id.
    EC2_RESOURCE_TO_PREFIX["import-image-task"] = _PREFIX
    EC2_PREFIX_TO_RESOURCE[_PREFIX] = "import-image-task"
    for module in (ec2_utils, ec2_models, ec2_tags):
        setattr(module, get_prefix.__name__, get_prefix)


def advance(account_id: str, region: str) -> list[Event]:
    """Advance every unfinished task by one step; return an event for each AMI that is available since the last call."""
    backend = backends[account_id][region]
    for task in [*backend.tasks.values()]:
        task.advance()
    images = [ami for ami in backend.ec2.describe_images(owners=["self"]) if ami.state == "available"]
    new = [ami.id for ami in images if ami.id not in backend.available_amis]
    backend.available_amis = {ami.id for ami in images}
    return [
        common.event(
            backend,
            ("aws.ec2", "EC2 AMI State Change"),
            f"arn:{backend.partition}:ec2:{region}::image/{ami_id}",
            {"RequestId": str(mock_random.uuid4()), "ImageId": ami_id, "State": "available", "ErrorMessage": ""},
        )
        for ami_id in new
        if not (switches.current().no_ami_event and ami_id in backend.imported_amis)
    ]


def import_image(self: EC2Response) -> ActionResult:
    """ImportImage. The request succeeds even if a disk cannot be read; the task fails then (observed output)."""
    request = self._get_params()
    _raise_for(constraints.check("ec2", "ImportImage", request))
    disks = request.get("DiskContainers")
    if not disks:
        raise EC2ClientError(_MISSING, "The request must contain the parameter DiskContainers")
    for disk in disks:
        bucket = disk.get("UserBucket", {})
        if not (disk.get("Url") or disk.get("SnapshotId") or (bucket.get("S3Bucket") and bucket.get("S3Key"))):
            raise EC2ClientError(
                _MISSING, "A disk container must contain a UserBucket with S3Bucket and S3Key, a Url or a SnapshotId"
            )
    _raise_for(
        [
            f"Value ({given[name]}) for parameter {name} is invalid."
            for given in (request, *disks)
            for name, values in _ALLOWED_VALUES.items()
            if given.get(name) and given[name].lower() not in values
        ],
    )
    tags = self._parse_tag_specification("import-image-task").get("import-image-task", {})
    self.error_on_dryrun()
    backend = backends[self.current_account][self.region]
    return ActionResult(backend.describe(backend.start(request, tags)))


def describe_import_image_tasks(self: EC2Response) -> ActionResult:
    """DescribeImportImageTasks. The only filter is `task-state`, with "one of the following values" (API reference)."""
    backend = backends[self.current_account][self.region]
    size = self._get_param("MaxResults")
    states = set(_TASK_STATES)
    for name, values in self._filters_from_querystring().items():
        too_many = len(values) > 1 and switches.current().task_state_takes_one_value
        if name != "task-state" or not set(values) <= set(_TASK_STATES) or too_many:
            _raise_for([f"The filter '{name}' with the values {list(values)} is invalid"])
        states &= set(values)
    # The range of `MaxResults` is not documented.
    if size is not None and size < 1:
        _raise_for([f"Value ( {size} ) for parameter maxResults is invalid."])
    self.error_on_dryrun()
    tasks = backend.listed_tasks()
    wanted = self._get_param("ImportTaskIds") or [task.id for task in tasks]
    unknown = [each for each in wanted if backend.find(each) is None]
    if unknown and not switches.current().unknown_task_is_missing:
        raise _unknown_task(unknown[0])
    tasks = [task for task in tasks if task.id in wanted and task.answer["Status"] in states]
    try:
        page, token = common.paginate(tasks, size, self._get_param("NextToken"))
    except ValueError:
        raise EC2ClientError(_NO_SUCH_PAGE, "The pagination token is invalid") from None
    if switches.current().next_token_is_empty:
        token = token or ""
    return ActionResult({"ImportImageTasks": [backend.describe(task) for task in page], "NextToken": token})


def cancel_import_task(self: EC2Response) -> ActionResult:
    """CancelImportTask. A finished task cannot be cancelled (documented); the error code is not documented."""
    task_id = self._get_param("ImportTaskId") or ""
    task = backends[self.current_account][self.region].find(task_id)
    if task is None:
        raise _unknown_task(task_id)
    previous = task.answer["Status"]
    if previous != "active":
        raise EC2ClientError(_WRONG_STATE, f"The import task {task_id} is {previous} and cannot be cancelled")
    self.error_on_dryrun()
    task.cancel(self._get_param("CancelReason"))
    return ActionResult({"ImportTaskId": task_id, "PreviousState": previous, "State": task.answer["Status"]})


def describe_images(self: EC2Response) -> ActionResult:
    """DescribeImages. By default it shows no disabled AMI (API reference), also by its id (not documented)."""
    answer = _moto_describe_images(self)
    if self._get_param("IncludeDisabled"):
        return answer
    found: Any = answer.result
    return ActionResult({"Images": [ami for ami in found["Images"] if ami.state != "disabled"]})


def copy_image(
    self: EC2Backend, source_image_id: str, source_region: str, name: str | None = None, description: str | None = None
) -> Ami:
    """Copy an AMI as moto does, and record the source AMI, which DescribeImages returns and moto does not record."""
    ami = _moto_copy_image(self, source_image_id, source_region, name, description)
    vars(ami).update(source_image_id=source_image_id, source_image_region=source_region)
    return ami


def block_device_mappings(self: Ami) -> list[dict[str, Any]]:
    """Return the disks of an AMI as moto does, which has the first one only, and the others of an import."""
    mappings: list[dict[str, Any]] = _moto_mappings(self)
    mappings[0]["Ebs"]["DeleteOnTermination"] = vars(self).get("deletes_volumes", False)
    for name, snapshot_id in vars(self).get("other_snapshots", {}).items():
        mappings.append({"DeviceName": name, "Ebs": {**mappings[0]["Ebs"], "SnapshotId": snapshot_id}})
    return mappings


def get_prefix(resource_id: str) -> str:
    """Return the prefix of a resource's id as moto does, and of an import task's id, which has two dashes."""
    return _PREFIX if resource_id.startswith(f"{_PREFIX}-") else _moto_get_prefix(resource_id)


def _location(disk: Mapping[str, Any]) -> tuple[str, str]:
    """Return the bucket and the key of a disk; both are empty for a URL outside of S3.

    An `https` URL can be a presigned one, with parameters.
    """
    if "UserBucket" in disk:
        return disk["UserBucket"]["S3Bucket"], disk["UserBucket"]["S3Key"]
    url: str = disk["Url"]
    is_key = url.startswith("s3:")
    match = _S3_URL.fullmatch(url if is_key else url.partition("?")[0])
    bucket, key = filter(None, match.groups()) if match else ("", "")
    return bucket, key if is_key else unquote(key)


def _raise_for(problems: Sequence[str]) -> None:
    if problems:
        raise EC2ClientError(_INVALID, " ".join(problems))


def _unknown_task(task_id: str) -> EC2ClientError:
    # The beginning of the code is observed; AWS's list of error codes has both.
    if re.fullmatch(rf"{_PREFIX}-[0-9a-z]{{8,}}", task_id):
        return EC2ClientError("InvalidConversionTaskId", f"The conversion task ID {task_id} is not valid")
    return EC2ClientError("InvalidConversionTaskId.Malformed", f"The conversion task ID '{task_id}' is malformed")
