"""What operators do to imports and images in the middle of a history."""

from dataclasses import dataclass
from typing import Any, Final, cast

from local.aws import common
from tests.simulation.events import IMAGE_EVENT, EventBus
from tests.simulation.features import Feature
from tests.simulation.imports import FIXED_LAST, WITH_INVALID_TAG
from tests.simulation.invocations import Lambda
from tests.simulation.state import REGION, Import, State, client

_SOMETIMES: Final = 0.06
_FIXED: Final = "7.0"
"""The tag `Version` that replaces an invalid one."""
_INVALID: Final = ("newest", "stable", "1.x")
_MANUAL: Final[tuple[dict[str, object], ...]] = (
    {},
    {"force": True},
    {"dryRun": True},
    {"dryRun": True, "force": True},
    {"description": "Manual"},
)
"""What manual invocations state beside the import task."""


@dataclass
class Operators:
    """The operators of the account."""

    state: State
    lambda_: Lambda
    events: EventBus
    fix_late: bool = False
    """Whether the tags of the kind `invalid tag fixed late` are fixed from now on."""
    fix_last: bool = False
    """Whether all tags are."""

    def interfere(self, each: Import) -> None:
        """Do at most one thing to this import."""
        sometimes = self.state.faulty and self.state.random.random() < _SOMETIMES
        if not self._change_import(each, sometimes=sometimes) and self.state.faulty:
            self._do_anything(each, sometimes=sometimes)

    def _change_import(self, each: Import, *, sometimes: bool) -> bool:
        """Do what this kind of import is about, if it is time. Return whether it was."""
        state, task = self.state, self.state.vm_import.tasks[each.task]
        if each.kind == "cancelled" and task.answer["Status"] == "active" and state.random.random() < 0.5:
            task.cancel(None)
        elif each.kind in WITH_INVALID_TAG and self._fixes_now(each, sometimes=sometimes):
            self._replace_invalid_tag(each, _FIXED)
        elif each.kind in WITH_INVALID_TAG and state.has(Feature.CHANGING_ERRORS) and sometimes:
            self._replace_invalid_tag(each, state.random.choice(_INVALID))
        elif each.kind == "retagged" and sometimes:
            _tag(each.task, "Team", str(state.random.random()))
        elif each.kind == "deregistered" and task.answer["Status"] == "completed" and sometimes:
            self._deregister(each, task.answer["ImageId"])
        else:
            return False
        return True

    def _do_anything(self, each: Import, *, sometimes: bool) -> None:
        """Do what an operator may do to any import."""
        state, task = self.state, self.state.vm_import.tasks[each.task]
        if state.random.random() < 0.05:
            # A completed import is forced more often than not.
            force = ({"force": True},) if task.answer["Status"] == "completed" else ()
            manual = state.random.choice((*force, *force, *force, *_MANUAL))
            self.lambda_.enqueue({"importTaskId": each.task} | manual)
            if "dryRun" not in manual:
                state.manual.add(each.task)
        elif sometimes and state.random.random() < 0.2:
            self.lambda_.enqueue({"action": "sweep", "dryRun": True})
        elif state.random.random() < 0.03:
            self._change_image(each)
        elif sometimes and (image_id := task.answer.get("ImageId")) in state.ec2.amis:
            self._enable_and_copy(each, str(image_id))
        elif state.follow_up and state.random.random() < 0.05:
            self._name_ami(task.answer.get("ImageId"))

    def change_refusals(self) -> None:
        """Let Image Builder refuse certain imports, each with one of two errors; at last it refuses none."""
        state = self.state
        for task in [*state.refused]:
            if self.fix_late or state.random.random() < 0.02:
                del state.refused[task]
            elif state.has(Feature.CHANGING_ERRORS) and state.random.random() < 0.1:
                state.refused[task] = state.random.choice(("denied", "quota exceeded"))

    def break_amis(self) -> None:
        """Let EC2 answer DescribeImages with an error that the function does not know, for certain AMIs."""
        broken = {each.task for each in self.state.imports if each.kind == "raises always"}
        for ami in self.state.ec2.amis.values():
            if ami.name in broken:
                ami.creation_date = cast("Any", None)

    def _fixes_now(self, each: Import, *, sometimes: bool) -> bool:
        if each.kind == "invalid tag fixed late":
            return self.fix_late
        if each.kind == FIXED_LAST:
            return self.fix_last
        return sometimes or not self.state.faulty

    def _replace_invalid_tag(self, each: Import, value: str) -> None:
        if self.state.ec2.tags[each.task]["Version"] != _FIXED:
            _tag(each.task, "Version", value)

    def _deregister(self, each: Import, image_id: str) -> None:
        """Deregister the AMI of an import, half of the time after it was copied, as Packer does."""
        if image_id in self.state.ec2.amis and self.state.random.random() < 0.5:
            name = self.state.random.choice((each.task, "base"))
            client("ec2").copy_image(SourceImageId=image_id, SourceRegion=REGION, Name=name)
        self.state.ec2.amis.pop(image_id, None)
        self.state.deregistered.add(each.task)

    def _change_image(self, each: Import) -> None:
        """Cancel an image that is in progress, deprecate one that is AVAILABLE, or delete one in any state."""
        state = self.state
        changes = {"PENDING": "CANCELLED", "importing": "CANCELLED", "AVAILABLE": "DEPRECATED"}
        for image in state.image_builder.images.values():
            status = changes.get(image.state["status"])
            if state.has(Feature.DELETED_IMAGES) and state.random.random() < 0.3:
                status = "DELETED"
            if status and image.params["vmImportTaskId"] == each.task and image.arn not in state.deleted:
                state.counts[f"images {status}"] += 1
                image.state = {"status": status}
                if status == "DELETED":
                    state.deleted.add(image.arn)
                    # AWS does not say whether it shows a deleted image.
                    state.hidden |= {image.arn} if state.random.random() < 0.5 else set()
                detail: dict[str, object] = {"state": image.state}
                self.events.emit(common.event(self.state.image_builder, IMAGE_EVENT, image.arn, detail))

    def _name_ami(self, image_id: str | None) -> None:
        """Give an AMI, or its snapshot, the tag `Name`."""
        if ami := self.state.ec2.amis.get(image_id):
            id_ = self.state.random.choice((ami.id, ami.ebs_snapshot.id))
            self.state.operators_tags[id_] = "Mine"
            _tag(id_, "Name", "Mine")

    def _enable_and_copy(self, each: Import, image_id: str) -> None:
        self.events.repeat_ami_event(image_id)
        if self.state.random.random() < 0.2:
            self.state.counts["copies"] += 1
            client("ec2").copy_image(SourceImageId=image_id, SourceRegion=REGION, Name=each.task)


def _tag(task: str, key: str, value: str) -> None:
    client("ec2").create_tags(Resources=[task], Tags=[{"Key": key, "Value": value}])
