"""Registers one import with Image Builder: the use case in which every trigger ends."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from vm_image_import import notices
from vm_image_import.announce import announce
from vm_image_import.derive import client_token, derive, names, versions
from vm_image_import.errors import InProgressError, PermanentError, RejectedError, TokenUsedError, TransientError
from vm_image_import.models import Ami, AwsEnvironment, ImageRequest, ImportTask, Outcome, OutcomeKind
from vm_image_import.ports import Fact, Images, Imports, Ledger, Notices
from vm_image_import.registration import Registration, about, registrations
from vm_image_import.settings import Settings
from vm_image_import.telemetry import logger
from vm_image_import.triggers import AmiAvailable, ManualImport

_VISIBLE_AFTER: Final = timedelta(minutes=1)
"""EC2's reads lag for moments. Lambda's first retry comes after a minute: what EC2 does not show by then is gone."""
_FAILED_AMI: Final = frozenset({"error", "failed", "invalid"})
"""States of an AMI that never becomes one (API reference, `DescribeImages`)."""
_NOT_RECORDED: Final = (
    "An earlier run registered the import with the client token {} and was ended before it could record the image, and"
    " the import reads differently since then: look for the image in Image Builder."
)


@dataclass(frozen=True, slots=True)
class Registrar:
    """Registers the imports of its home, each once.

    Whatever AWS answers in passing (TransientError) and whatever keeps it from reading (PermanentError) is raised.
    """

    imports: Imports
    images: Images
    ledger: Ledger
    notices: Notices
    environment: AwsEnvironment
    settings: Settings

    def register_ami(self, trigger: AmiAvailable, now: datetime) -> Outcome:
        """Register the AMI of an event, if an import task of this account and Region made it."""
        ami = self.imports.find_ami(trigger.image_id)
        if ami is None:
            if now - trigger.time < _VISIBLE_AFTER:
                not_yet = f"EC2 does not show {trigger.image_id} yet."
                raise TransientError(not_yet)
            return Outcome(OutcomeKind.IGNORED, reason=f"{trigger.image_id} is gone.")
        if ami.import_task_id is None:
            return Outcome(OutcomeKind.IGNORED, reason=f"{ami.id} is not named like an import task: no import made it.")
        logger.append_keys(importTaskId=ami.import_task_id)
        task = self.imports.find_task(ami.import_task_id)
        if task is None:
            reason = f"EC2 lists no such import task here: {ami.id} is a copy, or its import ended 7 days ago."
            return Outcome(OutcomeKind.IGNORED, ami.import_task_id, reason=reason)
        if ami.state == "pending":
            # EC2's read lags behind its own event, which will not come again.
            not_yet = f"EC2 shows {ami.id} as pending yet."
            raise TransientError(not_yet)
        return self._left_alone(task) or self._register_by_itself(task, ami)

    def register_finished(self, task: ImportTask, *, dry_run: bool) -> Outcome:
        """Register a task that EC2 lists as finished."""
        return self._left_alone(task) or self._register_by_itself(task, self._ami_of(task), dry_run=dry_run)

    def tell_registered(self, import_task_id: str, number: int, registration: Registration) -> None:
        """Tell people of a registered image, unless that was done: the notice is owed where the topic refused it."""
        if registration.told:
            return
        this = about(import_task_id, number)
        outcome = _registered(Outcome(OutcomeKind.REGISTERED, import_task_id), registration, self._token(this))
        announce(Fact("told", this), outcome, self.ledger, self.notices)

    def _left_alone(self, task: ImportTask) -> Outcome | None:
        missing = [key for key, value in self.settings.only_tasks_tagged.items() if task.tags.get(key) != value]
        if not missing:
            return None
        reason = f"The import task is left alone: its tags {', '.join(missing)} are not as configured."
        return Outcome(OutcomeKind.IGNORED, task.id, reason=reason)

    def _register_by_itself(self, task: ImportTask, ami: Ami | None, *, dry_run: bool = False) -> Outcome:
        """Register without anybody asking for it, and with a notice of what went wrong."""
        outcome = self._register(ManualImport(task.id, dry_run=dry_run), task, ami, "")
        if not dry_run and outcome.kind is OutcomeKind.REJECTED:
            outcome = announce(Fact("rejected", f"{task.id} {outcome.reason}"), outcome, self.ledger, self.notices)
        elif not dry_run and outcome.kind is OutcomeKind.IMPORT_FAILED:
            outcome = announce(Fact("ended", task.id), outcome, self.ledger, self.notices)
        return outcome

    def register_task(self, trigger: ManualImport, run: str) -> Outcome:
        """Register the import that a person names, as they overrule it, whatever tags the configuration asks for.

        `run` is the id of this run and its repeats: one that is forced makes one image.
        """
        logger.append_keys(importTaskId=trigger.import_task_id)
        task = self.imports.find_task(trigger.import_task_id)
        if task is None:
            reason = "EC2 lists no such import task in this Region. It forgets a task 7 days after its end."
            return Outcome(OutcomeKind.NOT_FOUND, trigger.import_task_id, reason=reason)
        return self._register(trigger, task, self._ami_of(task), run if trigger.force else "")

    def _number(self, import_task_id: str, run: str) -> int:
        """Return which registration a forced run makes: its own, where it is repeated, else the next."""
        made = registrations(self.ledger, [import_task_id])[import_task_id]
        return next((number for number, each in enumerate(made) if each.run == run), len(made))

    def _token(self, this: str) -> str:
        return client_token(self.environment.account, self.environment.region, this)

    def _ami_of(self, task: ImportTask) -> Ami | None:
        if task.ended_without_ami:
            return None
        return self.imports.find_ami(task.image_id) if task.image_id else self.imports.find_ami_named(task.id)

    def _register(self, asked: ManualImport, task: ImportTask, ami: Ami | None, forced_by: str) -> Outcome:
        ready = _ready_ami(task, ami)
        if isinstance(ready, Outcome):
            return ready
        number = self._number(task.id, forced_by) if forced_by else 0
        this = about(task.id, number)
        token = self._token(this)
        next_version = partial(self._next_version_shown if asked.dry_run else self._next_version_once, this)
        outcome = Outcome(OutcomeKind.REJECTED, task.id, ami_id=ready.id)

        def request() -> ImageRequest:
            nonlocal outcome
            derivation = derive(task, ready, asked.overrides, self.settings, token=token, next_version=next_version)
            outcome = replace(outcome, request=derivation.request.parameters())
            logger.info("Derived the request", sources=derivation.sources, dropped_tags=derivation.dropped_tags)
            return derivation.request

        try:
            if asked.dry_run:
                request()
                return replace(outcome, kind=OutcomeKind.DRY_RUN)
            # Derived only where nothing is recorded: what became of the tags since then does not matter any more.
            once = self.ledger.once(Fact("registered", this), lambda: self._import(request(), ready.id, forced_by))
        except RejectedError as error:
            return replace(outcome, reason=str(error))
        except InProgressError as error:
            return replace(outcome, kind=OutcomeKind.IN_PROGRESS, reason=str(error))
        registration = Registration.of_record(once.value)
        registered = _registered(outcome, registration, token)
        if once.now and registration.arn:
            return registered
        if not once.now:
            self.tell_registered(task.id, number, registration)
        reason = 'The import was registered before. To register it once more write "force": true.'
        return replace(registered, kind=OutcomeKind.ALREADY_REGISTERED, reason=reason)

    def _import(self, request: ImageRequest, ami_id: str, forced_by: str) -> str:
        """Register the image and tell about it; return the record of that."""
        try:
            arn = self.images.import_vm_image(request)
        except TokenUsedError:
            arn = ""
        except PermanentError as error:
            raise RejectedError([str(error)]) from error
        registration = Registration(arn, ami_id, run=forced_by)
        outcome = Outcome(OutcomeKind.REGISTERED, request.import_task_id)
        registered = _registered(outcome, registration, request.client_token)
        try:
            self.notices.publish(notices.of(registered))
        except (TransientError, PermanentError):
            # The image stands: asked for again, it would be made again once Image Builder has forgotten the token.
            logger.exception("Registered, but not told")
            registration = registration._replace(told=False)
        return registration.as_record()

    def _next_version(self, name: str) -> str:
        existing = self.images.versions(self.environment.image_arn(names.arn_name(name)), name)
        if version := versions.after(existing):
            return version
        raise RejectedError(["The highest existing version cannot be incremented: state the version."])

    def _next_version_once(self, this: str, name: str) -> str:
        """Return the same version to every repeat, although the first one may have made an image of it."""
        return self.ledger.once(Fact("version", f"{this} {name}"), partial(self._next_version, name)).value

    def _next_version_shown(self, this: str, name: str) -> str:
        """Return the version that would be asked for, and record nothing."""
        fact = Fact("version", f"{this} {name}")
        return self.ledger.known([fact]).get(fact) or self._next_version(name)


def _registered(outcome: Outcome, registration: Registration, token: str) -> Outcome:
    """Return the outcome as that of a registration, which was asked for with this client token."""
    arn, ami_id, *_ = registration
    # The token tells apart what was registered more than once.
    reason = None if arn else _NOT_RECORDED.format(token)
    return replace(outcome, kind=OutcomeKind.REGISTERED, image_arn=arn or None, reason=reason, ami_id=ami_id)


def _ready_ami(task: ImportTask, ami: Ami | None) -> Ami | Outcome:
    """Return the AMI when it can be registered, else the outcome that says why not."""
    if task.ended_without_ami:
        kind = OutcomeKind.IMPORT_CANCELLED if task.cancelled else OutcomeKind.IMPORT_FAILED
        return Outcome(kind, task.id, reason=task.status_message or "EC2 gives no reason.")
    if task.status == "deleting":
        # Whether it failed or was cancelled it may not say yet.
        return Outcome(OutcomeKind.IN_PROGRESS, task.id, reason="The import has ended and is being deleted.")
    if ami is None and task.status == "completed":
        return Outcome(
            OutcomeKind.IGNORED,
            task.id,
            reason="The import completed, but EC2 does not show its AMI: it is gone, or ask again.",
        )
    if ami is None or ami.state == "pending":
        step = ", ".join(filter(None, (task.status_message, task.progress and f"{task.progress} %")))
        reason = f"The import is still running ({step or task.status or 'no status'})."
        return Outcome(OutcomeKind.IN_PROGRESS, task.id, reason=reason)
    if ami.is_copy:
        return Outcome(OutcomeKind.IGNORED, task.id, reason=f"{ami.id} is a copy of {ami.source_image_id}.")
    if ami.state != "available":
        kind = OutcomeKind.REJECTED if ami.state in _FAILED_AMI else OutcomeKind.IGNORED
        return Outcome(kind, task.id, reason=f"{ami.id} is {ami.state}, so it cannot be registered.", ami_id=ami.id)
    if task.image_id and task.image_id != ami.id:
        return Outcome(OutcomeKind.IGNORED, task.id, reason=f"The import made {task.image_id}, not {ami.id}.")
    return ami
