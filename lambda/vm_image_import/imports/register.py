"""Registers one import with Image Builder, once, and records it: the use case in which every trigger ends."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, NamedTuple

from vm_image_import.derive import (
    Derivation,
    DerivedValue,
    Identity,
    derive,
    identify,
    make_client_token,
    names,
    stated_name,
    versions,
)
from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.errors import (
    ClientTokenReusedError,
    InProgressError,
    InvalidRecordError,
    PermanentError,
    RejectedError,
    TransientError,
)
from vm_image_import.domain.models import Ami, Build, ImportTask, Overrides
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.events import AmiAvailable, ManualImport
from vm_image_import.imports import steps
from vm_image_import.imports.readiness import check_ami, check_task
from vm_image_import.imports.reports import note_first_seen, report_once
from vm_image_import.imports.warnings import find_warnings
from vm_image_import.invocation import Invocation
from vm_image_import.records.registration import MAX_REGISTRATIONS, Record, Registration, RegistrationId
from vm_image_import.records.store import Claim
from vm_image_import.records.version_claims import VersionClaims
from vm_image_import.report.log import log_context, logger

_ALREADY_REGISTERED: Final = 'The import was registered before. To register it once more write "force": true.'
_ADOPTED: Final = (
    "An earlier deployment or another user registered the import. The image is recorded, and no second one is made."
)
_CONFLICT: Final = (
    "The import is registered as {}, so {} of the payload cannot be used: leave it out, or write"
    ' "force": true to register the import once more.'
)
_UNDECIDED: Final = (
    "Image Builder is importing a VM, and does not show yet whether it is this import. The next sweep looks again."
)
_NOT_LISTED: Final = "Image Builder has an image of this import, but does not list it yet. The next sweep looks again."
_IMAGE_NOT_FOUND: Final = (
    "Image Builder has an image of this import, requested with the client token {}, but its ARN was not recorded and no"
    " image has the tag vm-image-import:task-id of the import. Look for the image in Image Builder by the import's name"
    ' and date, and use it by its ARN. Do not write "force": true: it makes a second image.'
)
_AMI_GONE: Final = (
    "EC2 no longer shows {}, the AMI of this import: it was deregistered. If a tool copied it to an AMI of another name"
    " (Packer's ami_name does), let the tool keep the AMI of the import, or use the copy in a recipe by its AMI id."
)
_VERSION_TAKEN: Final = "Another import has version {} of {}, {}, and immutableVersions is true: state another version."
_TOO_MANY: Final = "The import was registered {} times, which is the most. Import the VM again for another image."
_OUT_OF_TIME: Final = "The invocation has no time left for this import. The next sweep registers it."

_VISIBLE_AFTER: Final = timedelta(minutes=1)
"""EC2's reads are eventually consistent for moments."""
_READS: Final = 2
"""How often an AMI is read again that EC2 does not show yet. An error would let Lambda retry and the alarm ring, and
anybody may register and deregister AMIs: a sweep finds what comes later."""
_GONE_AFTER: Final = timedelta(hours=1)
"""An AMI that EC2 does not show for so long is gone."""
_LISTED_AFTER: Final = timedelta(minutes=5)
"""After this time, Image Builder's lists show every image. They are up to two minutes old (user guide)."""
_OTHERS_DECIDED_AFTER: Final = timedelta(minutes=30)
"""The age of an AMI at which no build of others is waited for any more."""
_OWN_DECIDED_AFTER: Final = timedelta(days=1)
"""The age of an AMI at which no build with its tags is waited for any more."""
_FRESH: Final = timedelta(minutes=15)
"""The age of an AMI whose task may not be completed yet."""
_POLL_SECONDS: Final = 5
_POLLS: Final = 24
"""The task of an available AMI is read again for two minutes: the event may come before the task is completed."""
_CALLS: Final = 2
"""To request the image, and to record it."""
_CALLS_BEFORE: Final = 3
"""The calls of an event for which there must be time besides, before it reads the task again."""
_SEARCHED: Final = "image searched"
_MISSING: Final = "AMI missing"
"""What is noted in a record with the time at which it was first seen."""
AMI_GONE: Final = "AMI gone"
"""The problem of an import whose AMI was deregistered before it was registered."""
_NEXT_VERSION: Final = "highest existing version"
_NO_OVERRIDES: Final = Overrides()
_REPORTED: Final = frozenset({OutcomeKind.IMPORT_FAILED, OutcomeKind.IMAGE_NOT_FOUND})
"""What a manual invocation publishes, too: nobody else may notice it."""
_REPORTED_AUTOMATICALLY: Final = _REPORTED | {OutcomeKind.REJECTED, OutcomeKind.DRY_RUN}


