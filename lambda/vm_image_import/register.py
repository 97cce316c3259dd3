"""Registers one import with Image Builder: the use case in which every trigger ends."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from vm_image_import.clients import Clients
from vm_image_import.derive import (
    Derivation,
    DerivedValue,
    Identity,
    derive,
    identify,
    make_client_token,
    names,
    versions,
)
from vm_image_import.errors import (
    ClientTokenReusedError,
    InProgressError,
    PermanentError,
    RejectedError,
    TransientError,
)
from vm_image_import.events import AmiAvailable, ManualImport
from vm_image_import.idempotency.records import IdempotencyKey, Registration, RegistrationId
from vm_image_import.models import Ami, ImportTask, Invocation, Outcome, OutcomeKind, Overrides
from vm_image_import.notifications import notify_once, publish
from vm_image_import.observability import log_context, logger

if TYPE_CHECKING:
    from vm_image_import.idempotency.store import Claim

_ALREADY_REGISTERED: Final = 'The import was registered before. To register it once more write "force": true.'
_VISIBLE_AFTER: Final = timedelta(minutes=1)
"""EC2's reads are eventually consistent for moments. Lambda's first retry comes after a minute."""
_FAILED_AMI_STATES: Final = frozenset({"error", "failed", "invalid"})
"""States of an AMI that never becomes available (API reference, `DescribeImages`)."""
_NO_OVERRIDES: Final = Overrides()
_ARN_NOT_RECORDED: Final = (
    "An earlier invocation registered the import with the client token {} and was ended before it could record the"
    " image. Since then the values of the import have changed. Look for the image in Image Builder."
)


@dataclass(frozen=True, slots=True)
class Registrar:
    """Registers the import tasks of this account and Region, each once.

    Every method raises TransientError where AWS may answer a later attempt, and PermanentError where it refuses a read.
    """

    clients: Clients
    invocation: Invocation

    def register_ami(self, event: AmiAvailable, now: datetime) -> Outcome:
        """Register the AMI of an event, if an import task of this account and Region made it."""
        with log_context(amiId=event.image_id):
            ami = self.clients.ec2.find_ami(event.image_id)
            if ami is None and now - event.time < _VISIBLE_AFTER:
                not_yet = f"EC2 does not show {event.image_id} yet."
                raise TransientError(not_yet)
        if ami is None:
            return Outcome(OutcomeKind.IGNORED, reason=f"EC2 does not show {event.image_id} any more.")
        if ami.import_task_id is None:
            reason = f"{ami.id} is not named like an import task, so no import made it."
            return Outcome(OutcomeKind.IGNORED, reason=reason)
        with log_context(importTaskId=ami.import_task_id):
            task = self.clients.ec2.find_task(ami.import_task_id)
            if task is None:
                reason = f"EC2 does not list this import task: {ami.id} is a copy, or the import ended over 7 days ago."
                return Outcome(OutcomeKind.IGNORED, ami.import_task_id, reason=reason)
            if ami.state == "pending":
                # EC2's read is older than its event, and the event is sent once.
                not_yet = f"EC2 still shows {ami.id} as pending."
                raise TransientError(not_yet)
            return self._register_automatically(task, ami)

    def register_ended(self, task: ImportTask, *, dry_run: bool) -> Outcome:
        """Register a task that EC2 lists as ended, or report its failure."""
        return self._register_automatically(task, self._find_ami(task), dry_run=dry_run)

    def register_manually(self, trigger: ManualImport) -> Outcome:
        """Register the task that a payload names, with the payload's overrides and whatever its tags are."""
        task = self.clients.ec2.find_task(trigger.import_task_id)
        if task is None:
            reason = "EC2 lists no such import task in this Region. It lists a task for 7 days after its end."
            return Outcome(OutcomeKind.NOT_FOUND, trigger.import_task_id, reason=reason)
        ami = self._find_ami(task)
        return self._register(task, ami, trigger.overrides, dry_run=trigger.dry_run, force=trigger.force)

    def send_pending_notification(self, id_: RegistrationId, registration: Registration) -> None:
        """Send the notification of a registration with this id, where SNS refused it when the image was made."""
        if registration.notified:
            return
        outcome = _registered(id_.import_task_id, registration, self._client_token(id_))
        notify_once(IdempotencyKey("notified", str(id_)), outcome, self.clients, self.invocation)

    def _register_automatically(self, task: ImportTask, ami: Ami | None, *, dry_run: bool = False) -> Outcome:
        """Register a task that the configuration does not exclude, and send a notification when that fails."""
        if excluded := self._excluded_by_filter(task):
            return excluded
        outcome = self._register(task, ami, dry_run=dry_run)
        if dry_run:
            return outcome
        if outcome.kind is OutcomeKind.REJECTED:
            key = IdempotencyKey("rejected", f"{task.id} {outcome.reason}")
            return notify_once(key, outcome, self.clients, self.invocation)
        if outcome.kind is OutcomeKind.IMPORT_FAILED:
            return notify_once(IdempotencyKey("terminal", task.id), outcome, self.clients, self.invocation)
        return outcome

    def _excluded_by_filter(self, task: ImportTask) -> Outcome | None:
        wanted = self.clients.settings.only_tasks_tagged
        missing = [key for key, value in wanted.items() if task.tags.get(key) != value]
        if not missing:
            return None
        reason = f"onlyTasksTagged excludes the import task: its tags {', '.join(missing)} are not as configured."
        return Outcome(OutcomeKind.IGNORED, task.id, reason=reason)

    def _find_ami(self, task: ImportTask) -> Ami | None:
        if task.ended_without_ami:
            return None
        return self.clients.ec2.find_ami(task.image_id) if task.image_id else self.clients.ec2.find_ami_named(task.id)

    def _register(
        self,
        task: ImportTask,
        ami: Ami | None,
        overrides: Overrides = _NO_OVERRIDES,
        *,
        dry_run: bool = False,
        force: bool = False,
    ) -> Outcome:
        if ended := _ended_without_ami(task):
            return ended
        if ami is None:
            return _without_ami(task)
        if unusable := _unusable_ami(task, ami):
            return unusable

        forced_by = self.invocation.request_id if force else ""
        id_ = RegistrationId(task.id, self._registration_number(task.id, forced_by) if force else 0)
        if dry_run:
            return self._show_request(task, ami, overrides, id_)
        try:
            with self.clients.idempotency_store.claim(IdempotencyKey("registered", str(id_)), self.invocation) as claim:
                if claim.completed is None:
                    return self._import(claim, task, ami, overrides, id_, forced_by)
        except InProgressError as error:
            return Outcome(OutcomeKind.IN_PROGRESS, task.id, reason=str(error))

        registration = Registration.from_json(claim.completed)
        self.send_pending_notification(id_, registration)
        outcome = _registered(task.id, registration, self._client_token(id_))
        return replace(outcome, kind=OutcomeKind.ALREADY_REGISTERED, reason=_ALREADY_REGISTERED)

    def _registration_number(self, import_task_id: str, forced_by: str) -> int:
        """Return which registration a forced invocation makes: its own where Lambda retries it, else the next one."""
        made = self.clients.idempotency_store.get_registrations([import_task_id])[import_task_id]
        return next((number for number, each in enumerate(made) if each.request_id == forced_by), len(made))

    def _client_token(self, id_: RegistrationId) -> str:
        return make_client_token(self.invocation.environment, str(id_))

    def _show_request(self, task: ImportTask, ami: Ami, overrides: Overrides, id_: RegistrationId) -> Outcome:
        try:
            derivation = self._derive(task, ami, overrides, id_, dry_run=True)
        except RejectedError as error:
            return Outcome(OutcomeKind.REJECTED, task.id, reason=str(error), ami_id=ami.id)
        return Outcome(OutcomeKind.DRY_RUN, task.id, request=derivation.request.parameters(), ami_id=ami.id)

    def _import(
        self, claim: "Claim", task: ImportTask, ami: Ami, overrides: Overrides, id_: RegistrationId, forced_by: str
    ) -> Outcome:
        """Request the image, send the notification, and complete the claim with the record of both."""
        # The request is derived only now: what becomes of the tags of a registered import does not matter.
        try:
            request = self._derive(task, ami, overrides, id_).request
        except RejectedError as error:
            return Outcome(OutcomeKind.REJECTED, task.id, reason=str(error), ami_id=ami.id)
        parameters = request.parameters()
        try:
            arn = self.clients.image_builder.import_vm_image(request)
        except ClientTokenReusedError:
            arn = ""
        except PermanentError as error:
            return Outcome(OutcomeKind.REJECTED, task.id, request=parameters, reason=str(error), ami_id=ami.id)
        registration = Registration(arn, ami.id, request_id=forced_by)
        outcome = replace(_registered(task.id, registration, request.client_token), request=parameters)
        claim.complete(registration._replace(notified=self._try_publish(outcome)).to_json())
        if arn:
            return outcome
        return replace(outcome, kind=OutcomeKind.ALREADY_REGISTERED, reason=_ALREADY_REGISTERED)

    def _try_publish(self, outcome: Outcome) -> bool:
        """Return whether SNS accepts the notification. The image exists either way: the next sweep sends it."""
        try:
            publish(outcome, self.clients)
        except (TransientError, PermanentError):
            logger.exception("Registered, but the notification could not be sent")
            return False
        return True

    def _derive(
        self, task: ImportTask, ami: Ami, overrides: Overrides, id_: RegistrationId, *, dry_run: bool = False
    ) -> Derivation:
        settings = self.clients.settings
        name, version = identify(task, ami, overrides, settings)
        if version is None:
            number = self._show_next_version(id_, name.value) if dry_run else self._claim_next_version(id_, name.value)
            version = DerivedValue(number, "highest existing version")
        derivation = derive(task, ami, overrides, settings, Identity(name, version), self._client_token(id_))
        logger.info("Derived the request", sources=derivation.sources, dropped_tags=derivation.dropped_tags)
        return derivation

    def _claim_next_version(self, id_: RegistrationId, name: str) -> str:
        """Return the same version to every retry, although an earlier attempt may have made an image of it."""
        with self.clients.idempotency_store.claim(IdempotencyKey("version", f"{id_} {name}"), self.invocation) as claim:
            if claim.completed is not None:
                return claim.completed
            version = self._find_next_version(name)
            claim.complete(version)
            return version

    def _show_next_version(self, id_: RegistrationId, name: str) -> str:
        """Return the version that `_claim_next_version` would return, and record nothing."""
        key = IdempotencyKey("version", f"{id_} {name}")
        return self.clients.idempotency_store.get_completed([key]).get(key) or self._find_next_version(name)

    def _find_next_version(self, name: str) -> str:
        arn = self.invocation.environment.image_arn(names.arn_name(name))
        if version := versions.after(self.clients.image_builder.list_versions(arn, name)):
            return version
        raise RejectedError(["The highest existing version cannot be incremented: state the version."])


