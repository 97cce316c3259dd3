"""The clients of one execution environment of the function."""

from functools import cached_property
from typing import TYPE_CHECKING

from vm_image_import.aws import Ec2, ImageBuilder, ParameterStore, Topic, create_client
from vm_image_import.settings import Settings

if TYPE_CHECKING:
    from vm_image_import.idempotency.store import IdempotencyStore


class Clients:
    """The settings, and the clients, each made at first use: most invocations look at one AMI and end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def ec2(self) -> Ec2:
        """Import tasks and AMIs."""
        return Ec2(create_client("ec2"))

    @cached_property
    def image_builder(self) -> ImageBuilder:
        """Images."""
        return ImageBuilder(create_client("imagebuilder"))

    @cached_property
    def parameter_store(self) -> ParameterStore:
        """Parameters."""
        return ParameterStore(create_client("ssm"))

    @cached_property
    def topic(self) -> Topic:
        """The topic of the notifications."""
        return Topic(create_client("sns"), self.settings.topic_arn)

    @cached_property
    def idempotency_store(self) -> "IdempotencyStore":
        """The records of what was done."""
        # Powertools Idempotency is a large part of all imports, and an AMI that is no import does not need it.
        from vm_image_import.idempotency.store import IdempotencyStore  # noqa: PLC0415

        return IdempotencyStore(create_client("dynamodb"), self.settings.table_name)