class Registered(NamedTuple):
    """What became of a registration, and its record if there is one."""

    outcome: Outcome
    record: Record = Record()


def on_ami_event(event: AmiAvailable, invocation: Invocation) -> Iterator[Outcome]:
    """Register the AMI of an event, if an import task of this account and Region made it, and run its steps.

    Yield the outcome of the registration, then those of the steps. Raises TransientError where AWS may answer a later
    attempt, and PermanentError where it refuses a read.
    """
    with log_context(amiId=event.image_id):
        ami = _find_new_ami(event, invocation)
    if ami is None:
        yield Outcome(OutcomeKind.IGNORED, reason=f"EC2 does not show {event.image_id} any more.")
        return
    if ami.import_task_id is None:
        reason = f"{ami.id} is not named like an import task, so no import made it."
        yield Outcome(OutcomeKind.IGNORED, reason=reason)
        return
    if ami.owner_id not in {None, invocation.environment.account}:
        reason = f"{ami.id} belongs to the account {ami.owner_id}."
        yield Outcome(OutcomeKind.IGNORED, ami.import_task_id, reason=reason)
        return
    if ami.is_copy:
        reason = f"{ami.id} is a copy of {ami.source_image_id}."
        yield Outcome(OutcomeKind.IGNORED, ami.import_task_id, reason=reason)
        return
    with log_context(importTaskId=ami.import_task_id):
        task = _find_completed_task(ami.import_task_id, ami, invocation)
        if task is None:
            reason = f"EC2 does not list this import task: {ami.id} is a copy, or the import ended over 7 days ago."
            yield Outcome(OutcomeKind.IGNORED, ami.import_task_id, reason=reason)
            return
        if excluded := exclude(task, invocation):
            yield excluded
            return
        if ami.state == "pending":
            # EC2's read is older than its event, and the event is sent once.
            not_yet = f"EC2 still shows {ami.id} as pending."
            raise TransientError(not_yet)
        id_ = RegistrationId(task.id)
        record = invocation.store.read([id_]).get(str(id_), Record())
        registered = register(task, ami, id_, record, invocation, observe=invocation.settings.observe)
        yield _report(registered.outcome, id_, record, invocation, _REPORTED_AUTOMATICALLY)
        yield from _follow_up(id_, registered.record, invocation)


def on_manual_invocation(trigger: ManualImport, invocation: Invocation) -> Iterator[Outcome]:
    """Register the task that a payload names, with the payload's overrides and whatever its tags are.

    Yield the outcome of the registration, then those of the steps. Raises what `on_ami_event` raises.
    """
    with log_context(importTaskId=trigger.import_task_id):
        task = invocation.clients.ec2.find_task(trigger.import_task_id)
        if task is None:
            reason = "EC2 lists no such import task in this Region. It lists a task for 7 days after its end."
            yield Outcome(OutcomeKind.NOT_FOUND, trigger.import_task_id, reason=reason)
            return
        ami = _find_ami(task, invocation)
        id_ = RegistrationId(task.id)
        records = _read_registrations(task.id, invocation, forced=trigger.force)
        first = records.get(str(id_), Record())
        if trigger.force:
            try:
                id_ = _next_registration(task, ami, records, invocation, dry_run=trigger.dry_run)
            except InProgressError as error:
                yield Outcome(OutcomeKind.IN_PROGRESS, task.id, reason=str(error))
                return
            except (RejectedError, InvalidRecordError) as error:
                yield _rejected(task, error)
                return
        record = records.get(str(id_), Record())
        registered = register(task, ami, id_, record, invocation, overrides=trigger.overrides, dry_run=trigger.dry_run)
        if trigger.dry_run:
            yield registered.outcome
            return
        yield _report(registered.outcome, RegistrationId(task.id), first, invocation, _REPORTED)
        yield from _follow_up(id_, registered.record, invocation)


