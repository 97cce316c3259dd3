"""What a step is, and what it works with."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final, NamedTuple

from vm_image_import.domain.models import Ami, Image
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.invocation import Invocation
from vm_image_import.records.registration import Registration, RegistrationId, Unverified
from vm_image_import.settings import Settings

_VISIBLE_AFTER: Final = timedelta(hours=1)
"""Reads may be eventually consistent. What EC2 or Image Builder does not show for so long is taken for gone."""

GIVEN_UP: Final = "given up"
"""The result of a step that did not end in time."""


class Done(NamedTuple):
    """The step has ended."""

    result: str
    outcome: Outcome | None = None
    """What to log and count."""


class Waiting(NamedTuple):
    """The step waits for what changes by itself."""

    reason: str
    unverified: Unverified | None = None
    """What the step has written, and reads back later."""
    continues: bool = False
    """Whether the next sweep continues the step, however old the registration is."""
    outcome: Outcome | None = None
    """What to log."""


class Due(NamedTuple):
    """The step has something to do."""

    calls: int
    """How many calls of AWS it needs at most, without those of its record."""


class Run:
    """One registration, and what its steps have read so far."""

    def __init__(self, invocation: Invocation, id_: RegistrationId, registration: Registration) -> None:
        self.invocation = invocation
        self.id = id_
        self.registration = registration
        """With what this invocation has done."""
        self.recorded = registration
        """As it was read or saved last."""
        self._images: list[Image | None] = []
        self._amis: list[Ami | None] = []
        """What was read, once."""

    @property
    def settings(self) -> Settings:
        """The configuration."""
        return self.invocation.settings

    @property
    def status(self) -> str:
        """The final state of the image; empty while it has none."""
        return self.registration.results.get("follow", "")

    # Up to Python 3.11, a cached_property has one lock for all instances: it would be held during a call of AWS.
    @property
    def image(self) -> Image | None:
        """The image, as Image Builder shows it now. Raises TransientError or PermanentError."""
        if not self._images:
            self._images.append(self.invocation.clients.image_builder.find_image(self.registration.arn))
        return self._images[0]

    @property
    def ami(self) -> Ami | None:
        """The AMI, as EC2 shows it now. Raises TransientError or PermanentError."""
        if not self._amis:
            self._amis.append(self.invocation.clients.ec2.find_ami(self.registration.ami_id))
        return self._amis[0]

    @property
    def may_be_hidden(self) -> bool:
        """Whether an image or an AMI that AWS does not show may exist all the same."""
        return self.invocation.time - self.registration.time < _VISIBLE_AFTER

    @property
    def is_notified(self) -> bool:
        """Whether the notification of the image has been sent, so that it cannot say what the other steps do."""
        return "notify" in self.registration.results

    def outcome(self, kind: OutcomeKind, reason: str | None) -> Outcome:
        """Return an outcome of this registration, with what its steps have done so far."""
        registration = self.registration
        results = {step: result for step, result in registration.results.items() if result != GIVEN_UP}
        written = registration.unverified.get("parameter")
        is_own = written is not None and written.value == registration.ami_id
        parameter = results.get("parameter") or (self.parameter_name if is_own else None)
        return Outcome(
            kind,
            self.id.import_task_id,
            image_arn=registration.arn,
            sources=registration.sources,
            reason=reason,
            ami_id=registration.ami_id,
            tagged=results.get("tag", "").split(),
            parameter=parameter,
            task=registration.task,
        )

    @property
    def parameter_name(self) -> str | None:
        """The name of the parameter for the image's name; None where none is configured."""
        prefix = self.settings.parameter_prefix
        return f"{prefix}/{self.registration.build.name}" if prefix else None

    def note_result(self, step: str, result: str) -> None:
        """Note that a step has ended."""
        self.registration = self.registration._replace(results={**self.registration.results, step: result})

    def note_unverified(self, step: str, written: Unverified) -> None:
        """Note what a step has written."""
        self.registration = self.registration._replace(unverified={**self.registration.unverified, step: written})

    def note_overdue(self, step: str) -> None:
        """Note that a step is overdue since now."""
        overdue = {**self.registration.overdue, step: self.invocation.time}
        self.registration = self.registration._replace(overdue=overdue)

    def note_problem(self, step: str, problem: str) -> None:
        """Note the problem that was reported of a step."""
        self.registration = self.registration._replace(problems={**self.registration.problems, step: problem})


class Step(NamedTuple):
    """One thing that follows a registration."""

    name: str
    is_configured: Callable[[Settings], bool]
    look: Callable[[Run], Done | Waiting | Due]
    """Reads what there is to do, and writes nothing. Raises TransientError or PermanentError."""
    act: Callable[[Run], Done | Waiting]
    """Does what is due, while this invocation has the claim.

    Raises TransientError, or PermanentError where AWS refuses it until something is changed.
    """
