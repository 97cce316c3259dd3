"""AMIs, images and events that this system did not make, and that must change nothing."""

from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from local.aws import common
from local.aws.image_builder import Image
from local.aws.local_aws import ACCOUNT
from tests.simulation.events import AMI_EVENT, IMAGE_EVENT, EventBus
from tests.simulation.features import Feature
from tests.simulation.state import REGION, Import, State, client, now

_OTHER_ACCOUNT: Final = "999999999999"
_OTHER_REGION: Final = "eu-west-1"
_SELDOM: Final = 0.02
_MALFORMED: Final = ("", "import-ami-", "import-ami-0123456789\nREGISTERED", "web server", "import-ami-" + "f" * 245)
"""Values of the tag `vm-image-import:task-id`."""
_ABSURD: Final = (
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"),
    *("1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z"),
)
"""Times of events."""


@dataclass
class ForeignResources:
    """What other accounts, and other users of this account, do."""

    state: State
    events: EventBus

    def appear(self, each: Import) -> None:
        """Let at most one thing of each enabled feature appear that looks like a part of this import."""
        if not self.state.faulty:
            return
        actions = (
            (Feature.FOREIGN_AMIS, self._share_ami),
            (Feature.FORGED_AMIS, self._register_ami),
            (Feature.FOREIGN_IMAGES, self._tag_image),
            (Feature.INVALID_EVENTS, self._send_invalid_event),
            (Feature.REGISTERED_BY_OTHERS, self._request_image),
        )
        for feature, action in actions:
            if self.state.has(feature) and self.state.random.random() < _SELDOM:
                action(each)

    def _share_ami(self, each: Import) -> None:
        """Let another account share an AMI with the import's name, or forward the event of an AMI or of an image."""
        origin = {"account": _OTHER_ACCOUNT, "region": self.state.random.choice((REGION, _OTHER_REGION))}
        if self.state.random.random() < 0.3:
            arn = f"arn:aws:imagebuilder:{_OTHER_REGION}:{_OTHER_ACCOUNT}:image/{each.name}/1.0.0/1"
            state: dict[str, object] = {"state": {"status": "AVAILABLE"}}
            self.events.emit(common.event(self.state.image_builder, IMAGE_EVENT, arn, state) | origin)
            return
        ami = self._new_ami(each.task)
        ami.owner_id = _OTHER_ACCOUNT
        self.state.counts["AMIs of another account"] += 1
        detail: dict[str, object] = {"ImageId": ami.id, "State": "available"}
        event = common.event(self.state.vm_import, AMI_EVENT, ami.id, detail)
        self.events.emit(self.state.random.choice((event, event | origin)))

    def _register_ami(self, each: Import) -> None:
        """Register an AMI with the import's name in this account, while the import has none."""
        task = self.state.vm_import.tasks[each.task].answer
        if task["Status"] == "active" and all(ami.name != each.task for ami in self.state.ec2.amis.values()):
            self.state.counts["AMIs with the name of a running task"] += 1
            # `advance` emits its event, as of each new AMI of the account.
            self._new_ami(each.task)

    def _tag_image(self, each: Import) -> None:
        """Create an image that is not of this system, and tag it as if it were."""
        chance, number = self.state.random, len(self.state.foreign_images)
        tags = {"vm-image-import:task-id": chance.choice((each.task, each.task, *_MALFORMED))}
        if (ami_id := self.state.vm_import.tasks[each.task].answer.get("ImageId")) and chance.random() < 0.5:
            tags["vm-image-import:ami-id"] = ami_id
        image = Image(
            version_arn=f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image/golden/1.{number}.0",
            build=1,
            owner=ACCOUNT,
            params={"name": "golden", "semanticVersion": f"1.{number}.0", "platform": "Linux", "vmImportTaskId": ""},
            created=now().strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            tags=tags,
            state={"status": "AVAILABLE"},
            amis=[{"image": f"ami-{number:017x}", "region": REGION, "accountId": ACCOUNT}],
            build_type=chance.choice(("IMPORT", "USER_INITIATED")),
        )
        self.state.counts["tagged images of others"] += 1
        self.state.foreign_images.add(image.arn)
        self.state.image_builder.images[image.arn] = image
        detail: dict[str, object] = {"state": image.state}
        self.events.emit(common.event(self.state.image_builder, IMAGE_EVENT, image.arn, detail))

    def _request_image(self, each: Import) -> None:
        """Register the import as another user does, who follows the VM Import guide: at most once, without our tags."""
        state, images = self.state, self.state.image_builder.images
        if state.refused or any(arn in state.others_images and _is_of(images[arn], each) for arn in images):
            return
        state.counts["images that another user requested"] += 1
        try:
            arn = client("imagebuilder").import_vm_image(
                # EC2 cannot show the AMI of certain imports, which must not be the newest one of a name of others.
                name=each.name if each.kind == "raises always" else state.random.choice(("base", each.name)),
                semanticVersion=f"1.{len(state.others_images)}.0",
                platform="Linux",
                vmImportTaskId=each.task,
                clientToken=f"others-{each.task}",
            )["imageArn"]
        except ClientError:
            # Image Builder may refuse an import that has failed.
            return
        state.others_images.add(arn)
        # Some fail, and some never end.
        images[arn].state = state.random.choice(
            (*4 * (images[arn].state,), {"status": "FAILED"}, {"status": "INTEGRATING"})
        )

    def _send_invalid_event(self, each: Import) -> None:
        """Send an event with the ARN of no build version, or with an absurd time."""
        images = [image for image in self.state.image_builder.images.values() if _is_of(image, each)]
        if images and self.state.random.random() < 0.5:
            version_arn = images[0].version_arn
            arn = self.state.random.choice((version_arn, f"{version_arn.rpartition('/')[0]}/x.x.x"))
            detail: dict[str, object] = {"state": {"status": "AVAILABLE"}}
            self.events.emit(common.event(self.state.image_builder, IMAGE_EVENT, arn, detail))
        elif image_id := self.state.vm_import.tasks[each.task].answer.get("ImageId"):
            detail = {"ImageId": image_id, "State": "available"}
            event = common.event(self.state.vm_import, AMI_EVENT, image_id, detail)
            self.events.emit(event | {"time": self.state.random.choice(_ABSURD)})

    def _new_ami(self, name: str) -> Any:  # noqa: ANN401 - moto's, which is changed here
        ami = self.state.ec2.register_image(name, "AWS-VMImport service: Linux - Forged 1.0")
        vars(ami).update(architecture="x86_64", creation_date=now(), platform=None)
        return ami


def _is_of(image: Image, each: Import) -> bool:
    return bool(image.params["vmImportTaskId"] == each.task)