def register_listed(task: ImportTask, record: Record, invocation: Invocation, *, dry_run: bool) -> Registered:
    """Register a task that EC2 lists, or report why it cannot be.

    `record` is its record as it was read. Raises what `on_ami_event` raises.
    """
    id_ = RegistrationId(task.id)
    ami = _find_ami(task, invocation)
    registered = register(task, ami, id_, record, invocation, dry_run=dry_run, observe=invocation.settings.observe)
    if dry_run:
        return registered
    outcome = _report(registered.outcome, id_, record, invocation, _REPORTED_AUTOMATICALLY)
    return registered._replace(outcome=outcome)


def exclude(task: ImportTask, invocation: Invocation) -> Outcome | None:
    """Return the outcome of a task that the configuration excludes; None where it does not."""
    wanted = invocation.settings.only_tasks_tagged
    missing = [key for key, value in wanted.items() if task.tags.get(key) != value]
    if not missing:
        return None
    reason = f"onlyTasksTagged excludes the import task: its tags {', '.join(missing)} are not as configured."
    return Outcome(OutcomeKind.IGNORED, task.id, reason=reason)


@dataclass(frozen=True)
class _Import:
    """One import to register."""

    task: ImportTask
    ami: Ami
    id: RegistrationId
    overrides: Overrides
    invocation: Invocation

    @property
    def client_token(self) -> str:
        """The same for every attempt of this registration."""
        return make_client_token(self.invocation.environment, str(self.id))

    def claims(self, name: str) -> VersionClaims:
        """Return the claimed versions of an image name."""
        return VersionClaims(self.invocation.store, self.id, name)

    def identify(self) -> tuple[DerivedValue, DerivedValue | None]:
        """Return the name, and the version: None where the scheme `increment` decides it.

        Raises RejectedError, also where another import has the version and none may have it a second time, and
        TransientError or PermanentError.
        """
        name, version = identify(self.task, self.ami, self.overrides, self.invocation.settings)
        if version and self.invocation.settings.immutable_versions:
            builds = self.invocation.builds.builds()
            if other := builds.find_version(names.arn_name(name.value), version.value, self.task, self.ami):
                raise RejectedError({"version": _VERSION_TAKEN.format(version.value, name.value, other.arn)})
        return name, version

    def claim_version(self, name: str, version: str) -> None:
        """Claim a stated version, so that no other import gets it while Image Builder's list may not show it.

        Raises RejectedError where another import has it, TransientError or PermanentError.
        """
        taken = self.claims(name).take(version)
        if not self.invocation.settings.immutable_versions:
            return
        if not taken:
            message = f"The version {version} of {name} was given back just now. Try again later."
            raise TransientError(message)
        owner = RegistrationId.parse(taken)
        if owner.import_task_id == self.task.id:
            return
        other = self.invocation.store.read([owner]).get(str(owner), Record()).registration
        # Later the list shows it, unless it was deleted.
        if other is None or self.invocation.time - other.time < _LISTED_AFTER:
            raise RejectedError({"version": _VERSION_TAKEN.format(version, name, owner.import_task_id)})

    def warnings(self, identity: Identity) -> Sequence[str]:
        """Return what is unusual. A forced registration is a decision, for which the builds are not listed."""
        if self.id.number:
            return []
        stated = stated_name(self.task, self.overrides, self.invocation.settings, identity.name)
        return [*find_warnings(identity, stated, self.task, self.ami, self.invocation.builds.builds())]

    def highest_version(self, name: str) -> str | None:
        """Return the highest version of an image name. Raises TransientError or PermanentError."""
        return self.invocation.builds.builds().highest_version(names.arn_name(name))

    def derive(self, identity: Identity) -> Derivation:
        """Return the request, and where its parts come from."""
        derivation = derive(self.task, self.ami, self.overrides, self.invocation.settings, identity, self.client_token)
        logger.info("Derived the request", sources=derivation.sources, dropped_tags=derivation.dropped_tags)
        return derivation


