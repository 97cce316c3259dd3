"""Registers one import with Image Builder: the use case in which every trigger ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vm_image_import.clients import Clients
from vm_image_import.derive import DerivedValue, Identity, derive, identify, make_client_token
from vm_image_import.errors import (
    ClientTokenReusedError,
    InProgressError,
    InvalidRecordError,
    PermanentError,
    RejectedError,
    TransientError,
)
from vm_image_import.events import AmiAvailable, ManualImport
from vm_image_import.idempotency.records import (
    MAX_REGISTRATIONS,
    IdempotencyKey,
    Registration,
    RegistrationId,
    invalid_record,
    parse_registration,
)
from vm_image_import.models import (
    Ami,
    ImageRequest,
    ImportBuild,
    ImportTask,
    Invocation,
    Outcome,
    OutcomeKind,
    Overrides,
)
from vm_image_import.notifications import notify_once
from vm_image_import.observability import log_context, logger
from vm_image_import.readiness import unusable, without_ami
from vm_image_import.tag import AmiTagger
from vm_image_import.version_claims import VersionClaims

if TYPE_CHECKING:
    from vm_image_import.idempotency.store import Claim

_ALREADY_REGISTERED: Final = 'The import was registered before. To register it once more write "force": true.'
_IMAGE_NOT_FOUND: Final = (
    "Image Builder has an image of this import, requested with the client token {}, but its ARN was not recorded and no"
    " image has the tag vm-image-import:task-id of the import. Look for the image in Image Builder by the import's name"
    ' and date, and use it by its ARN. Do not write "force": true: it makes a second image.'
)
_TOO_MANY: Final = "The import was registered {} times, which is the most. Import the VM again for another image."
_VISIBLE_AFTER: Final = timedelta(minutes=1)
"""EC2's reads are eventually consistent for moments. Lambda's first retry comes after a minute."""
_FRESH: Final = timedelta(minutes=15)
"""An import this young has no image of an earlier deployment. Image Builder's lists are up to two minutes old."""
_LISTED_AFTER: Final = timedelta(minutes=5)
"""After this time, Image Builder's lists show every image. They are up to two minutes old (user guide)."""
_NEXT_VERSION: Final = "highest existing version"
_NO_OVERRIDES: Final = Overrides()


