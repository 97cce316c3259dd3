"""What becomes of an import that is registered, as outcomes."""

from typing import Final, NamedTuple

from vm_image_import.derive import Derivation, names, versions
from vm_image_import.domain.errors import InvalidRecordError, PermanentError, RejectedError
from vm_image_import.domain.models import Ami, ImportTask, Overrides
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.imports.candidate import Candidate
from vm_image_import.records.registration import Record, Registration, RegistrationId

_ALREADY_REGISTERED: Final = 'The import was registered before. To register it once more write "force": true.'
_ADOPTED: Final = (
    "An earlier invocation or deployment, or another user, registered the import. The image is recorded, and no second"
    " one is made."
)
_CONFLICT: Final = (
    "The import is registered as {}, so {} of the payload cannot be used: leave it out, or write"
    ' "force": true to register the import once more.'
)
_NOT_KNOWN: Final = (
    "An earlier invocation or deployment, or another user, registered the import as {}. Whether the image has {} of the"
    ' payload is not known: look at it and leave it out, or write "force": true for a second image.'
)


class Registered(NamedTuple):
    """What became of a registration, and its record if there is one."""

    outcome: Outcome
    record: Record = Record()
    is_recorded_elsewhere: bool = False
    """Whether the image is that of another registration of the task."""


def registered(candidate: Candidate, record: Record, derivation: Derivation | None) -> Registered:
    """Return the outcome of an image that is requested and recorded; `derivation` is None where it was found."""
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


def already_registered(
    id_: RegistrationId, record: Record, registration: Registration, overrides: Overrides
) -> Registered:
    """Return the outcome of an import that has an image. Raises RejectedError where a payload states another one."""
    different = {
        "name": overrides.name is not None
        and names.arn_name(names.normalise(overrides.name) or overrides.name) != registration.build.name,
        "semanticVersion": overrides.semantic_version is not None
        and not versions.is_same(overrides.semantic_version, registration.build.version),
    }
    not_known = {
        "description": overrides.description is not None,
        "platform": overrides.platform is not None,
        "osVersion": overrides.os_version is not None,
        "tags": bool(overrides.tags),
    }
    for stated, problem in ((different, _CONFLICT), (not_known if registration.adopted else {}, _NOT_KNOWN)):
        if keys := ", ".join(key for key, is_stated in stated.items() if is_stated):
            raise RejectedError({"payload": problem.format(registration.build.label, keys)})
    outcome = Outcome(
        OutcomeKind.ALREADY_REGISTERED,
        id_.import_task_id,
        image_arn=registration.arn,
        reason=_ADOPTED if registration.adopted else _ALREADY_REGISTERED,
        ami_id=registration.ami_id,
        task=registration.task,
    )
    return Registered(outcome, record)


def rejected(
    task: ImportTask,
    error: PermanentError | RejectedError,
    ami: Ami | None = None,
    derivation: Derivation | None = None,
) -> Outcome:
    """Return the outcome of an import that cannot be registered as it is stated, or that AWS refuses."""
    return Outcome(
        OutcomeKind.REJECTED,
        task.id,
        request=derivation.request.parameters() if derivation else None,
        reason=str(error),
        ami_id=ami.id if ami else None,
        task=task,
        problem=error.problem,
        says_what_to_do=isinstance(error, InvalidRecordError),
    )