def register(  # noqa: PLR0911, PLR0913 - a guard for each case, from top to bottom
    task: ImportTask,
    ami: Ami | None,
    id_: RegistrationId,
    record: Record,
    invocation: Invocation,
    *,
    overrides: Overrides = _NO_OVERRIDES,
    dry_run: bool = False,
    observe: bool = False,
) -> Registered:
    """Register a task, unless it has an image already.

    `record` is the record of `id_` as it was read. A dry run writes nothing. `observe` requests no image. Raises
    TransientError, or PermanentError where AWS refuses a read.
    """
    try:
        if registration := record.readable().registration:
            return _already_registered(id_, record, registration, overrides)
        if ami is None:
            return _without_ami(task, id_, record, invocation, dry_run=dry_run)
        if not_ready := check_ami(task, ami):
            return Registered(not_ready)
        candidate = _Import(task, ami, id_, overrides, invocation)
        if existing := _find_build(candidate):
            return _adopt(candidate, existing, dry_run=dry_run)
        name, version = candidate.identify()
        if dry_run or observe:
            return _describe(candidate, name, version)
        with invocation.store.claim(id_, invocation.deadline) as claim:
            if registration := claim.record.readable().registration:
                return _already_registered(id_, claim.record, registration, overrides)
            return _request(candidate, claim, name, version)
    except InProgressError as error:
        return Registered(Outcome(OutcomeKind.IN_PROGRESS, task.id, reason=str(error)))
    except (RejectedError, InvalidRecordError) as error:
        return Registered(_rejected(task, error, ami))


def _find_build(candidate: _Import) -> Build | None:
    """Return the image that the import has already, made by an earlier deployment or another user.

    Raises InProgressError where a build may become it, and TransientError or PermanentError.
    """
    if candidate.id.number:
        return None
    builds, task, ami = candidate.invocation.builds.builds(), candidate.task, candidate.ami
    if found := builds.find(task, ami, recorded=()):
        recorded = _recorded_arns(task.id, candidate.invocation)
        found = builds.find(task, ami, recorded)
    if found:
        return found
    age = candidate.invocation.time - ami.created if ami.created else _OWN_DECIDED_AFTER
    if age < _OWN_DECIDED_AFTER and builds.is_undecided(task, ami, untagged=age < _OTHERS_DECIDED_AFTER):
        raise InProgressError(_UNDECIDED)
    return None


def _adopt(candidate: _Import, build: Build, *, dry_run: bool) -> Registered:
    """Record an image that exists already. Raises RejectedError where the payload states another one."""
    id_, invocation = candidate.id, candidate.invocation
    registration = _registration(candidate, build.arn, {}, adopted=True)
    answer = _already_registered(id_, Record(), registration, candidate.overrides)
    if dry_run:
        return answer
    with invocation.store.claim(id_, invocation.deadline) as claim:
        if recorded := claim.record.readable().registration:
            return _already_registered(id_, claim.record, recorded, candidate.overrides)
        record = replace(claim.record, registration=registration)
        claim.save(record, is_open=True)
    return answer._replace(record=record)


def _describe(candidate: _Import, name: DerivedValue, version: DerivedValue | None) -> Registered:
    """Return the outcome of a dry run."""
    if version is None:
        peeked = candidate.claims(name.value).peek(candidate.highest_version(name.value))
        version = DerivedValue(peeked, _NEXT_VERSION)
    identity = Identity(name, version)
    derivation = candidate.derive(identity)
    outcome = Outcome(
        OutcomeKind.DRY_RUN,
        candidate.task.id,
        request=derivation.request.parameters(),
        sources=derivation.sources,
        ami_id=candidate.ami.id,
        warnings=candidate.warnings(identity),
        task=candidate.task,
    )
    return Registered(outcome)


def _request(candidate: _Import, claim: Claim, name: DerivedValue, version: DerivedValue | None) -> Registered:
    """Request the image and record it.

    Raises InProgressError where there is no time left for it, RejectedError, TransientError or PermanentError.
    """
    claims = candidate.claims(name.value)
    if version is None:
        version = DerivedValue(claims.claim(candidate.highest_version(name.value)), _NEXT_VERSION)
    elif (
        candidate.invocation.settings.version_scheme == "increment" or candidate.invocation.settings.immutable_versions
    ):
        candidate.claim_version(name.value, version.value)
    identity = Identity(name, version)
    derivation, warnings = candidate.derive(identity), candidate.warnings(identity)
    if not candidate.invocation.deadline.allows(_CALLS):
        raise InProgressError(_OUT_OF_TIME)
    try:
        answer = candidate.invocation.clients.image_builder.import_vm_image(derivation.request)
    except ClientTokenReusedError:
        return _find_requested(candidate, claim, derivation)
    except PermanentError as error:
        if error.certain:
            claims.give_back(version.value)
        return Registered(_rejected(candidate.task, error, candidate.ami, derivation))
    registration = replace(_registration(candidate, answer.arn, derivation.sources), warnings=warnings)
    record = replace(claim.record, registration=registration)
    claim.save(record, is_open=True)
    logger.info("Requested the image", imageArn=answer.arn, requestId=answer.request_id)
    return _registered(candidate, record, derivation)


