"""What a history may contain beside the faults of the network. Each feature can be switched off."""

from enum import Enum, auto
from typing import Final


class Feature(Enum):
    """One thing that happens in histories, with the invariants that belong to it."""

    SHARED_NAMES = auto()
    """Several imports have one name, written in different ways, and Image Builder refuses some of them for a while."""
    LAGGING_LISTS = auto()
    """Image Builder's lists, and its highest version of a name, are up to two minutes old."""
    FOREIGN_AMIS = auto()
    """Other accounts share AMIs with the name of an import, and forward their events. EC2 may not name a task's AMI."""
    FORGED_AMIS = auto()
    """Somebody in the account registers an AMI with the name of a running import task."""
    FOREIGN_IMAGES = auto()
    """Somebody tags images of their own with `vm-image-import:task-id`."""
    INVALID_EVENTS = auto()
    """Events have the ARN of a version or a wildcard, or an absurd time."""
    TASK_FILTER = auto()
    """The deployment sets onlyTasksTagged."""
    SLOW_DELETION = auto()
    """Failed and cancelled tasks are `deleting` for minutes, and say why only at the end."""
    TABLE_LOSS = auto()
    """The idempotency table is emptied, as by a new deployment, and Image Builder forgets old client tokens."""
    CROSSWISE = auto()
    """Concurrent invocations continue in any order, not only the newest one to its end."""
    CHANGING_ERRORS = auto()
    """Each error has another text, and an invalid tag is replaced by another invalid one."""
    SWEEP_PROBLEMS = auto()
    """A sweep is an error only where the tasks could not be listed, and answers a problem of one task."""
    TAGS_AND_PARAMETERS = auto()
    """Half of the deployments set tagAmis and parameterPrefix. Operators tag AMIs and snapshots of imports."""
    REGISTERED_BY_OTHERS = auto()
    """Another user registers imports, before or after this system, and some of their images fail or stay PENDING."""
    DELETED_IMAGES = auto()
    """Operators delete images in each state."""
    REGISTERED_LATE = auto()
    """An import is registered shortly before EC2 lists its task no more, and SNS accepts notifications only after."""
    RECOVERED_IMAGES = auto()
    """The image of an invocation that was ended before it could record it is found and reported."""


OFF: Final[frozenset[Feature]] = frozenset()
"""Features whose histories the function does not pass yet."""
ON: Final = frozenset(Feature) - OFF
