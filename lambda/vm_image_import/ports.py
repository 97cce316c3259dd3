"""What the use cases need of AWS. Every method may raise TransientError or PermanentError."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

from vm_image_import.models import Ami, Image, ImageRequest, ImportTask
from vm_image_import.notices import Notice


class Imports(Protocol):
    """What EC2 knows of imports."""

    def find_task(self, import_task_id: str) -> ImportTask | None:
        """Return the task, or None where EC2 does not list it."""

    def finished_tasks(self) -> Iterable[Sequence[ImportTask]]:
        """Yield pages of the tasks that ended in the last 7 days, well or not."""

    def find_ami(self, image_id: str) -> Ami | None:
        """Return the AMI, or None where there is none (any more, or yet)."""

    def find_ami_named(self, name: str) -> Ami | None:
        """Return this account's AMI of that name, or None."""


class Images(Protocol):
    """Image Builder."""

    def versions(self, arn: str, name: str) -> Iterable[str]:
        """Return the semantic versions of an image, by the ARN of all its versions and by its name."""

    def import_vm_image(self, request: ImageRequest) -> str:
        """Register the image and return its build version's ARN."""

    def find_image(self, arn: str) -> Image | None:
        """Return the image with this build version's ARN, or None."""


class Notices(Protocol):
    """The people, and whatever else listens to the topic."""

    def publish(self, notice: Notice) -> None:
        """Send one notice."""


class Fact(NamedTuple):
    """Something to be acted on once: its kind, and the id of what it is about."""

    kind: Literal["version", "registered", "told", "rejected", "ended"]
    about: str


class Once(NamedTuple):
    """What acting on a fact gave, and whether it was acted on just now."""

    value: str
    now: bool


class Ledger(Protocol):
    """What was done already. Only what succeeded is recorded."""

    def once(self, fact: Fact, act: Callable[[], str]) -> Once:
        """Act on a fact and record what that gives, or return what is recorded.

        What `act` raises is raised. Raises InProgressError while another run acts on the fact.
        """

    def known(self, facts: Iterable[Fact]) -> dict[Fact, str]:
        """Return what is recorded of those facts that were acted on."""
