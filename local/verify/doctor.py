"""`make verify CHECK=deployment`: what is wrong with a deployment, the names of its parts, and its images."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

from botocore.exceptions import ClientError

from local.verify.account import Account
from local.verify.deployment import Deployment
from vm_image_import.aws.ec2 import Ec2
from vm_image_import.aws.image_builder import ImageBuilder
from vm_image_import.aws.ssm import ParameterStore
from vm_image_import.deadline import Deadline
from vm_image_import.derive.tags import PREFIX
from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.errors import PermanentError, TransientError
from vm_image_import.domain.models import AwsEnvironment
from vm_image_import.imports import retention
from vm_image_import.imports.steps.run import STEPS
from vm_image_import.invocation import Clients, Invocation
from vm_image_import.records.store import Store

_UNLIMITED_MS: Final = 1_000_000_000


class Check(NamedTuple):
    """One part of the deployment."""

    part: str
    problem: str
    """What is wrong and what to do; empty where nothing is."""
    state: str = "ok"


COLUMNS: Final = ("name", "version", "state", "AMI", "source", "steps left", "retention")
"""The titles of an image's parts."""


class ImageRow(NamedTuple):
    """One image of this system."""

    name: str
    version: str
    """With the build."""
    state: str
    ami: str
    source: str
    steps_left: str
    retention: str
    """Since when it is superseded, and when it may be deleted."""


def names(deployment: Deployment) -> Iterator[tuple[str, str]]:
    """Yield what other commands need, by the words that docs/operations.md uses."""
    yield "FUNCTION", deployment.function
    yield "LOG_GROUP", deployment.log_group
    yield "TABLE", deployment.table
    yield "TOPIC", deployment.topic
    yield "QUEUE_URL (FunctionDlq)", deployment.function_dlq
    yield "QUEUE_URL (EventDlq)", deployment.event_dlq
    for part, rule in deployment.rules.items():
        yield f"RULE ({part})", rule
    yield "ROLE", deployment.role
    if deployment.dashboard:
        yield "dashboard", deployment.dashboard


def examine(account: Account, deployment: Deployment, now: datetime) -> Iterator[Check]:
    """Yield a check of each part. A part that AWS does not show is a problem, and keeps no other from being checked."""
    for part, look in _LOOKS.items():
        try:
            problems = [*look(account, deployment)]
        except ClientError as error:
            problems = [str(error)]
        yield Check(part, " ".join(problems))
    for part, check in (("subscriptions", _subscriptions), ("last sweep", partial(_last_sweep, now=now))):
        try:
            yield check(account, deployment)
        except ClientError as error:
            yield Check(part, str(error))


def images(account: Account, deployment: Deployment, now: datetime) -> list[ImageRow]:
    """Return the images of this system by name, the highest version first."""
    pages = account.client("imagebuilder").get_paginator("list_image_build_versions").paginate()
    found = [image for page in pages for image in page["imageSummaryList"]]
    own = [image for image in found if f"{PREFIX}task-id" in image.get("tags", {})]
    left, retained = _steps_left(account, deployment), _retention(account, deployment, now)
    arns = {image["arn"]: BuildArn.parse(image["arn"]) for image in own}
    own.sort(key=lambda image: arns[image["arn"]].order, reverse=True)
    own.sort(key=lambda image: arns[image["arn"]].name)
    return [
        ImageRow(
            arns[image["arn"]].name,
            f"{arns[image['arn']].version}/{arns[image['arn']].build}",
            image["state"]["status"],
            image["tags"].get(f"{PREFIX}ami-id", ""),
            image["tags"].get(f"{PREFIX}source", ""),
            "not known" if left is None else left.get(image["arn"], ""),
            "not known" if retained is None else retained.get(image["arn"], ""),
        )
        for image in own
    ]


def _steps_left(account: Account, deployment: Deployment) -> Mapping[str, str] | None:
    """Return the steps that are left, and what was reported of them, by the ARN of the image.

    None where the records cannot be read.
    """
    store = Store(account.client("dynamodb"), deployment.table)
    left = {}
    try:
        records = store.read(store.list_open())
    except (PermanentError, TransientError):
        return None
    for id_, record in records.items():
        if record.unreadable:
            left[id_] = str(record.unreadable)
        if registration := record.registration:
            steps = [
                f"{step.name} ({registration.problems[step.name]})" if step.name in registration.problems else step.name
                for step in STEPS
                if step.is_configured(deployment.settings) and step.name not in registration.results
            ]
            left[registration.arn] = ", ".join(steps)
    return left


def _retention(account: Account, deployment: Deployment, now: datetime) -> Mapping[str, str] | None:
    """Return what the next pass says of superseded images, by their ARNs; None where they cannot be read."""
    clients = Clients(deployment.settings)
    clients.ec2 = Ec2(account.client("ec2"))
    clients.image_builder = ImageBuilder(account.client("imagebuilder"))
    clients.parameter_store = ParameterStore(account.client("ssm"))
    clients.store = Store(account.client("dynamodb"), deployment.table)
    environment = AwsEnvironment(account.caller.split(":")[1], account.region, account.id)
    invocation = Invocation(clients, environment, "verify", now, Deadline(lambda: _UNLIMITED_MS))
    try:
        return {outcome.image_arn or "": outcome.reason or "" for outcome in retention.preview(invocation)}
    except (PermanentError, TransientError):
        return None


