"""What an invocation works with: the settings, AWS, the records, and the time that it has."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from time import sleep

from vm_image_import.aws.ec2 import Ec2
from vm_image_import.aws.image_builder import ImageBuilder
from vm_image_import.aws.session import create_client
from vm_image_import.aws.sns import Topic
from vm_image_import.aws.ssm import ParameterStore
from vm_image_import.builds import BuildLister
from vm_image_import.deadline import Deadline
from vm_image_import.domain.models import AwsEnvironment
from vm_image_import.records.store import Store
from vm_image_import.settings import Settings


class Clients:
    """The clients of one execution environment, each made at first use: most invocations look at one AMI and end."""

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
    def store(self) -> Store:
        """The records of what was done."""
        return Store(create_client("dynamodb"), self.settings.table_name)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Invocation:
    """One invocation of the function."""

    clients: Clients
    environment: AwsEnvironment
    request_id: str
    """The same for Lambda's retries of one event."""
    time: datetime
    """When it began, with a time zone."""
    deadline: Deadline
    sleep: Callable[[float], None] = sleep
    """Waits for so many seconds."""
    now: Callable[[], datetime] = _now
    """Returns the time of an act, with a time zone. A sweep takes up to 5 minutes."""

    @property
    def settings(self) -> Settings:
        """The configuration."""
        return self.clients.settings

    @property
    def store(self) -> Store:
        """The records of what was done."""
        return self.clients.store

    @cached_property
    def builds(self) -> BuildLister:
        """The image builds that exist."""
        return BuildLister(self.clients.image_builder, self.environment.account, self.deadline)
