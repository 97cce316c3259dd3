"""The image that an import has already: of another user, an earlier deployment, or an unrecorded request."""

import re
from datetime import timedelta
from typing import Final

from vm_image_import.derive import Derivation, versions
from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.errors import InProgressError
from vm_image_import.domain.models import Build
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.imports.candidate import LISTED_AFTER, Candidate
from vm_image_import.imports.results import Registered, already_registered, registered
from vm_image_import.invocation import Invocation
from vm_image_import.records.registration import MAX_REGISTRATIONS, Record, RegistrationId
from vm_image_import.records.store import Claim
from vm_image_import.records.version_claims import VersionClaims

_UNDECIDED: Final = "Image Builder is importing a VM, and does not show yet whether it is this import."
_NOT_LISTED: Final = "Image Builder has an image of this import, but does not list it yet."
_EARLIER_REQUEST: Final = "The image of an earlier request was found. The values of that request apply."
_IMAGE_NOT_FOUND: Final = (
    "Image Builder has an image of this import, requested with the client token {}, but its ARN was not recorded and no"
    " image has the tag vm-image-import:task-id of the import. Look for the image in Image Builder by the import's name"
    ' and date, and use it by its ARN. Do not write "force": true: it makes a second image.'
)
_SEPARATORS: Final = re.compile(r"[^a-z0-9]")
_OTHERS_DECIDED_AFTER: Final = timedelta(minutes=30)
"""The age of an AMI at which no build of others is waited for any more."""
_OWN_DECIDED_AFTER: Final = timedelta(days=1)
"""The age of an AMI at which no build with its tags is waited for any more."""
NOT_ANSWERED: Final = "image searched"
ARN_UNKNOWN: Final = "image of unknown ARN searched"
"""Why the image of a request is looked for, as it is noted in a record with the time since when."""


def find_existing(candidate: Candidate) -> Build | None:
    """Return the image that the import has already, made by an earlier deployment or another user.

    Raises InProgressError where a build may become it, and TransientError or PermanentError.
    """
    if candidate.id.number:
        return None
    builds, task, ami = candidate.invocation.builds.builds(), candidate.task, candidate.ami
    if found := builds.find(task, ami, recorded=()):
        recorded = recorded_arns(task.id, candidate.invocation)
        found = builds.find(task, ami, recorded)
    if found:
        return found
    age = candidate.invocation.time - ami.created if ami.created else _OWN_DECIDED_AFTER
    if age < _OWN_DECIDED_AFTER and builds.is_undecided(task, ami, untagged=age < _OTHERS_DECIDED_AFTER):
        raise InProgressError(_UNDECIDED)
    return None


def adopt(candidate: Candidate, build: Build, *, dry_run: bool) -> Registered:
    """Record an image that exists already. Raises RejectedError where the payload states another one."""
    id_, invocation = candidate.id, candidate.invocation
    registration = candidate.registration(build.arn, {}, adopted=True)
    answer = already_registered(id_, Record(), registration, candidate.overrides)
    if dry_run:
        return answer
    with invocation.store.claim(id_, invocation.deadline) as claim:
        if recorded := claim.record.readable().registration:
            return already_registered(id_, claim.record, recorded, candidate.overrides)
        record = claim.record._replace(registration=registration)
        claim.save(record, is_open=True)
    return answer._replace(record=record)


def find_requested_image(
    candidate: Candidate, claim: Claim, claims: VersionClaims, derivation: Derivation, why: str
) -> Registered:
    """Record the image of a request of which Image Builder does not answer the ARN, or none that can be recorded.

    It may be missing from Image Builder's list for some minutes. Meanwhile a failed or deleted one may be an older one.
    Raises what `record_earlier_request` raises.
    """
    task, ami, invocation = candidate.task, candidate.ami, candidate.invocation
    since = claim.record.first_seen.get(why)
    is_listed = since is not None and invocation.time - since >= LISTED_AFTER
    build = invocation.builds.list_again().find_requested(task, ami, recorded_arns(task.id, invocation))
    if build and (is_listed or build.is_usable):
        return record_earlier_request(candidate, claim, claims, derivation, build.arn)
    if since is None:
        claim.save(claim.record._replace(first_seen={**claim.record.first_seen, why: invocation.now()}))
    if not is_listed:
        return Registered(Outcome(OutcomeKind.IN_PROGRESS, task.id, reason=_NOT_LISTED, ami_id=ami.id))
    reason = _IMAGE_NOT_FOUND.format(candidate.client_token)
    outcome = Outcome(OutcomeKind.IMAGE_NOT_FOUND, task.id, reason=reason, ami_id=ami.id, task=task)
    return Registered(outcome)


def is_requested(arn: BuildArn, derivation: Derivation) -> bool:
    """Return whether an image has the name and version of a request, however Image Builder writes them in its ARN."""
    same_name = _SEPARATORS.sub("", arn.name) == _SEPARATORS.sub("", derivation.request.name.lower())
    return same_name and versions.is_same(derivation.request.semantic_version, arn.version)


def record_earlier_request(
    candidate: Candidate, claim: Claim, claims: VersionClaims, derivation: Derivation, arn: str
) -> Registered:
    """Record the image that an earlier, unrecorded request has made, maybe with other values.

    Raises RejectedError where the payload states another name or version, when the image is recorded.
    """
    requested = derivation.request.semantic_version
    if not versions.is_same(requested, BuildArn.parse(arn).version):
        claims.give_back(requested)
    registration = candidate.registration(arn, {})
    record = claim.record._replace(registration=registration)
    claim.save(record, is_open=True)
    already_registered(candidate.id, record, registration, candidate.overrides)
    found = registered(candidate, record, None)
    return found._replace(outcome=found.outcome._replace(reason=_EARLIER_REQUEST))


def read_registrations(import_task_id: str, invocation: Invocation, *, forced: bool) -> dict[str, Record]:
    """Return the records of a task: of its first registration, and also of the forced ones."""
    numbers = range(MAX_REGISTRATIONS if forced else 1)
    return invocation.store.read(RegistrationId(import_task_id, number) for number in numbers)


def other_arns(candidate: Candidate) -> set[str]:
    """Return the ARNs of a task's other registrations, for a forced one. Raises TransientError or PermanentError."""
    return recorded_arns(candidate.task.id, candidate.invocation) if candidate.id.number else set()


def recorded_arns(import_task_id: str, invocation: Invocation) -> set[str]:
    """Return the ARNs of the recorded images of a task. Raises TransientError or PermanentError."""
    records = read_registrations(import_task_id, invocation, forced=True)
    return {record.registration.arn for record in records.values() if record.registration}
