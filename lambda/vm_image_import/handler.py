"""The function's entry: passes a trigger to its use case, and reports the outcomes."""

import gc

# What is imported stays. To look for garbage meanwhile is 3 % of a cold start.
gc.disable()

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from vm_image_import import events
from vm_image_import.deadline import Deadline
from vm_image_import.domain.models import AwsEnvironment
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.events import AmiAvailable, ImageStateChanged, ManualImport, Sweep
from vm_image_import.invocation import Clients, Invocation
from vm_image_import.report.answers import answer_of, answer_of_sweep
from vm_image_import.report.log import log_and_count, log_context, logger, metrics, record_event_age
from vm_image_import.settings import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

gc.freeze()
gc.enable()


def handler(event: object, context: "LambdaContext") -> dict[str, object]:
    """Handle one invocation by Lambda: an event of EventBridge, or the payload of a manual invocation.

    Returns the answer that docs/reference.md describes. Raises InvalidTriggerError for input that the function does not
    accept, InvalidSettingsError, TransientError or PermanentError where AWS cannot be read, and SweepError where the
    import tasks cannot be listed, so that Lambda tries again and reports the failure.
    """
    answer: dict[str, object] = invoke(event, context, _clients())
    return answer


@cache
def _clients() -> Clients:
    return Clients(Settings.from_environment(os.environ))


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def invoke(event: object, context: "LambdaContext", clients: Clients) -> dict[str, object]:
    """Handle one invocation with these clients, as `handler` does."""
    with log_context():
        trigger = events.parse(event)
    invocation = Invocation(
        clients,
        AwsEnvironment.of_function(context.invoked_function_arn),
        context.aws_request_id,
        datetime.now(UTC),
        Deadline(context.get_remaining_time_in_millis),
    )
    if isinstance(trigger, Sweep):
        from vm_image_import.imports.sweep import sweep  # noqa: PLC0415 - see _outcomes_of

        # The sweep logs the errors of what it processes. This logs the one that ends it, like a claim that is refused.
        with log_context():
            return answer_of_sweep(sweep(invocation, dry_run=trigger.dry_run))
    dry_run = isinstance(trigger, ManualImport) and trigger.dry_run
    outcomes = []
    # Each use case logs the errors that leave it.
    for outcome in _outcomes_of(trigger, invocation):
        if isinstance(trigger, AmiAvailable) and outcome.kind is OutcomeKind.REGISTERED:
            record_event_age((datetime.now(UTC) - trigger.time).total_seconds())
        log_and_count(outcome, dry_run=dry_run)
        outcomes.append(outcome)
    # The first one is what became of the trigger.
    return answer_of(outcomes[0])


def _outcomes_of(trigger: AmiAvailable | ImageStateChanged | ManualImport, invocation: Invocation) -> Iterator[Outcome]:
    # A cold start imports the use case of its trigger only.
    match trigger:
        case AmiAvailable():
            from vm_image_import.imports.ami_event import on_ami_event  # noqa: PLC0415 - as said above

            return on_ami_event(trigger, invocation)
        case ImageStateChanged(arn):
            from vm_image_import.imports.image_event import on_image_event  # noqa: PLC0415 - as said above

            return on_image_event(arn, invocation)
        case ManualImport():
            from vm_image_import.imports.manual import on_manual_invocation  # noqa: PLC0415 - as said above

            return on_manual_invocation(trigger, invocation)