def _function(account: Account, deployment: Deployment) -> Iterator[str]:
    found = account.client("lambda").get_function_configuration(FunctionName=deployment.function)
    if (state := found.get("State", "Active")) != "Active":
        yield f"It is {state}: {found.get('StateReason')}"
    errors = account.client("logs").filter_log_events(
        logGroupName=deployment.log_group, filterPattern='{ $.level = "ERROR" }', limit=1
    )["events"]
    if errors:
        yield "Its log has errors: see the saved query 'What failed and why'."


def _rules(account: Account, deployment: Deployment) -> Iterator[str]:
    events = account.client("events")
    try:
        policy = json.loads(account.client("lambda").get_policy(FunctionName=deployment.function)["Policy"])
    except account.client("lambda").exceptions.ResourceNotFoundException:
        policy = {"Statement": []}
    allowed = json.dumps(policy["Statement"])
    for part, name in deployment.rules.items():
        rule = events.describe_rule(Name=name)
        if rule["State"] != "ENABLED":
            yield f"{part} is disabled: aws events enable-rule --name {name}"
        targets = [target["Arn"] for target in events.list_targets_by_rule(Rule=name)["Targets"]]
        if not any(arn.endswith(f":{deployment.function}") for arn in targets):
            yield f"{part} does not invoke the function: npx --no -- cdk drift, then deploy again."
        if rule["Arn"] not in allowed:
            yield f"{part} may not invoke the function: npx --no -- cdk drift, then deploy again."


def _role(account: Account, deployment: Deployment) -> Iterator[str]:
    if not account.client("iam").list_role_policies(RoleName=deployment.role)["PolicyNames"]:
        yield "It has no policy: npx --no -- cdk drift, then deploy again."


def _queues(account: Account, deployment: Deployment) -> Iterator[str]:
    sqs = account.client("sqs")
    for part, url in (("FunctionDlq", deployment.function_dlq), ("EventDlq", deployment.event_dlq)):
        names_ = ["ApproximateNumberOfMessages"]
        count = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names_)["Attributes"][names_[0]]
        if count != "0":
            alarm = {"FunctionDlq": "InvocationsFailed", "EventDlq": "EventsNotDelivered"}[part]
            yield f"{part} has {count} messages: see the alarm {alarm} in docs/operations.md."


def _topic(account: Account, deployment: Deployment) -> Iterator[str]:
    attributes = account.client("sns").get_topic_attributes(TopicArn=deployment.topic)["Attributes"]
    key = attributes.get("KmsMasterKeyId")
    if key and (state := account.client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"]) != "Enabled":
        yield f"Its key is {state}: aws kms enable-key --key-id {key}"


def _subscriptions(account: Account, deployment: Deployment) -> Check:
    pages = account.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=deployment.topic)
    found = [each for page in pages for each in page["Subscriptions"]]
    pending = [each["Endpoint"] for each in found if not each["SubscriptionArn"].startswith("arn:")]
    problem = f"Not confirmed, so use the link of AWS's e-mail: {', '.join(pending)}" if pending else ""
    return Check("subscriptions", problem, str(len(found)) if found else "none: nobody is notified")


def _table(account: Account, deployment: Deployment) -> Iterator[str]:
    status = account.client("dynamodb").describe_table(TableName=deployment.table)["Table"]["TableStatus"]
    if status not in {"ACTIVE", "UPDATING"}:
        yield f"It is {status}."


def _alarms(account: Account, deployment: Deployment) -> Iterator[str]:
    if deployment.alarms:
        found = account.client("cloudwatch").describe_alarms(AlarmNames=[*deployment.alarms])["MetricAlarms"]
        for alarm in found:
            if alarm["StateValue"] == "ALARM":
                yield f"{alarm['AlarmName']}: {alarm.get('AlarmDescription', '')}"


_LOOKS: Final = {
    "function": _function,
    "rules": _rules,
    "role": _role,
    "queues": _queues,
    "topic": _topic,
    "table": _table,
    "alarms": _alarms,
}
"""Each yields what is wrong with its part. Raises ClientError."""


def _last_sweep(account: Account, deployment: Deployment, now: datetime) -> Check:
    interval = timedelta(minutes=deployment.sweep_minutes)
    pages = (
        account.client("logs")
        .get_paginator("filter_log_events")
        .paginate(
            logGroupName=deployment.log_group,
            filterPattern='{ $.message = "Swept" }',
            startTime=int((now - 3 * interval).timestamp() * 1000),
        )
    )
    sweeps: list[dict[str, Any]] = [event for page in pages for event in page["events"]]
    if not sweeps:
        minutes = deployment.sweep_minutes
        problem = f"There was none for {3 * minutes} minutes: a new deployment has its first after {minutes}."
        return Check("last sweep", problem)
    last = max(sweeps, key=lambda event: int(event["timestamp"]))
    swept = json.loads(last["message"])
    state = f"{swept.get('timestamp')}, {swept.get('counts')}"
    if swept.get("problems") or swept.get("reason"):
        told = swept.get("reason") or "Invoke a sweep and read `problems`."
        return Check("last sweep", f"{swept.get('problems')} problems: {told}", state)
    return Check("last sweep", "", state)