def _find_requested(candidate: _Import, claim: Claim, derivation: Derivation) -> Registered:
    """Record the image of a request that an earlier invocation made with other values and did not record.

    It may be missing from Image Builder's list for some minutes. Meanwhile a failed or deleted one may be an older one.
    """
    task, ami, invocation = candidate.task, candidate.ami, candidate.invocation
    since = claim.record.first_seen.get(_SEARCHED, invocation.time)
    is_listed = invocation.time - since >= _LISTED_AFTER
    build = invocation.builds.list_again().find_requested(task, ami, _recorded_arns(task.id, invocation))
    if build and (is_listed or build.is_usable):
        requested, made = derivation.request.semantic_version, BuildArn.parse(build.arn)
        if made.version != requested:
            candidate.claims(derivation.request.name).give_back(requested)
        record = replace(claim.record, registration=_registration(candidate, build.arn, {}))
        claim.save(record, is_open=True)
        return _registered(candidate, record, None)
    if invocation.time == since:
        claim.save(replace(claim.record, first_seen={**claim.record.first_seen, _SEARCHED: since}))
    if not is_listed:
        return Registered(Outcome(OutcomeKind.IN_PROGRESS, task.id, reason=_NOT_LISTED, ami_id=ami.id))
    reason = _IMAGE_NOT_FOUND.format(candidate.client_token)
    outcome = Outcome(OutcomeKind.IMAGE_NOT_FOUND, task.id, reason=reason, ami_id=ami.id, task=task)
    return Registered(outcome)


def _without_ami(
    task: ImportTask, id_: RegistrationId, record: Record, invocation: Invocation, *, dry_run: bool
) -> Registered:
    """Return what becomes of a task of which EC2 shows no AMI."""
    if not task.image_id or task.status != "completed":
        return Registered(check_task(task))
    if dry_run:
        since = record.first_seen.get(_MISSING, invocation.time)
    else:
        since = note_first_seen(_MISSING, id_, record, invocation)
    if invocation.time - since >= _GONE_AFTER:
        reason = _AMI_GONE.format(task.image_id)
        outcome = Outcome(
            OutcomeKind.REJECTED, task.id, reason=reason, ami_id=task.image_id, task=task, problem=AMI_GONE
        )
        return Registered(outcome)
    return Registered(check_task(task))


def _registered(candidate: _Import, record: Record, derivation: Derivation | None) -> Registered:
    registration = record.registration
    outcome = Outcome(
        OutcomeKind.REGISTERED,
        candidate.task.id,
        image_arn=registration.arn if registration else None,
        request=derivation.request.parameters() if derivation else None,
        sources=derivation.sources if derivation else {},
        ami_id=candidate.ami.id,
        warnings=registration.warnings if registration else (),
        task=candidate.task,
    )
    return Registered(outcome, record)


def _already_registered(
    id_: RegistrationId, record: Record, registration: Registration, overrides: Overrides
) -> Registered:
    """Return the outcome of an import that has an image. Raises RejectedError where a payload states another one."""
    stated = {
        "name": overrides.name is not None
        and names.arn_name(names.normalise(overrides.name) or overrides.name) != registration.build.name,
        "semanticVersion": overrides.semantic_version is not None
        and not versions.is_same(overrides.semantic_version, registration.build.version),
        # What another one has registered cannot be compared.
        "description": registration.adopted and overrides.description is not None,
        "platform": registration.adopted and overrides.platform is not None,
        "osVersion": registration.adopted and overrides.os_version is not None,
        "tags": registration.adopted and bool(overrides.tags),
    }
    if conflicts := [key for key, conflicting in stated.items() if conflicting]:
        problem = _CONFLICT.format(registration.build.label, ", ".join(conflicts))
        raise RejectedError({"payload": problem})
    outcome = Outcome(
        OutcomeKind.ALREADY_REGISTERED,
        id_.import_task_id,
        image_arn=registration.arn,
        reason=_ADOPTED if registration.adopted else _ALREADY_REGISTERED,
        ami_id=registration.ami_id,
        task=registration.task,
    )
    return Registered(outcome, record)


