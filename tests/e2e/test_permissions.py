"""The deployed policies allow what the function and AWS services do, and nothing else."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from infra import operations
from local.aws import events, functions, iam, image_builder, policies, vm_import
from local.aws.local_aws import ACCOUNT, LocalAws
from local.aws.policies import AuthorizationRequest
from tests.conftest import PARAMETERS, REGION
from tests.e2e.conftest import (
    LONG_AGO,
    age_records,
    finish_imports,
    finish_imports_without_events,
    golden_event,
    invoke,
    physical_id,
    queue_messages,
    replace_policy,
    start_import,
)
from vm_image_import.domain.models import SUPERSEDED
from vm_image_import.imports import retention

pytestmark = pytest.mark.acceptance

ELSEWHERE = "999999999999"


def import_an_image(aws: LocalAws) -> None:
    """Import, with the event and until the end, and sweep."""
    start_import(aws, "exports/needed-1.0.ova")
    finish_imports(aws)
    aws.fire_schedules()


def import_without_version(aws: LocalAws) -> None:
    """Import without a version: the function lists the existing ones."""
    start_import(aws, "exports/unversioned.ova")
    finish_imports(aws)


def import_two_versions(aws: LocalAws) -> None:
    """Import two versions of a name: the function overwrites its parameter."""
    for version in ("1.0", "1.1"):
        start_import(aws, f"exports/newer-{version}.ova")
        finish_imports(aws)


def import_refused(aws: LocalAws) -> None:
    """Import, and let Image Builder refuse it: the function deletes its record."""
    backend = image_builder.backends[ACCOUNT][REGION]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "failure", lambda _: "Not now.")
        start_import(aws, "exports/refused-1.0.ova")
        finish_imports(aws)


def import_of_an_earlier_deployment(aws: LocalAws) -> None:
    """Register an old import: the function looks for an image of an earlier deployment."""
    task = start_import(aws, "exports/earlier-1.0.ova")
    finish_imports_without_events(aws)
    (ami,) = (ami for ami in vm_import.backends[ACCOUNT][REGION].ec2.amis.values() if ami.name == task)
    ami.creation_date = LONG_AGO
    invoke(aws, {"importTaskId": task})


def fail_all_attempts(_: LocalAws) -> None:
    """Deliver an event without an AMI."""
    events.deliver(golden_event("ami-available", detail={"State": "available"}))
    functions.run_queued()


def remove_a_mark(aws: LocalAws) -> None:
    """Mark an image that is not superseded, and let the next pass remove the mark."""
    table, key = physical_id(aws, "AWS::DynamoDB::Table"), {"id": {"S": retention.RECORD}}
    aws.client("dynamodb").delete_item(TableName=table, Key=key)
    for image in image_builder.backends[ACCOUNT][REGION].builds():
        image.tags[SUPERSEDED] = "2026-11-23"
    aws.fire_schedules()


SCENARIOS: Mapping[str, Callable[[LocalAws], None]] = {
    "an import becomes an image": import_an_image,
    "an import has no version": import_without_version,
    "an import is the next version": import_two_versions,
    "Image Builder refuses an import": import_refused,
    "an import is of an earlier deployment": import_of_an_earlier_deployment,
    "a mark does not apply": remove_a_mark,
    "all attempts of a run fail": fail_all_attempts,
}

ACTIONS = [
    *((sid, action) for sid, found in operations.ACTIONS.items() for action in sorted(found)),
    ("WriteLogs", "logs:CreateLogStream"),
    ("WriteLogs", "logs:PutLogEvents"),
    ("SendToDlq", "sqs:SendMessage"),
    ("EncryptNotifications", "kms:Decrypt"),
    ("EncryptNotifications", "kms:GenerateDataKey"),
    ("CreateServiceLinkedRole", "iam:CreateServiceLinkedRole"),
    ("WriteTraces", "xray:PutTelemetryRecords"),
    ("WriteTraces", "xray:PutTraceSegments"),
]
USED_BY_LAMBDA = {"WriteLogs", "SendToDlq", "WriteTraces"}
"""Statements that Lambda uses, not the function: their denials are not in the function's log."""


@pytest.fixture(scope="module")
def aws(configured_assembly: Path) -> Iterator[LocalAws]:
    """Give a local AWS with the app deployed to it in the configuration with the most statements."""
    with LocalAws() as aws:
        aws.deploy(configured_assembly, f"VmImageImport-{REGION}")
        yield aws


@pytest.fixture(scope="module")
def recorded(aws: LocalAws, policy: Sequence[Any]) -> dict[str, Sequence[iam.Authorization]]:
    """Give the authorizations of every scenario, under the deployed policy."""
    assert policy
    # The pass of the day is of no other scenario.
    aws.fire_schedules()
    calls = {}
    for name, scenario in SCENARIOS.items():
        before = len(iam.authorizations())
        scenario(aws)
        calls[name] = iam.authorizations()[before:]
    assert not queue_messages(aws, "EventDlq")
    return calls


