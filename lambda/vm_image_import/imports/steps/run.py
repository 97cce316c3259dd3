"""Runs the steps of one registration."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Final

from vm_image_import.domain.errors import InProgressError, PermanentError, TransientError
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.imports.steps.follow import FOLLOW
from vm_image_import.imports.steps.notify import NOTIFY
from vm_image_import.imports.steps.parameter import PARAMETER
from vm_image_import.imports.steps.step import GIVEN_UP, Done, Due, Run, Step, Waiting
from vm_image_import.imports.steps.tag import TAG
from vm_image_import.invocation import Invocation
from vm_image_import.records.registration import Record, Registration, RegistrationId
from vm_image_import.records.store import Claim
from vm_image_import.report.log import logger
from vm_image_import.report.notifications import publish
from vm_image_import.settings import Settings

STEPS: Final = (FOLLOW, TAG, PARAMETER, NOTIFY)
"""In their order: a step uses the results of those before it."""
_GIVEN_UP_AFTER: Final = timedelta(days=6)
"""EC2 lists a task for 7 days after its end. What has not happened before is overdue."""
_TRIED_FOR: Final = timedelta(days=1)
"""What is overdue is tried for so long before it is given up: it may begin late, as where an option was off."""
_FORGOTTEN_AFTER: Final = timedelta(days=3)
"""What was not tried for so long begins anew."""
_NOT_REPEATED: Final = "{} The step is not repeated any more. The image is registered. {}"
_DO_IT: Final = "Do the step manually: {}."
_LOOK: Final = (
    "Look at the image in Image Builder. These steps are not done: {}. No IMAGE_AVAILABLE or IMAGE_FAILED is sent."
)
_RECORD_CALLS: Final = 2
"""To claim a record, and to save it."""


def have_ended(registration: Registration, settings: Settings | None) -> bool:
    """Return whether no step of a registration is left; without settings, none that may ever be configured."""
    steps = [step for step in STEPS if settings is None or step.is_configured(settings)]
    return all(step.name in registration.results for step in steps)


def run(id_: RegistrationId, record: Record, invocation: Invocation) -> Iterator[Outcome]:
    """Run what is left of the steps of a registration, and yield their outcomes.

    `record` is its record as it was read; without a registration there is nothing to do. A step that fails does not
    keep the others from running. Raises the first error that was not reported, when all steps have run.
    """
    if record.registration is None:
        return
    this = Run(invocation, id_, record.registration)
    errors: list[Exception] = []
    for step in STEPS:
        if step.is_configured(this.settings) and step.name not in this.registration.results:
            try:
                yield from _run_step(step, this)
            except InProgressError as error:
                logger.info("Another invocation runs the steps", step=step.name, reason=str(error))
            except Exception as error:  # noqa: BLE001 - one step must not stop the others
                logger.exception("The step failed", step=step.name)
                errors.append(error)
    _note_overdue(this)
    if this.registration != this.recorded:
        # Without the record, the next sweep looks again.
        with suppress(InProgressError), _claim(this) as claim:
            _save(claim, this)
    if errors:
        raise errors[0]


def follow_up(id_: RegistrationId, record: Record, invocation: Invocation) -> Iterator[Outcome]:
    """Run the steps of a registration. What fails does not change its outcome."""
    try:
        yield from run(id_, record, invocation)
    except Exception:  # noqa: BLE001 - the import is registered, whatever it is
        logger.exception("The import is registered. The next sweep repeats the steps that failed")


def _run_step(step: Step, this: Run) -> Iterator[Outcome]:
    """Run one step, and yield its outcome. Raises InProgressError, or an error of the step that was not reported."""
    is_over = _is_over(step, this)
    try:
        found = _look_and_act(step, this)
    except PermanentError as error:
        yield _report(step, error.problem, str(error), this, is_over=is_over)
        if is_over:
            this.note_result(step.name, GIVEN_UP)
        return
    except InProgressError:
        raise
    except Exception as error:
        if not is_over:
            raise
        found = Waiting(str(error))
    if isinstance(found, Done):
        this.note_result(step.name, found.result)
    elif is_over and not found.continues:
        logger.error("The step is given up", step=step.name, reason=found.reason)
        # No notification can say that none can be sent, and each problem is reported once.
        if step is not NOTIFY and step.name not in this.registration.problems:
            yield _report(step, GIVEN_UP, found.reason, this, is_over=True)
        this.note_result(step.name, GIVEN_UP)
        return
    if found.outcome:
        yield found.outcome


def _is_over(step: Step, this: Run) -> bool:
    """Return whether a step is given up that cannot be done now."""
    since = _overdue_since(step, this)
    return since is not None and this.invocation.time - since >= _TRIED_FOR


def _overdue_since(step: Step, this: Run) -> datetime | None:
    """Return since when a step is overdue, as far as it was noted and is not forgotten."""
    since = this.registration.overdue.get(step.name)
    return since if since and this.invocation.time - since < _FORGOTTEN_AFTER else None


def _note_overdue(this: Run) -> None:
    """Note since when the steps that are left are overdue."""
    if this.invocation.time - this.registration.time <= _GIVEN_UP_AFTER:
        return
    for step in STEPS:
        is_left = step.is_configured(this.settings) and step.name not in this.registration.results
        if is_left and _overdue_since(step, this) is None:
            this.note_overdue(step.name)


def _look_and_act(step: Step, this: Run) -> Done | Waiting:
    """Look what there is to do, and do it if there is time. Raises what the step raises, and InProgressError."""
    found = step.look(this)
    if not isinstance(found, Due):
        return found
    if not this.invocation.deadline.allows(found.calls + _RECORD_CALLS):
        logger.info("No time is left for the step. The next sweep runs it", step=step.name)
        return Waiting("No time was left for the step.", continues=True)
    return _act(step, this)


def _act(step: Step, this: Run) -> Done | Waiting:
    """Do what is due, unless another invocation has done it. Raises what `Step.act` raises, and InProgressError."""
    with _claim(this) as claim:
        if step.name in this.registration.results:
            return Done(this.registration.results[step.name])
        found = step.act(this)
        if isinstance(found, Done):
            this.note_result(step.name, found.result)
        elif found.unverified:
            this.note_unverified(step.name, found.unverified)
        _save(claim, this)
    return found


def _report(step: Step, problem: str, reason: str, this: Run, *, is_over: bool) -> Outcome:
    """Publish that a step failed, unless this problem was the last one that was reported of it."""
    if is_over:
        reason = _NOT_REPEATED.format(reason, _order(step, this))
    outcome = this.outcome(OutcomeKind.FOLLOW_UP_FAILED, reason)
    outcome = outcome._replace(step=step.name, problem=problem, is_new=False, says_what_to_do=is_over)
    if this.registration.problems.get(step.name) == problem:
        return outcome
    with _claim(this) as claim:
        if this.registration.problems.get(step.name) == problem:
            return outcome
        publish(outcome, this.invocation)
        this.note_problem(step.name, problem)
        _save(claim, this)
    return outcome._replace(is_new=True)


def _order(step: Step, this: Run) -> str:
    """Return what the user does instead of a step that is given up."""
    if step is not FOLLOW:
        return _DO_IT.format(step.name)
    left = [each.name for each in STEPS if each.is_configured(this.settings) and each is not FOLLOW]
    return _LOOK.format(", ".join(left))


@contextmanager
def _claim(this: Run) -> Iterator[Claim]:
    """Claim the record, and add what other invocations have recorded."""
    with this.invocation.store.claim(this.id, this.invocation.deadline) as claim:
        recorded = claim.record.readable().registration
        if recorded is None or recorded.arn != this.registration.arn:
            message = f"The record of {this.id} was deleted or replaced."
            raise TransientError(message)
        this.registration = recorded._replace(
            results={**this.registration.results, **recorded.results},
            overdue={**recorded.overdue, **this.registration.overdue},
        )
        yield claim


def _save(claim: Claim, this: Run) -> None:
    # A sweep finds forced registrations in the index only, and options may be turned on later.
    is_open = not have_ended(this.registration, None if this.id.number else this.settings)
    claim.save(claim.record._replace(registration=this.registration), is_open=is_open)
    this.recorded = this.registration
