"""What is recorded of an import that has no image: its outcome, published once for each problem, and since when."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from vm_image_import.domain.errors import InProgressError
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.invocation import Invocation
from vm_image_import.records.registration import Record, RegistrationId
from vm_image_import.report.notifications import publish

_REJECTED: Final = "rejection reported"
"""What is noted in a record with the time of the last notification of a rejection."""
_REPORTED: Final = frozenset({OutcomeKind.IMPORT_FAILED, OutcomeKind.IMAGE_NOT_FOUND})
"""What a manual invocation publishes, too: nobody else may notice it."""
_REPORTED_AUTOMATICALLY: Final = _REPORTED | {OutcomeKind.REJECTED, OutcomeKind.DRY_RUN}
_SELDOM: Final = timedelta(hours=1)
"""Whoever tags a task can change what is wrong with it at any time."""


def report_once(outcome: Outcome, id_: RegistrationId, record: Record, invocation: Invocation) -> Outcome:
    """Publish an outcome unless it is the last one that was reported. Return it with `is_new`.

    Another rejection within an hour is left to a later sweep.

    `record` is the record of the import as it was read. Raises TransientError or PermanentError where the notification
    cannot be sent or recorded.
    """
    known = outcome._replace(is_new=False)
    if record.reported == outcome.report:
        return known
    try:
        with invocation.store.claim(id_, invocation.deadline) as claim:
            if claim.record.registration or claim.record.reported == outcome.report:
                return known
            seen = claim.record.first_seen
            if outcome.kind is OutcomeKind.REJECTED:
                if _REJECTED in seen and invocation.time - seen[_REJECTED] < _SELDOM:
                    return known
                seen = {**seen, _REJECTED: invocation.time}
            publish(outcome, invocation)
            claim.save(claim.record._replace(reported=outcome.report, first_seen=seen))
    except InProgressError:
        # The other invocation reports it.
        return known
    return outcome


def note_first_seen(what: str, id_: RegistrationId, record: Record, invocation: Invocation) -> datetime:
    """Return when something was first seen of an import: now, which is noted, where it was not seen before.

    `record` is the record of the import as it was read. Raises TransientError or PermanentError.
    """
    if what not in record.first_seen:
        # Where another invocation has the claim, the next sweep notes it.
        with suppress(InProgressError), invocation.store.claim(id_, invocation.deadline) as claim:
            if claim.record.registration is None:
                claim.save(claim.record._replace(first_seen={what: invocation.time, **claim.record.first_seen}))
    return record.first_seen.get(what, invocation.time)


def report(
    outcome: Outcome, id_: RegistrationId, record: Record, invocation: Invocation, *, is_manual: bool
) -> Outcome:
    """Report the outcome of a registration as `report_once` does, unless only the caller needs it."""
    kinds = _REPORTED if is_manual else _REPORTED_AUTOMATICALLY
    return report_once(outcome, id_, record, invocation) if outcome.kind in kinds else outcome