def actions(statement: Mapping[str, Any]) -> list[str]:
    """Return the actions of a statement."""
    action = statement["Action"]
    return [action] if isinstance(action, str) else list(action)


def without(policy: Sequence[Mapping[str, Any]], sid: str, action: str) -> list[dict[str, Any]]:
    """Return a policy without one action, and without its statement if it has no other."""
    rest = [
        {**each, "Action": [one for one in actions(each) if (each["Sid"], one) != (sid, action)]} for each in policy
    ]
    return [statement for statement in rest if statement["Action"]]


def denied_scenarios(
    policy: Sequence[Mapping[str, Any]], recorded: Mapping[str, Sequence[iam.Authorization]]
) -> list[str]:
    """Return the scenarios with a request that these statements do not allow."""
    return [
        name
        for name, calls in recorded.items()
        if not all(policies.allows(policy, request) for call in calls for request in call.requests)
    ]


def test_the_policy_allows_every_scenario(recorded: Mapping[str, Sequence[iam.Authorization]]) -> None:
    """No request of the scenarios is denied."""
    assert [call.denied for calls in recorded.values() for call in calls if call.denied] == []


def test_the_policy_allows_only_what_the_scenarios_need(
    policy: Sequence[Mapping[str, Any]], recorded: Mapping[str, Sequence[iam.Authorization]]
) -> None:
    """The allowed actions are exactly those that the scenarios request."""
    allowed = {(statement["Sid"], action) for statement in policy for action in actions(statement)}
    assert allowed == set(ACTIONS)
    requested = {request.action for calls in recorded.values() for call in calls for request in call.requests}
    assert {action for _, action in allowed} == requested


@pytest.mark.parametrize("authorized", [r"image/[^/]+/[0-9.]+", r"image/[^/]+/[0-9.]+/\d+"], ids=["version", "build"])
def test_tags_are_allowed_wherever_aws_authorizes_them(
    policy: Sequence[Mapping[str, Any]], recorded: Mapping[str, Sequence[iam.Authorization]], authorized: str
) -> None:
    """The role may tag a new image on its version and on its build: AWS does not document which of them it checks."""
    requests = [
        request
        for calls in recorded.values()
        for call in calls
        for request in call.requests
        if request.action == "imagebuilder:TagResource" and re.fullmatch(authorized, request.resource.split(":")[-1])
    ]
    assert requests
    assert [request for request in requests if not policies.allows(policy, request)] == []


@pytest.mark.parametrize(("sid", "action"), ACTIONS)
def test_a_missing_action_is_denied_and_logged(
    aws: LocalAws,
    role: str,
    policy: list[dict[str, Any]],
    recorded: Mapping[str, Sequence[iam.Authorization]],
    sid: str,
    action: str,
) -> None:
    """Without an action, a scenario is denied exactly this action, and the function's log or error has its name."""
    rest = without(policy, sid, action)
    name, *_ = denied_scenarios(rest, recorded)
    finish_imports(aws)
    dlq_messages, streams = dlq_message_count(aws), log_streams(aws)
    calls, runs = len(iam.authorizations()), len(functions.invocations())
    replace_policy(aws, role, rest)
    try:
        SCENARIOS[name](aws)
    finally:
        replace_policy(aws, role, policy)
        # A claim that could not be released would keep the next sweep from running.
        age_records(aws, timedelta())
    assert {call.denied.action for call in iam.authorizations()[calls:] if call.denied} == {action}
    output = "".join(f"{run.result.logs}{run.result.payload!r}" for run in functions.invocations()[runs:])
    assert (action in output) == (sid not in USED_BY_LAMBDA)
    if sid == "WriteLogs":
        assert log_streams(aws) == streams
    if sid == "SendToDlq":
        assert dlq_message_count(aws) == dlq_messages
    assert {run.traced for run in functions.invocations()[runs:]} == {sid != "WriteTraces"}


def dlq_message_count(aws: LocalAws) -> str:
    """Return the number of messages in the function's DLQ."""
    url, count = physical_id(aws, "AWS::SQS::Queue", "FunctionDlq"), "ApproximateNumberOfMessages"
    return str(aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[count])["Attributes"][count])


def log_streams(aws: LocalAws) -> dict[str, int]:
    """Return the number of entries in each log stream of the function."""
    client, group = aws.client("logs"), physical_id(aws, "AWS::Logs::LogGroup")
    streams = client.describe_log_streams(logGroupName=group)["logStreams"]
    return {
        stream["logStreamName"]: len(
            client.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
        )
        for stream in streams
    }


def test_everything_else_is_denied(
    policy: Sequence[Mapping[str, Any]], recorded: Mapping[str, Sequence[iam.Authorization]]
) -> None:
    """The same requests are denied for another account, Region, partition, resource or context."""
    requests = [request for calls in recorded.values() for call in calls for request in call.requests]
    for request in {(request.action, request.resource): request for request in requests}.values():
        assert policies.allows(policy, request)
        for other in [*with_other_resources(request), *with_other_contexts(policy, request)]:
            assert not policies.allows(policy, other), other


