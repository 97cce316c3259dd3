"""The function's entry: takes one trigger to its use case and tells what became of it."""

import os
from datetime import UTC, datetime

from aws_lambda_powertools.utilities.typing import LambdaContext

from vm_image_import import triggers
from vm_image_import.aws import Ec2, ImageBuilder
from vm_image_import.home import Home
from vm_image_import.outcome import Kind, Outcome
from vm_image_import.register import Registrar
from vm_image_import.settings import Settings
from vm_image_import.telemetry import event_age, logger, metrics, tell
from vm_image_import.triggers import AmiAvailable, ManualImport, Trigger

_settings = Settings.from_environment(os.environ)
_ec2 = Ec2.connect()
_image_builder = ImageBuilder.connect()


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: object, context: LambdaContext) -> dict[str, object]:
    """Answer one invocation: an event of EventBridge, or a person's payload.

    Returns the outcome as the README describes it. Raises InvalidTriggerError for input that the function does not
    take, and what AWS answers in passing or refuses to a read, so that Lambda tries again and reports it.
    """
    trigger = triggers.parse(event)
    try:
        outcome = _route(trigger, context)
    except Exception:
        # Lambda's own report of the error does not name the import task.
        logger.exception("Failed")
        raise
    tell(outcome, dry_run=isinstance(trigger, ManualImport) and trigger.dry_run)
    return outcome.as_answer()


def _route(trigger: Trigger, context: LambdaContext) -> Outcome:
    registrar = Registrar(_ec2, _image_builder, Home.of_function(context.invoked_function_arn), _settings)
    match trigger:
        case AmiAvailable():
            outcome = registrar.register_ami(trigger, datetime.now(UTC))
            if outcome.kind is Kind.REGISTERED:
                event_age((datetime.now(UTC) - trigger.time).total_seconds())
            return outcome
        case ManualImport():
            return registrar.register_task(trigger, context.aws_request_id)
