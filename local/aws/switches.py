"""What AWS does not document, as switches: the local AWS answers each way.

docs/verify-on-aws.md says which assumption each switch is about. Without a switch the local AWS does what was observed,
or what is more likely.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Switches:
    """The answers of AWS that are other than by default."""

    no_ami_event: bool = False
    """The AMI of an import sends no `EC2 AMI State Change`."""
    ami_comes_first: bool = False
    """The AMI is available, and its event is sent, a step before its task is completed."""
    active_task_names_ami: bool = False
    """A task whose AMI comes first names it in `ImageId` while it is active."""
    ami_has_another_name: bool = False
    """The AMI is not named like its task."""
    unknown_task_is_missing: bool = False
    """DescribeImportImageTasks leaves out an id that it does not know; by default it is InvalidConversionTaskId."""
    task_state_takes_one_value: bool = False
    """DescribeImportImageTasks refuses several values of its filter `task-state`."""
    next_token_is_empty: bool = False
    """The last page of DescribeImportImageTasks has an empty `NextToken`; by default it has none."""
    failed_task_fails_later: bool = False
    """ImportVmImage accepts an unknown or failed task, and the image fails; by default it answers ClientException."""
    second_import_is_refused: bool = False
    """ImportVmImage refuses a task that has an image."""
    client_token_is_forgotten: bool = False
    """Image Builder forgets a client token after 15 minutes, which are 15 steps; by default never."""
    pending_image_names_ami: bool = False
    """An image names its AMI a step before it is AVAILABLE."""
    image_is_importing: bool = False
    """The status of an image in progress is `importing`; by default it is `PENDING`."""
    no_image_event: bool = False
    """An imported image sends no `EC2 Image Builder Image State Change`."""
    image_tags_reach_ami: bool = False
    """The AMI of an image has the image's tags, as soon as it is AVAILABLE."""
    no_version_is_invalid: bool = False
    """GetImage of `x.x.x` without an AVAILABLE version is InvalidParameterValueException; by default not found."""


NAMES = tuple(field.name for field in fields(Switches))
_switches = [Switches()]


def current() -> Switches:
    """Return the switches of the local AWS."""
    return _switches[-1]


@contextmanager
def use(switches: Switches) -> Iterator[None]:
    """Use these switches until the context ends."""
    _switches.append(switches)
    try:
        yield
    finally:
        _switches.remove(switches)