def _registered(import_task_id: str, registration: Registration, client_token: str) -> Outcome:
    return Outcome(
        OutcomeKind.REGISTERED,
        import_task_id,
        image_arn=registration.arn or None,
        # The client token distinguishes the registrations of one task.
        reason=None if registration.arn else _ARN_NOT_RECORDED.format(client_token),
        ami_id=registration.ami_id,
    )


def _ended_without_ami(task: ImportTask) -> Outcome | None:
    if task.ended_without_ami:
        kind = OutcomeKind.IMPORT_CANCELLED if task.cancelled else OutcomeKind.IMPORT_FAILED
        return Outcome(kind, task.id, reason=task.status_message or "EC2 gives no reason.")
    if task.status == "deleting":
        # The status message may not say yet whether it failed or was cancelled.
        return Outcome(OutcomeKind.IN_PROGRESS, task.id, reason="The import has ended and is being deleted.")
    return None


def _without_ami(task: ImportTask) -> Outcome:
    if task.status == "completed":
        reason = "The import completed, but EC2 does not show its AMI: it is gone, or ask again."
        return Outcome(OutcomeKind.IGNORED, task.id, reason=reason)
    return _running(task)


def _running(task: ImportTask) -> Outcome:
    step = ", ".join(filter(None, (task.status_message, task.progress and f"{task.progress} %")))
    reason = f"The import is still running ({step or task.status or 'no status'})."
    return Outcome(OutcomeKind.IN_PROGRESS, task.id, reason=reason)


def _unusable_ami(task: ImportTask, ami: Ami) -> Outcome | None:
    if ami.state == "pending":
        return _running(task)
    if ami.is_copy:
        return Outcome(OutcomeKind.IGNORED, task.id, reason=f"{ami.id} is a copy of {ami.source_image_id}.")
    if ami.state != "available":
        kind = OutcomeKind.REJECTED if ami.state in _FAILED_AMI_STATES else OutcomeKind.IGNORED
        return Outcome(kind, task.id, reason=f"{ami.id} is {ami.state}, so it cannot be registered.", ami_id=ami.id)
    if task.image_id and task.image_id != ami.id:
        return Outcome(OutcomeKind.IGNORED, task.id, reason=f"The import made {task.image_id}, not {ami.id}.")
    return None
