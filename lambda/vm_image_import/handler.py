"""The function's entry: takes one trigger to its use case and tells what became of it."""

import os
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Final

from vm_image_import import triggers
from vm_image_import.aws import Ec2, ImageBuilder, Topic, dynamodb
from vm_image_import.deferred import deferred
from vm_image_import.follow import Follower
from vm_image_import.models import AwsEnvironment, Outcome, OutcomeKind
from vm_image_import.register import Registrar
from vm_image_import.settings import Settings
from vm_image_import.sweep import Sweeper, Swept
from vm_image_import.telemetry import event_age, logger, metrics, sweep_completed, tell
from vm_image_import.triggers import AmiAvailable, ImageEnded, ManualImport, Sweep, Trigger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from vm_image_import.ledger import Ledger

_MARGIN_MS: Final = 30_000
"""No task is begun later than this before the function's end: longer than the calls for one take, unless AWS hardly
answers; then Lambda ends the run, and the next sweep goes on."""

_settings = Settings.from_environment(os.environ)
_ec2 = Ec2.connect()
_image_builder = deferred(ImageBuilder.connect)
_topic = deferred(lambda: Topic.connect(_settings.topic_arn))


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: object, context: "LambdaContext") -> dict[str, object]:
    """Answer one invocation: an event of EventBridge, or a person's payload.

    Returns the outcome as the README describes it. Raises InvalidTriggerError for input that the function does not
    take, and what AWS answers in passing or refuses to a read, so that Lambda tries again and reports it.
    """
    try:
        return _route(triggers.parse(event), context).as_answer()
    except Exception:
        # Lambda's own report of the error does not name the import task.
        logger.exception("Failed")
        raise


def _route(trigger: Trigger, context: "LambdaContext") -> Outcome | Swept:
    ledger = deferred(lambda: _ledger_of_run(context))
    home = AwsEnvironment.of_function(context.invoked_function_arn)
    registrar = Registrar(_ec2, _image_builder, ledger, _topic, home, _settings)
    follower = Follower(_image_builder, ledger, _topic)
    if isinstance(trigger, Sweep):
        swept = Sweeper(_ec2, ledger, registrar, follower).sweep(
            lambda: context.get_remaining_time_in_millis() < _MARGIN_MS, dry_run=trigger.dry_run
        )
        if swept.complete and not trigger.dry_run:
            sweep_completed()
        return swept
    if isinstance(trigger, AmiAvailable):
        outcome = registrar.register_ami(trigger, datetime.now(UTC))
        if outcome.kind is OutcomeKind.REGISTERED:
            event_age((datetime.now(UTC) - trigger.time).total_seconds())
    elif isinstance(trigger, ImageEnded):
        outcome = follower.follow(trigger.image_arn)
    else:
        outcome = registrar.register_task(trigger, context.aws_request_id)
    tell(outcome, dry_run=isinstance(trigger, ManualImport) and trigger.dry_run)
    return outcome


def _ledger_of_run(context: "LambdaContext") -> "Ledger":
    ledger = _ledger()
    ledger.start_run(context)
    return ledger


@cache
def _ledger() -> "Ledger":
    # Powertools' idempotency is a good part of all imports, and only what is registered or told needs it.
    from vm_image_import.ledger import Ledger  # noqa: PLC0415

    return Ledger(dynamodb(), _settings.table_name)
