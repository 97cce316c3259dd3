"""Registers one import with Image Builder, once, and records it."""

from datetime import timedelta
from typing import Final

from vm_image_import.derive import NEXT_PATCH, Derivation, DerivedValue, Identity
from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.errors import (
    ClientTokenReusedError,
    InProgressError,
    InvalidRecordError,
    PermanentError,
    RejectedError,
    UnknownArnError,
)
from vm_image_import.domain.models import NO_OVERRIDES, Ami, ImportTask, Overrides
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.imports.candidate import Candidate
from vm_image_import.imports.existing import (
    ARN_UNKNOWN,
    NOT_ANSWERED,
    adopt,
    find_existing,
    find_requested_image,
    is_requested,
    other_arns,
    record_earlier_request,
)
from vm_image_import.imports.readiness import AMI_GONE, check_ami, check_task
from vm_image_import.imports.reports import note_first_seen
from vm_image_import.imports.results import Registered, already_registered, registered, rejected
from vm_image_import.invocation import Invocation
from vm_image_import.records.registration import Record, RegistrationId
from vm_image_import.records.store import Claim
from vm_image_import.records.version_claims import VersionClaims
from vm_image_import.report.log import logger

_AMI_GONE: Final = (
    "EC2 no longer shows {}, the AMI of this import: it was deregistered. If a tool copied it to an AMI of another name"
    " (Packer's ami_name does), let the tool keep the AMI of the import, or use the copy in a recipe by its AMI id."
    " Else import the VM again. If the AMI is restored, the next sweep registers it."
)
_OUT_OF_TIME: Final = "The invocation has no time left for this import."
_MAY_EXIST: Final = "An earlier attempt may have made the image: look for it in Image Builder."
_GONE_AFTER: Final = timedelta(hours=1)
"""An AMI that EC2 does not show for so long is taken for gone."""
_CALLS: Final = 2
"""To request the image, and to record it."""
_CLAIM_CALLS: Final = 2
"""To claim its version."""
_MISSING: Final = "AMI missing"
"""What is noted in a record with the time at which it was first seen."""


def register(  # noqa: PLR0911, PLR0913 - a guard for each case, from top to bottom
    task: ImportTask,
    ami: Ami | None,
    id_: RegistrationId,
    record: Record,
    invocation: Invocation,
    *,
    overrides: Overrides = NO_OVERRIDES,
    dry_run: bool = False,
    observe: bool = False,
) -> Registered:
    """Register a task, unless it has an image already.

    `record` is the record of `id_` as it was read. A dry run writes nothing. `observe` requests no image. Raises
    TransientError, or PermanentError where AWS refuses a read.
    """
    try:
        if registration := record.readable().registration:
            return already_registered(id_, record, registration, overrides)
        if ami is None:
            return _without_ami(task, id_, record, invocation, dry_run=dry_run)
        if not_ready := check_ami(task, ami):
            return Registered(not_ready)
        candidate = Candidate(task, ami, id_, overrides, invocation)
        if existing := find_existing(candidate):
            return adopt(candidate, existing, dry_run=dry_run)
        name, version = candidate.identify()
        if dry_run or observe:
            return _describe(candidate, name, version)
        with invocation.store.claim(id_, invocation.deadline) as claim:
            if registration := claim.record.readable().registration:
                return already_registered(id_, claim.record, registration, overrides)
            return _request(candidate, claim, name, version)
    except InProgressError as error:
        return Registered(Outcome(OutcomeKind.IN_PROGRESS, task.id, reason=str(error)))
    except (RejectedError, InvalidRecordError) as error:
        return Registered(rejected(task, error, ami))