def with_other_resources(request: AuthorizationRequest) -> Iterator[AuthorizationRequest]:
    """Yield the request with resources that are not of this deployment."""
    for mine, other in (
        *((ACCOUNT, ELSEWHERE), (REGION, "eu-west-1"), ("arn:aws:", "arn:aws-cn:")),
        *(("::image/", "::instance/"), ("::snapshot/", "::volume/"), (f"{PARAMETERS}/", "/imagebuilder/other/")),
    ):
        if mine in request.resource:
            yield replace(request, resource=request.resource.replace(mine, other))
    if not request.action.startswith(("ec2:", "imagebuilder:", "ssm:")) and request.resource != "*":
        # The name of a log group is followed by that of a stream.
        name, separator, rest = request.resource.partition(":log-stream:")
        yield replace(request, resource=f"{name}-other{separator}{rest}")


def with_other_contexts(
    policy: Sequence[Mapping[str, Any]], request: AuthorizationRequest
) -> Iterator[AuthorizationRequest]:
    """Yield the request with another value, and with none, for each condition key of the policy."""
    (statement,) = (each for each in policy if request.action in actions(each))
    for keys in statement.get("Condition", {}).values():
        for key in keys:
            yield replace(request, context={**request.context, key: "other"})
            yield replace(request, context={name: value for name, value in request.context.items() if name != key})


@pytest.mark.parametrize("kind", ["function", "eventdlq", "functiondlq", "topic", "key"])
def test_only_its_own_services_reach_a_resource(aws: LocalAws, kind: str) -> None:
    """Only this stack's rules may invoke the function and send to the DLQ of events, and only its alarms may notify."""
    cases = resource_policies(aws)
    statements, requests, service, sources = cases[kind]
    other_sources = [
        *(case[3] for name, case in cases.items() if name != kind and case[3] != sources),
        ["arn:aws:s3:::b"],
    ]
    for request in requests:
        for source in sources:
            context = {"aws:SourceArn": source, "aws:SourceAccount": ACCOUNT, "aws:SecureTransport": "true"}
            assert policies.allows(statements, replace(request, context=context), service)
            assert not policies.allows(statements, replace(request, context=context), "s3.amazonaws.com")
            # The ARN of a rule has its account in it.
            other = {**context, "aws:SourceAccount": ELSEWHERE, "aws:SourceArn": source.replace(ACCOUNT, ELSEWHERE)}
            assert not policies.allows(statements, replace(request, context=other), service)
            without_source = {"aws:SecureTransport": "true"}
            assert not policies.allows(statements, replace(request, context=without_source), service)
            if kind in {"eventdlq", "topic"}:
                plain = {**context, "aws:SecureTransport": "false"}
                assert not policies.allows(statements, replace(request, context=plain), service)
        for source in (source for case in other_sources for source in case):
            context = {"aws:SourceArn": source, "aws:SourceAccount": ACCOUNT, "aws:SecureTransport": "true"}
            assert not policies.allows(statements, replace(request, context=context), service), source


def resource_policies(aws: LocalAws) -> dict[str, tuple[list[Any], list[AuthorizationRequest], str, list[str]]]:
    """Return, by resource: the statements of its policy, the requests, the service, and the source ARNs."""
    sqs, name = aws.client("sqs"), physical_id(aws, "AWS::Lambda::Function")
    rules = [rule["Arn"] for rule in aws.client("events").list_rules()["Rules"]]
    alarms = [alarm["AlarmArn"] for alarm in aws.client("cloudwatch").describe_alarms()["MetricAlarms"]]
    assert (len(rules), len(alarms)) == (3, 6)
    arn = aws.client("lambda").get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    topic = physical_id(aws, "AWS::SNS::Topic")
    key = physical_id(aws, "AWS::KMS::Key")
    events, cloudwatch = "events.amazonaws.com", "cloudwatch.amazonaws.com"
    found = {
        "function": (
            aws.client("lambda").get_policy(FunctionName=name)["Policy"],
            [AuthorizationRequest("lambda:InvokeFunction", arn)],
            events,
            rules,
        ),
        "topic": (
            aws.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"],
            [AuthorizationRequest("sns:Publish", topic)],
            cloudwatch,
            alarms,
        ),
        "key": (
            aws.client("kms").get_key_policy(KeyId=key, PolicyName="default")["Policy"],
            [AuthorizationRequest(f"kms:{action}", key) for action in ("Decrypt", "GenerateDataKey")],
            cloudwatch,
            alarms,
        ),
    }
    for kind, sources in (("EventDlq", rules), ("FunctionDlq", [])):
        url = physical_id(aws, "AWS::SQS::Queue", kind)
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy", "QueueArn"])["Attributes"]
        found[kind.lower()] = (
            attributes["Policy"],
            [AuthorizationRequest("sqs:SendMessage", attributes["QueueArn"])],
            events,
            sources,
        )
    return {name: (json.loads(text)["Statement"], *rest) for name, (text, *rest) in found.items()}
