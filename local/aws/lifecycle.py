"""Lifecycle policies of Image Builder: they delete the images that they select, with AMIs and snapshots, by their role.

Only what the policy of the stack uses is played: `DELETE` by `AGE`, selected by tags. The checks have the order of the
user guide, "How lifecycle policy execution works".
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.amis import Ami

from local.aws import common, iam, image_builder
from local.aws.image_builder import Image, ImageBuilderBackend
from local.aws.policies import AuthorizationRequest

_ENDED_WITHOUT_IMAGE: Final = frozenset({"FAILED", "CANCELLED"})
_SUCCESS, _FAILED, _SKIPPED = "SUCCESS", "FAILED", "SKIPPED"


class Action(NamedTuple):
    """What an execution did to one resource (API reference, `LifecycleExecutionResource`)."""

    resource: str
    """The ARN of an image, or the id of an AMI or snapshot."""
    status: str
    reason: str = ""


def run(account_id: str, region: str, day: timedelta) -> list[Action]:
    """Execute each enabled policy of an account and Region once, with days of that length."""
    backend = image_builder.backends[account_id][region]
    enabled = [policy for policy in backend.lifecycle_policies.values() if policy.get("Status") != "DISABLED"]
    return [action for policy in enabled for action in _Execution(backend, policy, day).run()]


class _Execution:
    def __init__(self, backend: ImageBuilderBackend, policy: Mapping[str, Any], day: timedelta) -> None:
        self._backend = backend
        self._ec2: EC2Backend = ec2_backends[backend.account_id][backend.region_name]
        self._role = policy["ExecutionRole"]
        self._selected = policy["ResourceSelection"]["TagMap"]
        (detail,) = policy["PolicyDetails"]
        self._included = detail["Action"]["IncludeResources"]
        self._age = int(detail["Filter"]["Value"]) * day
        self._exclusions = detail.get("ExclusionRules", {})
        self._last_launched = int(self._exclusions["Amis"]["LastLaunched"]["Value"]) * day

    def run(self) -> Iterator[Action]:
        """Delete what the policy selects, and yield the actions."""
        found = self._denied("*", "tag:GetResources", {}) or self._denied("*", "ec2:DescribeImages", {})
        for image in sorted(self._backend.builds(), key=lambda image: image.created, reverse=True):
            if not _has_any(image.tags, self._selected) or image.state["status"] in image_builder.RUNNING:
                continue
            # What has failed qualifies at any age.
            if not self._is_old(image) and image.state["status"] not in _ENDED_WITHOUT_IMAGE:
                continue
            if _has_any(image.tags, self._exclusions.get("TagMap", {})):
                continue
            if found:
                yield Action(image.arn, _FAILED, found)
                continue
            yield from self._delete(image)

    def _is_old(self, image: Image) -> bool:
        return common.clock() - datetime.fromisoformat(image.created) >= self._age

    def _delete(self, image: Image) -> Iterator[Action]:
        tags = iam.image_tags(self._backend.account_id, self._backend.region_name, image.arn)
        if denied := self._denied(image.arn, "imagebuilder:DeleteImage", tags):
            yield Action(image.arn, _FAILED, denied)
            return
        # Whether the image stays where its AMI is skipped is not documented: here it does not.
        del self._backend.images[image.arn]
        yield Action(image.arn, _SUCCESS)
        for output in image.amis if self._included.get("Amis") else ():
            ami = self._ec2.amis.get(output["image"])
            if ami is None:
                # "If a resource is already deleted …, Image Builder reports the action as SUCCESS."
                yield Action(output["image"], _SUCCESS)
            else:
                yield from self._delete_ami(ami)

    def _delete_ami(self, ami: Ami) -> Iterator[Action]:
        arn, tags = self._ec2_arn("image", ami.id)
        if denied := self._denied(arn, "ec2:DescribeImageAttribute", tags):
            yield Action(ami.id, _FAILED, denied)
        elif _has_any(self._ec2.tags.get(ami.id, {}), self._exclusions.get("Amis", {}).get("TagMap", {})):
            yield Action(ami.id, _SKIPPED, "The AMI has an excluded tag.")
        elif self._was_launched(ami):
            yield Action(ami.id, _SKIPPED, "The AMI was launched lately.")
        elif denied := self._denied(arn, "ec2:DeregisterImage", tags):
            yield Action(ami.id, _FAILED, denied)
        else:
            snapshots = [mapping["Ebs"]["SnapshotId"] for mapping in ami.block_device_mappings]
            self._ec2.deregister_image(ami.id)
            yield Action(ami.id, _SUCCESS)
            for snapshot in snapshots if self._included.get("Snapshots") else ():
                denied = self._denied(*self._request("snapshot", snapshot, "ec2:DeleteSnapshot"))
                if not denied:
                    self._ec2.delete_snapshot(snapshot)
                yield Action(snapshot, _FAILED if denied else _SUCCESS, denied)

    def _was_launched(self, ami: Ami) -> bool:
        """Return whether an instance was launched lately. AMIs with no recorded launch are not excluded (model)."""
        launched: datetime | None = vars(ami).get("last_launched")
        return launched is not None and common.clock() - launched < self._last_launched

    def _request(self, kind: str, id_: str, action: str) -> tuple[str, str, Mapping[str, str]]:
        arn, tags = self._ec2_arn(kind, id_)
        return arn, action, tags

    def _ec2_arn(self, kind: str, id_: str) -> tuple[str, dict[str, str]]:
        """Return the ARN of an AMI or snapshot, and its condition keys."""
        tags = {f"aws:ResourceTag/{key}": value for key, value in self._ec2.tags.get(id_, {}).items()}
        owner = {"ec2:Owner": self._backend.account_id}
        return f"arn:{self._backend.partition}:ec2:{self._backend.region_name}::{kind}/{id_}", {**owner, **tags}

    def _denied(self, resource: str, action: str, context: Mapping[str, str]) -> str:
        """Return why the role may not do something, or nothing where it may."""
        context = {"aws:RequestedRegion": self._backend.region_name, **context}
        denied = iam.authorize(self._role, [AuthorizationRequest(action, resource, context)])
        return f"The role {self._role} is not authorized to perform: {action} on resource: {resource}" if denied else ""


def _has_any(tags: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Return whether one of the wanted tags is there: key and value must match."""
    return bool(wanted.items() & tags.items())