def _describe(candidate: Candidate, name: DerivedValue, version: DerivedValue | None) -> Registered:
    """Return the outcome of a dry run."""
    if version is None:
        peeked = candidate.claims(name.value).peek(candidate.highest_version(name.value))
        version = DerivedValue(peeked, NEXT_PATCH)
    identity = Identity(name, version)
    derivation = candidate.derive(identity)
    outcome = Outcome(
        OutcomeKind.DRY_RUN,
        candidate.task.id,
        request=derivation.request.parameters(),
        sources=derivation.sources,
        ami_id=candidate.ami.id,
        warnings=candidate.warnings(identity, derivation),
        task=candidate.task,
    )
    return Registered(outcome)


def _request(candidate: Candidate, claim: Claim, name: DerivedValue, version: DerivedValue | None) -> Registered:
    """Request the image and record it.

    Raises InProgressError where there is no time left for it, RejectedError, TransientError or PermanentError.
    """
    claims = candidate.claims(name.value)
    others = other_arns(candidate)
    if not candidate.invocation.deadline.allows(_CLAIM_CALLS + _CALLS):
        raise InProgressError(_OUT_OF_TIME)
    version, other = _claim_version(candidate, claims, name, version)
    identity = Identity(name, version)
    derivation = candidate.derive(identity)
    warnings = candidate.warnings(identity, derivation, other)
    if not candidate.invocation.deadline.allows(_CALLS):
        # A later attempt that finds its claim takes the image for requested.
        claims.give_back(version.value)
        raise InProgressError(_OUT_OF_TIME)
    if ARN_UNKNOWN in claim.record.first_seen:
        # Once Image Builder has forgotten the client token, a request makes another image.
        return find_requested_image(candidate, claim, claims, derivation, ARN_UNKNOWN)
    try:
        answer = candidate.invocation.clients.image_builder.import_vm_image(derivation.request)
    except ClientTokenReusedError:
        return find_requested_image(candidate, claim, claims, derivation, NOT_ANSWERED)
    except UnknownArnError as error:
        logger.error("The image is not recorded", reason=str(error))
        return find_requested_image(candidate, claim, claims, derivation, ARN_UNKNOWN)
    except PermanentError as error:
        return _refused(candidate, claims, derivation, error)
    if answer.arn in others:
        # An earlier request had this client token. Its record was lost, and its image was found again.
        outcome = Outcome(OutcomeKind.ALREADY_REGISTERED, candidate.task.id, image_arn=answer.arn)
        return Registered(outcome, is_recorded_elsewhere=True)
    if not is_requested(BuildArn.parse(answer.arn), derivation):
        return record_earlier_request(candidate, claim, claims, derivation, answer.arn)
    registration = candidate.registration(answer.arn, derivation.sources)._replace(warnings=warnings)
    record = claim.record._replace(registration=registration)
    claim.save(record, is_open=True)
    logger.info("Requested the image", imageArn=answer.arn, requestId=answer.request_id)
    return registered(candidate, record, derivation)


def _refused(candidate: Candidate, claims: VersionClaims, derivation: Derivation, error: PermanentError) -> Registered:
    """Return the outcome of a request that Image Builder has refused, and give back its version if that is certain."""
    refused = rejected(candidate.task, error, candidate.ami, derivation)
    version = derivation.request.semantic_version
    if error.certain:
        claims.give_back(version)
    if not error.certain or claims.was_claimed_before(version):
        refused = refused._replace(reason=f"{refused.reason} {_MAY_EXIST}")
    return Registered(refused)


def _claim_version(
    candidate: Candidate, claims: VersionClaims, name: DerivedValue, version: DerivedValue | None
) -> tuple[DerivedValue, RegistrationId | None]:
    """Return the version, claimed where versions are, and the registration of another import that has it, too.

    Raises what `Candidate.claim_version` raises.
    """
    settings = candidate.invocation.settings
    if version is None:
        return DerivedValue(claims.claim(candidate.highest_version(name.value)), NEXT_PATCH), None
    if settings.version_scheme == "increment" or settings.immutable_versions:
        return version, candidate.claim_version(claims, name.value, version.value)
    return version, None


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
        return Registered(outcome._replace(says_what_to_do=True))
    return Registered(check_task(task))