def _registration(candidate: _Import, arn: str, sources: Mapping[str, str], *, adopted: bool = False) -> Registration:
    task = replace(candidate.task, status=None, status_message=None, progress=None, disks=(candidate.task.boot_disk,))
    return Registration(
        arn,
        candidate.ami.id,
        candidate.invocation.time,
        task,
        {part: sources[part] for part in ("name", "semanticVersion") if part in sources},
        adopted=adopted,
        request_id=candidate.invocation.request_id,
    )


def _rejected(
    task: ImportTask,
    error: PermanentError | RejectedError,
    ami: Ami | None = None,
    derivation: Derivation | None = None,
) -> Outcome:
    return Outcome(
        OutcomeKind.REJECTED,
        task.id,
        request=derivation.request.parameters() if derivation else None,
        reason=str(error),
        ami_id=ami.id if ami else None,
        task=task,
        problem=error.problem,
    )


def _find_ami(task: ImportTask, invocation: Invocation) -> Ami | None:
    """Return the AMI that a task names: anybody in the account may register another one with the task's name."""
    return invocation.clients.ec2.find_ami(task.image_id) if task.image_id else None


def _find_new_ami(event: AmiAvailable, invocation: Invocation) -> Ami | None:
    """Return the AMI of an event. Where EC2 does not show a new one, read it again."""
    ami = invocation.clients.ec2.find_ami(event.image_id)
    for _ in range(_READS if abs(invocation.time - event.time) < _VISIBLE_AFTER else 0):
        if ami is None:
            invocation.sleep(_POLL_SECONDS)
            ami = invocation.clients.ec2.find_ami(event.image_id)
    return ami


def _find_completed_task(import_task_id: str, ami: Ami, invocation: Invocation) -> ImportTask | None:
    """Return the task that made an AMI. Where it is about to name the AMI, read it again for two minutes."""
    find_task = invocation.clients.ec2.find_task
    is_fresh = ami.created is not None and abs(invocation.time - ami.created) < _FRESH
    for _ in range(_POLLS):
        task = find_task(import_task_id)
        if task is None or not task.is_active or task.image_id or not is_fresh or ami.is_copy:
            return task
        if exclude(task, invocation) or not invocation.deadline.allows(_CALLS + _CALLS_BEFORE):
            return task
        invocation.sleep(_POLL_SECONDS)
    return find_task(import_task_id)


def _read_registrations(import_task_id: str, invocation: Invocation, *, forced: bool) -> dict[str, Record]:
    """Return the records of a task: of its first registration, and also of the forced ones."""
    numbers = range(MAX_REGISTRATIONS if forced else 1)
    return invocation.store.read(RegistrationId(import_task_id, number) for number in numbers)


def _recorded_arns(import_task_id: str, invocation: Invocation) -> set[str]:
    records = _read_registrations(import_task_id, invocation, forced=True)
    return {record.registration.arn for record in records.values() if record.registration}


def _next_registration(
    task: ImportTask, ami: Ami | None, records: dict[str, Record], invocation: Invocation, *, dry_run: bool
) -> RegistrationId:
    """Return the registration that a forced invocation makes: its own where Lambda retries it, else the next one.

    An image of another user is recorded before, so that it is followed, too. Raises RejectedError where there are too
    many, InvalidRecordError, and what `_find_build` raises.
    """
    for number in range(MAX_REGISTRATIONS):
        id_ = RegistrationId(task.id, number)
        registration = records.get(str(id_), Record()).readable().registration
        if registration is None and not number and ami and not check_ami(task, ami):
            candidate = _Import(task, ami, id_, _NO_OVERRIDES, invocation)
            if existing := _find_build(candidate):
                _adopt(candidate, existing, dry_run=dry_run)
                continue
        is_own = registration and registration.request_id == invocation.request_id and not registration.adopted
        if registration is None or is_own:
            return id_
    raise RejectedError({"force": _TOO_MANY.format(MAX_REGISTRATIONS)})


def _report(
    outcome: Outcome, id_: RegistrationId, record: Record, invocation: Invocation, kinds: Collection[OutcomeKind]
) -> Outcome:
    """Report the outcome of a registration if it is one of these kinds."""
    return report_once(outcome, id_, record, invocation) if outcome.kind in kinds else outcome


def _follow_up(id_: RegistrationId, record: Record, invocation: Invocation) -> Iterator[Outcome]:
    """Run the steps of a registration. What fails does not change its outcome."""
    try:
        yield from steps.run(id_, record, invocation)
    except Exception:  # noqa: BLE001 - the import is registered, whatever it is
        logger.exception("The import is registered. The next sweep repeats the steps that failed")
