"""EventBridge's default bus: events are matched with the deployed rules and delivered to their targets.

moto stores the rules and matches patterns, but it delivers for disabled rules and does not deliver to Lambda.
"""

import json
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from moto.events.models import Rule, events_backends
from moto.events.utils import EventMessageType, EventTemplateParser
from moto.sqs.exceptions import QueueDoesNotExist
from moto.sqs.models import Queue, sqs_backends

from local.aws import common, functions, keys, policies

_EVENTS: Final = "events.amazonaws.com"


def deliver(event: Mapping[str, object]) -> int:
    """Send `event` to every target of every enabled rule that it matches, in its account and Region.

    Functions are invoked asynchronously: `functions.run_queued` runs them. An event that cannot be delivered goes to
    the target's dead-letter queue; without one it is dropped. Returns the number of targets that got the event.
    """
    message = cast("EventMessageType", event)
    rules = [
        rule
        for rule in _enabled_rules(str(event["account"]), str(event["region"]))
        # For moto every event matches a rule without a pattern, which is a schedule.
        if rule.event_pattern.dump() and rule.event_pattern.matches_event(message)
    ]
    return sum(_send_to_target(rule, target, event) for rule in rules for target in rule.targets)


def fire_schedules(account_id: str, region: str, minute: int = 0) -> int:
    """Fire every enabled rule whose schedule is due so many minutes after a start: all are after none.

    Returns the number of targets that got it.
    """
    backend, kind = events_backends[account_id][region], ("aws.events", "Scheduled Event")
    return sum(
        _send_to_target(rule, target, common.event(backend, kind, rule.arn, {}))
        for rule in _enabled_rules(account_id, region)
        if rule.scheduled_expression and minute % _interval(rule.scheduled_expression) == 0
        for target in rule.targets
    )


def _interval(expression: str) -> int:
    """Return the minutes between two times of a schedule."""
    match = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
    if not match:
        message = f"Only schedules like rate(15 minutes) are supported here, not {expression}"
        raise NotImplementedError(message)
    return int(match[1]) * {"minute": 1, "hour": 60, "day": 1440}[match[2]]


def _enabled_rules(account_id: str, region: str) -> list[Rule]:
    bus = events_backends[account_id][region].event_buses["default"]
    # A copy: a deployment may add rules at the same time.
    return [rule for rule in [*bus.rules.values()] if rule.state != "DISABLED"]


def _send_to_target(rule: Rule, target: Mapping[str, Any], event: Mapping[str, object]) -> bool:
    arn = target["Arn"]
    payload = _target_input(target, event)
    match arn.split(":")[2]:
        case "lambda":
            function = functions.find(arn)
            error = _error_code(function.policy.statements if function else None, rule, "lambda:InvokeFunction", arn)
            if function and not error:
                functions.enqueue(function, payload.encode())
        case "sqs":
            error = _send_to_queue(rule, arn, payload)
        case _:
            message = f"Rule {rule.name} has a target that is not supported here: {arn}"
            raise NotImplementedError(message)
    dead_letter_queue = target.get("DeadLetterConfig", {}).get("Arn")
    if error and dead_letter_queue:
        attributes = {"RULE_ARN": rule.arn, "TARGET_ARN": arn, "ERROR_CODE": error, "ERROR_MESSAGE": error}
        _send_to_queue(rule, dead_letter_queue, json.dumps(event), attributes)
    return not error


def _target_input(target: Mapping[str, Any], event: Mapping[str, object]) -> str:
    """Return what the target gets for `event`, as JSON."""
    if "Input" in target:
        return str(target["Input"])
    if transformer := target.get("InputTransformer"):
        # moto's parser requires this key.
        timed = cast("EventMessageType", {**event, "ingestion-time": time.time()})
        paths = transformer.get("InputPathsMap", {})
        return json.dumps(EventTemplateParser.parse(transformer["InputTemplate"], paths, timed))
    part: Any = event
    for key in target.get("InputPath", "$").split(".")[1:]:
        part = part[key]
    return json.dumps(part)


def _send_to_queue(rule: Rule, arn: str, body: str, attributes: Mapping[str, str] | None = None) -> str:
    """Send to a queue whose policy allows it; return EventBridge's error code, "" if there is none."""
    region, account_id, name = arn.split(":")[3:6]
    try:
        queue: Queue = sqs_backends[account_id][region].get_queue(name)
    except QueueDoesNotExist:
        return "NO_RESOURCE"
    statements = policies.statements_of(queue.policy) if queue.policy else []
    error = _error_code(statements, rule, "sqs:SendMessage", arn)
    # moto sets the attributes of a queue by their names.
    key = keys.find(account_id, region, getattr(queue, "kms_master_key_id", None))
    if not error and key:
        context = {"aws:SourceArn": rule.arn, "aws:SourceAccount": account_id}
        if not (key.enabled and keys.allows(key, _EVENTS, context, *keys.TO_ENCRYPT)):
            error = "NO_PERMISSIONS"
    if not error:
        functions.send_message(arn, body, attributes)
    return error


def _error_code(statements: Iterable[Mapping[str, Any]] | None, rule: Rule, action: str, arn: str) -> str:
    """Return EventBridge's error code for a rule under the statements of a resource's policy, None if it is missing."""
    if statements is None:
        return "NO_RESOURCE"
    context = {"aws:SourceArn": rule.arn, "aws:SourceAccount": rule.account_id, "aws:SecureTransport": "true"}
    request = policies.AuthorizationRequest(action, arn, context)
    return "" if policies.allows(statements, request, _EVENTS) else "NO_PERMISSIONS"
