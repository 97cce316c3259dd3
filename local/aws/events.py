"""EventBridge's default bus: events are matched against the deployed rules and delivered to their targets.

moto holds the rules and has a good matcher for patterns, but fires disabled rules and cannot deliver to Lambda.
"""

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from moto.events.models import Rule, events_backends
from moto.events.utils import EventMessageType, EventTemplateParser
from moto.sqs.exceptions import QueueDoesNotExist
from moto.sqs.models import Queue, sqs_backends

from local.aws import functions, iam


def deliver(event: Mapping[str, object]) -> int:
    """Send `event` to every target of every enabled rule that it matches, in the account and Region that it names.

    Functions are invoked asynchronously: `functions.run_queued` carries that out. What cannot be delivered goes to the
    target's dead-letter queue or is dropped. Returns the number of targets reached.
    """
    message = cast("EventMessageType", event)
    rules = [
        rule
        for rule in _enabled_rules(str(event["account"]), str(event["region"]))
        # moto lets a rule without a pattern, that is a schedule, match everything.
        if rule.event_pattern.dump() and rule.event_pattern.matches_event(message)
    ]
    return sum(_send_to_target(rule, target, event) for rule in rules for target in rule.targets)


def fire_schedules(account_id: str, region: str) -> int:
    """Let every enabled rule with a schedule fire once, whatever the time. Returns the number of targets reached."""
    return sum(
        _send_to_target(rule, target, _scheduled_event(rule))
        for rule in _enabled_rules(account_id, region)
        if rule.scheduled_expression
        for target in rule.targets
    )


def _enabled_rules(account_id: str, region: str) -> list[Rule]:
    bus = events_backends[account_id][region].event_buses["default"]
    # A copy: a deployment may add rules meanwhile.
    return [rule for rule in [*bus.rules.values()] if rule.state != "DISABLED"]


def _scheduled_event(rule: Rule) -> dict[str, object]:
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": rule.account_id,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": rule.region_name,
        "resources": [rule.arn],
        "detail": {},
    }


def _send_to_target(rule: Rule, target: Mapping[str, Any], event: Mapping[str, object]) -> bool:
    arn = target["Arn"]
    payload = _input(target, event)
    match arn.split(":")[2]:
        case "lambda":
            function = functions.find(arn)
            statements = function.policy.statements if function else None
            problem = _problem(statements, ("lambda:InvokeFunction", arn), rule)
            if function and not problem:
                functions.enqueue(function, payload.encode())
        case "sqs":
            problem = _send_to_queue(rule, arn, payload)
        case _:
            message = f"Rule {rule.name} has a target that is not supported here: {arn}"
            raise NotImplementedError(message)
    dead_letters = target.get("DeadLetterConfig", {}).get("Arn")
    if problem and dead_letters:
        attributes = {"RULE_ARN": rule.arn, "TARGET_ARN": arn, "ERROR_CODE": problem, "ERROR_MESSAGE": problem}
        _send_to_queue(rule, dead_letters, json.dumps(event), attributes)
    return not problem


def _input(target: Mapping[str, Any], event: Mapping[str, object]) -> str:
    """Return what the target gets for `event`, as JSON."""
    if "Input" in target:
        return str(target["Input"])
    if transformer := target.get("InputTransformer"):
        # moto's parser expects this key of its own.
        timed = cast("EventMessageType", {**event, "ingestion-time": time.time()})
        paths = transformer.get("InputPathsMap", {})
        return json.dumps(EventTemplateParser.parse(transformer["InputTemplate"], paths, timed))
    part: Any = event
    for key in target.get("InputPath", "$").split(".")[1:]:
        part = part[key]
    return json.dumps(part)


def _send_to_queue(rule: Rule, arn: str, body: str, attributes: Mapping[str, str] | None = None) -> str:
    """Send to a queue whose policy allows it; return the reason where that is impossible."""
    region, account_id, name = arn.split(":")[3:6]
    try:
        queue: Queue = sqs_backends[account_id][region].get_queue(name)
    except QueueDoesNotExist:
        return "NO_RESOURCE"
    problem = _problem(json.loads(queue.policy or "{}").get("Statement", []), ("sqs:SendMessage", arn), rule)
    if not problem:
        functions.send_message(arn, body, attributes)
    return problem


def _problem(statements: Iterable[Mapping[str, Any]] | None, need: tuple[str, str], rule: Rule) -> str:
    """Say why EventBridge may not do this (action, resource) for a rule under these statements; "" if it may."""
    if statements is None:
        return "NO_RESOURCE"
    context = {"aws:SourceArn": rule.arn, "aws:SourceAccount": rule.account_id, "aws:SecureTransport": "true"}
    return "" if iam.allows(statements, iam.Need(*need, context), "events.amazonaws.com") else "NO_PERMISSIONS"