@dataclass(frozen=True)
class Registrar:
    """Registers the import tasks of this account and Region, each once.

    Every method raises TransientError where AWS may answer a later attempt, and PermanentError where it refuses a read.
    """

    clients: Clients
    invocation: Invocation

    def register_ami(self, event: AmiAvailable) -> Outcome:
        """Register the AMI of an event, if an import task of this account and Region made it."""
        with log_context(amiId=event.image_id):
            ami = self.clients.ec2.find_ami(event.image_id)
            if ami is None and abs(self.invocation.time - event.time) < _VISIBLE_AFTER:
                not_yet = f"EC2 does not show {event.image_id} yet."
                raise TransientError(not_yet)
        if ami is None:
            return Outcome(OutcomeKind.IGNORED, reason=f"EC2 does not show {event.image_id} any more.")
        if ami.import_task_id is None:
            reason = f"{ami.id} is not named like an import task, so no import made it."
            return Outcome(OutcomeKind.IGNORED, reason=reason)
        if ami.owner_id not in {None, self.invocation.environment.account}:
            reason = f"{ami.id} belongs to the account {ami.owner_id}."
            return Outcome(OutcomeKind.IGNORED, ami.import_task_id, reason=reason)
        with log_context(importTaskId=ami.import_task_id):
            task = self.clients.ec2.find_task(ami.import_task_id)
            if task is None:
                reason = f"EC2 does not list this import task: {ami.id} is a copy, or the import ended over 7 days ago."
                return Outcome(OutcomeKind.IGNORED, ami.import_task_id, reason=reason)
            if excluded := self._excluded_by_filter(task):
                return excluded
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
        outcome = self._register(task, ami, trigger.overrides, dry_run=trigger.dry_run, force=trigger.force)
        return outcome if trigger.dry_run else self._notify_failure(outcome, task)

    def _register_automatically(self, task: ImportTask, ami: Ami | None, *, dry_run: bool = False) -> Outcome:
        """Register a task that the configuration does not exclude, and send a notification when that fails."""
        if excluded := self._excluded_by_filter(task):
            return excluded
        observe = self.clients.settings.observe
        outcome = self._register(task, ami, dry_run=dry_run or observe)
        if dry_run:
            return outcome
        if outcome.kind is OutcomeKind.DRY_RUN:
            return self._notify_once(IdempotencyKey("observed", task.id), outcome, task)
        if outcome.kind is OutcomeKind.REJECTED:
            return self._notify_once(IdempotencyKey("rejected", task.id), outcome, task)
        return self._notify_failure(outcome, task)

    def _notify_failure(self, outcome: Outcome, task: ImportTask) -> Outcome:
        """Send the notification of an import that failed, or whose image was not found."""
        if outcome.kind is OutcomeKind.IMPORT_FAILED:
            return self._notify_once(IdempotencyKey("terminal", task.id), outcome, task)
        if outcome.kind is OutcomeKind.IMAGE_NOT_FOUND:
            return self._notify_once(IdempotencyKey("image-not-found", task.id), outcome, task)
        return outcome

    def _notify_once(self, key: IdempotencyKey, outcome: Outcome, task: ImportTask) -> Outcome:
        return notify_once(key, replace(outcome, task=task), self.clients, self.invocation)

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
        if ami is None:
            return without_ami(task)
        if not_ready := unusable(task, ami):
            return not_ready
        try:
            id_ = self._next_registration(task) if force else RegistrationId(task.id)
            if dry_run:
                return self._dry_run(task, ami, overrides, id_)
            with self.clients.idempotency_store.claim(id_.key, self.invocation) as claim:
                if claim.completed is None:
                    return self._import(claim, task, ami, overrides, id_)
            registration = parse_registration(id_, claim.completed)
        except InProgressError as error:
            return Outcome(OutcomeKind.IN_PROGRESS, task.id, reason=str(error))
        except RejectedError as error:
            return Outcome(OutcomeKind.REJECTED, task.id, reason=str(error), ami_id=ami.id, problem=error.kind)
        except InvalidRecordError as error:
            return Outcome(OutcomeKind.REJECTED, task.id, reason=str(error), ami_id=ami.id, problem="record")
        return _already_registered(task, registration)

    def _next_registration(self, task: ImportTask) -> RegistrationId:
        """Return the registration that a forced invocation makes: its own where Lambda retries it, else the next one.

        Raises RejectedError where there are too many, and InvalidRecordError.
        """
        registrations = self.clients.idempotency_store.get_registrations([task.id])
        if error := registrations.unreadable.get(task.id):
            raise error
        made = registrations.by_task[task.id]
        own = [number for number, each in made.items() if each.request_id == self.invocation.request_id]
        number = next(iter(own), len(made))
        if number >= MAX_REGISTRATIONS:
            raise RejectedError({"force": _TOO_MANY.format(MAX_REGISTRATIONS)})
        return RegistrationId(task.id, number)

    def _dry_run(self, task: ImportTask, ami: Ami, overrides: Overrides, id_: RegistrationId) -> Outcome:
        """Return what would be requested, if anything. Raises RejectedError and InvalidRecordError."""
        if record := self.clients.idempotency_store.get_completed([id_.key]).get(id_.key):
            return _already_registered(task, parse_registration(id_, record))
        if existing := self._find_earlier_build(task, ami, id_):
            return _already_registered(task, Registration(existing.arn, ami.id))
        name, version = identify(task, ami, overrides, self.clients.settings)
        if version is None:
            version = DerivedValue(self._versions.show(id_, name.value), _NEXT_VERSION)
        request = self._derive(task, ami, overrides, Identity(name, version), id_)
        return Outcome(OutcomeKind.DRY_RUN, task.id, request=request.parameters(), ami_id=ami.id)

    def _import(self, claim: "Claim", task: ImportTask, ami: Ami, overrides: Overrides, id_: RegistrationId) -> Outcome:
        """Request the image, unless it exists already, and complete the claim. Raises RejectedError."""
        # The request is derived only now: what becomes of the tags of a registered import does not matter.
        name, version = identify(task, ami, overrides, self.clients.settings)
        if earlier := self._find_earlier_build(task, ami, id_):
            return self._complete(claim, task, ami, Registration(earlier.arn, ami.id))

        claimed = None
        if version is None:
            claimed = self._versions.claim(id_, name.value)
            version = DerivedValue(claimed, _NEXT_VERSION)
        request = self._derive(task, ami, overrides, Identity(name, version), id_)
        parameters = request.parameters()
        try:
            arn = self.clients.image_builder.import_vm_image(request)
        except ClientTokenReusedError:
            # An earlier invocation made the image with other values, and was ended before it could record it.
            existing = self._find_build(task, ami, self.clients.image_builder.list_import_builds())
            if existing is None:
                return self._image_not_found(task, ami, id_)
            arn = existing.arn
            if claimed and f"/{claimed}/" not in arn:
                self._versions.release(id_, name.value, claimed)
        except PermanentError as error:
            if claimed and error.certain:
                self._versions.release(id_, name.value, claimed)
            return Outcome(
                OutcomeKind.REJECTED,
                task.id,
                request=parameters,
                reason=str(error),
                ami_id=ami.id,
                problem=error.code,
            )
        registration = Registration(arn, ami.id, request_id=self.invocation.request_id)
        return self._complete(claim, task, ami, registration, parameters)

    def _complete(
        self,
        claim: "Claim",
        task: ImportTask,
        ami: Ami,
        registration: Registration,
        parameters: Mapping[str, object] | None = None,
    ) -> Outcome:
        """Tag the AMI of a registered image, and complete the claim with the record of both."""
        tagged = AmiTagger(self.clients, self.invocation).try_tag(task, ami, registration.arn)
        claim.complete(registration._replace(tagged=bool(tagged)).to_json())
        return replace(_registered(task, registration), request=parameters, tagged=tagged)

    def _find_earlier_build(self, task: ImportTask, ami: Ami, id_: RegistrationId) -> ImportBuild | None:
        """Return the image of an import that an earlier deployment, or an invocation that was ended, has made."""
        if id_.number or self._is_fresh(ami):
            return None
        return self._find_build(task, ami, self._builds)

    def _is_fresh(self, ami: Ami) -> bool:
        return ami.created is not None and abs(self.invocation.time - ami.created) < _FRESH

    @cached_property
    def _builds(self) -> Mapping[str, Sequence[ImportBuild]]:
        """The builds that exist, by import task. A sweep lists them once."""
        return self.clients.image_builder.list_import_builds()

    @property
    def _versions(self) -> VersionClaims:
        return VersionClaims(self.clients, self.invocation)

    def _find_build(
        self, task: ImportTask, ami: Ami, builds: Mapping[str, Sequence[ImportBuild]]
    ) -> ImportBuild | None:
        """Return the first build of this import that no registration has recorded."""
        found = [build for build in builds.get(task.id, ()) if build.ami_id == ami.id]
        if not found:
            return None
        registrations = self.clients.idempotency_store.get_registrations([task.id])
        recorded = {registration.arn for registration in registrations.by_task[task.id].values()}
        return next((build for build in found if build.arn not in recorded), None)

    def _image_not_found(self, task: ImportTask, ami: Ami, id_: RegistrationId) -> Outcome:
        """Return the outcome for an image that exists and is not found. Raises InvalidRecordError."""
        if self.invocation.time - self._searched_since(id_) < _LISTED_AFTER:
            reason = "Image Builder has an image of this import, but does not list it yet. The next sweep looks again."
            return Outcome(OutcomeKind.IN_PROGRESS, task.id, reason=reason, ami_id=ami.id)
        reason = _IMAGE_NOT_FOUND.format(self._client_token(id_))
        return Outcome(OutcomeKind.IMAGE_NOT_FOUND, task.id, reason=reason, ami_id=ami.id)

    def _searched_since(self, id_: RegistrationId) -> datetime:
        """Return when the image of a registration was first searched for: however old the import is, it may be new."""
        key = IdempotencyKey("searched", str(id_))
        with self.clients.idempotency_store.claim(key, self.invocation) as claim:
            if claim.completed is None:
                claim.complete(self.invocation.time.isoformat())
                return self.invocation.time
        try:
            return datetime.fromisoformat(claim.completed).astimezone(UTC)
        except ValueError as error:
            raise invalid_record(key, error) from error

    def _client_token(self, id_: RegistrationId) -> str:
        return make_client_token(self.invocation.environment, str(id_))

    def _derive(
        self, task: ImportTask, ami: Ami, overrides: Overrides, identity: Identity, id_: RegistrationId
    ) -> ImageRequest:
        derivation = derive(task, ami, overrides, self.clients.settings, identity, self._client_token(id_))
        logger.info("Derived the request", sources=derivation.sources, dropped_tags=derivation.dropped_tags)
        return derivation.request


def _registered(task: ImportTask, registration: Registration) -> Outcome:
    return Outcome(OutcomeKind.REGISTERED, task.id, image_arn=registration.arn, ami_id=registration.ami_id, task=task)


def _already_registered(task: ImportTask, registration: Registration) -> Outcome:
    outcome = _registered(task, registration)
    return replace(outcome, kind=OutcomeKind.ALREADY_REGISTERED, reason=_ALREADY_REGISTERED)
