"""The function's entry: takes one trigger to its use case, and reports the outcome."""

import os
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from vm_image_import import events
from vm_image_import.answers import answer_of, answer_of_sweep
from vm_image_import.clients import Clients
from vm_image_import.events import AmiAvailable, ImageStateChanged, ManualImport, Sweep
from vm_image_import.models import AwsEnvironment, Invocation, Outcome, OutcomeKind
from vm_image_import.observability import (
    log_and_count,
    log_context,
    logger,
    metrics,
    record_event_age,
)
from vm_image_import.register import Registrar
from vm_image_import.settings import Settings
from vm_image_import.sweep import Sweeper
from vm_image_import.track import ImageTracker

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


def handler(event: object, context: "LambdaContext") -> dict[str, object]:
    """Handle one invocation by Lambda: an event of EventBridge, or the payload of a manual invocation.

    Returns the answer that docs/reference.md describes. Raises InvalidTriggerError for input that the function does not
    accept, InvalidSettingsError, and TransientError or PermanentError where AWS cannot be read, so that Lambda tries
    again and reports the failure.
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
        AwsEnvironment.of_function(context.invoked_function_arn),
        context.aws_request_id,
        datetime.now(UTC),
        context.get_remaining_time_in_millis,
    )
    if isinstance(trigger, Sweep):
        return answer_of_sweep(Sweeper(clients, invocation).sweep(dry_run=trigger.dry_run))
    outcome = _handle_one(trigger, clients, invocation)
    log_and_count(outcome, dry_run=isinstance(trigger, ManualImport) and trigger.dry_run)
    return answer_of(outcome)


def _handle_one(
    trigger: AmiAvailable | ImageStateChanged | ManualImport, clients: Clients, invocation: Invocation
) -> Outcome:
    registrar = Registrar(clients, invocation)
    if isinstance(trigger, AmiAvailable):
        outcome = registrar.register_ami(trigger)
        if outcome.kind is OutcomeKind.REGISTERED:
            record_event_age((datetime.now(UTC) - trigger.time).total_seconds())
        return outcome
    if isinstance(trigger, ImageStateChanged):
        with log_context(imageArn=trigger.image_arn):
            return ImageTracker(clients, invocation).check_event(trigger.image_arn)
    with log_context(importTaskId=trigger.import_task_id):
        return registrar.register_manually(trigger)
