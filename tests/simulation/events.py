"""EventBridge: it delivers events late, twice, or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from local.aws import common
from tests.simulation.invocations import Lambda
from tests.simulation.state import State

AMI_EVENT: Final = ("aws.ec2", "EC2 AMI State Change")
IMAGE_EVENT: Final = ("aws.imagebuilder", "EC2 Image Builder Image State Change")
"""Source and detail type."""


@dataclass
class EventBus:
    """The default event bus, with the function as target."""

    state: State
    lambda_: Lambda
    delivers: bool
    """Whether it delivers anything while there are faults."""

    def emit(self, event: Mapping[str, Any]) -> None:
        """Deliver an event, or lose it."""
        state = self.state
        times = state.random.choice((0, 1, 1, 2)) if state.faulty else 1
        if not self.delivers and state.faulty:
            times = 0
        state.counts["events lost" if times == 0 else "events delivered twice" if times > 1 else "events"] += 1
        for _ in range(times):
            self.lambda_.enqueue(event, delay_minutes=state.random.choice((0, 0, 1, 7)) if state.faulty else 0)

    def repeat_ami_event(self, image_id: str) -> None:
        """Emit the event of an AMI once more, as EnableImage does."""
        self.state.counts["events repeated"] += 1
        detail: dict[str, object] = {"ImageId": image_id, "State": "available"}
        self.emit(common.event(self.state.vm_import, AMI_EVENT, image_id, detail))
