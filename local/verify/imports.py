"""The verification's own imports in EC2, and the removal of what they leave."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from local.verify.account import Account
from local.verify.assumptions import PROBE_TAG
from local.verify.cleanup import Cleanup
from vm_image_import.derive.tags import PREFIX

Wait = Callable[[float], None]
"""Lets so many seconds pass."""

_TASK_TAG: Final = f"{PREFIX}task-id"
FINAL: Final = {"AVAILABLE", "FAILED", "CANCELLED", "DEPRECATED", "DISABLED", "DELETED"}
"""The states of an image whose build has ended."""
_ENDED: Final = {"completed", "deleted"}
_SECONDS: Final = 15
_LOOKS: Final = 80
"""A cancelled import, and then a build, ends within 20 minutes, or is listed as not removed."""


class Imports:
    """The imports of one run, which are tagged with it."""

    def __init__(self, account: Account, run: str, tags: Mapping[str, str]) -> None:
        self._ec2 = account.client("ec2")
        self._builder = account.client("imagebuilder")
        self._ssm = account.client("ssm")
        self._run = run
        self._tags = [{"Key": key, "Value": value} for key, value in {**tags, PROBE_TAG: run}.items()]

    def start(self, bucket: str, key: str) -> str:
        """Start the import of a disk and return the task's id."""
        return str(
            self._ec2.import_image(
                DiskContainers=[{"UserBucket": {"S3Bucket": bucket, "S3Key": key}}],
                TagSpecifications=[{"ResourceType": "import-image-task", "Tags": self._tags}],
                Description=f"{PROBE_TAG} {self._run}",
            )["ImportTaskId"]
        )

    def tasks(self) -> dict[str, Mapping[str, Any]]:
        """Return the tasks of this run, by their ids."""
        pages = self._ec2.get_paginator("describe_import_image_tasks").paginate()
        own = {"Key": PROBE_TAG, "Value": self._run}
        return {
            task["ImportTaskId"]: task
            for page in pages
            for task in page["ImportImageTasks"]
            if own in task.get("Tags", [])
        }

    def images(self) -> dict[str, Mapping[str, str]]:
        """Return the tags of all images of the account, by ARN."""
        return {image["arn"]: image.get("tags", {}) for image in self._summaries()}

    def images_of(self, task_id: str) -> list[str]:
        """Return the ARNs of the images that the function has registered for a task."""
        return [arn for arn, tags in self.images().items() if tags.get(_TASK_TAG) == task_id]

    def _summaries(self) -> Iterator[Mapping[str, Any]]:
        """Yield all images of the account."""
        for page in self._builder.get_paginator("list_image_build_versions").paginate():
            yield from page["imageSummaryList"]

    def _own_images(self, tasks: Collection[str]) -> Iterator[str]:
        """Yield the ARNs of the images of this run. A deployment decides which tags of a task its image has."""
        for arn, tags in self.images().items():
            if tags.get(PROBE_TAG) == self._run or tags.get(_TASK_TAG) in tasks:
                yield arn

    def remove(self, cleanup: Cleanup, known_images: list[str], parameter: str | None, wait: Wait) -> None:
        """Cancel what runs, and remove images, parameter, AMIs and snapshots."""
        ec2, images = self._ec2, self._builder
        for id_, task in self.tasks().items():
            if task["Status"] == "active":
                command = f"aws ec2 cancel-import-task --import-task-id {id_}"
                cleanup.call(command, ec2.cancel_import_task, ImportTaskId=id_)
        tasks = self._ended(cleanup, wait)
        images_left = dict.fromkeys((*known_images, *self._own_images(tasks)))
        self._let_builds_end(images_left, wait)
        for arn in images_left:
            command = f"aws imagebuilder delete-image --image-build-version-arn {arn}"
            cleanup.call(command, images.delete_image, imageBuildVersionArn=arn)
        if parameter:
            command = f"aws ssm delete-parameter --name {parameter}"
            cleanup.call(command, self._ssm.delete_parameter, Name=parameter)
        for ami in filter(None, (task.get("ImageId") for task in tasks.values())):
            snapshots = self._snapshots(ami)
            cleanup.call(f"aws ec2 deregister-image --image-id {ami}", ec2.deregister_image, ImageId=ami)
            for snapshot in snapshots:
                command = f"aws ec2 delete-snapshot --snapshot-id {snapshot}"
                cleanup.call(command, ec2.delete_snapshot, SnapshotId=snapshot)

    def _ended(self, cleanup: Cleanup, wait: Wait) -> Mapping[str, Mapping[str, Any]]:
        """Return the tasks when all have ended: a cancelled one can still make an AMI."""
        for _ in range(_LOOKS):
            if all(task["Status"] in _ENDED for task in self.tasks().values()):
                break
            wait(_SECONDS)
        tasks = self.tasks()
        running = [id_ for id_, task in tasks.items() if task["Status"] not in _ENDED]
        cleanup.left.extend(f"aws ec2 cancel-import-task --import-task-id {id_}   # It still runs." for id_ in running)
        return tasks

    def _let_builds_end(self, arns: Collection[str], wait: Wait) -> None:
        """Wait for builds that are still running: their images cannot be deleted (API reference, `DeleteImage`)."""
        for _ in range(_LOOKS):
            if all(image["state"]["status"] in FINAL for image in self._summaries() if image["arn"] in arns):
                return
            wait(_SECONDS)

    def _snapshots(self, ami: str) -> Sequence[str]:
        """Return the snapshots of an AMI. An AMI that does not exist any more has none."""
        by_id = [{"Name": "image-id", "Values": [ami]}]
        answer = self._ec2.describe_images(Owners=["self"], Filters=by_id, IncludeDisabled=True)
        disks = [disk.get("Ebs", {}) for image in answer["Images"] for disk in image.get("BlockDeviceMappings", [])]
        return [disk["SnapshotId"] for disk in disks if "SnapshotId" in disk]
