"""What the deployed policies allow against what really happens: enough, needed, and for nobody else."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from moto.kms.models import kms_backends

from local.aws import events, functions, iam, image_builder
from local.aws.iam import Need
from local.aws.local_aws import ACCOUNT, Cloud
from tests.conftest import REGION
from tests.e2e.conftest import golden, let_time_pass, messages, resource, start_import

ELSEWHERE = "999999999999"


def becomes_an_image(cloud: Cloud) -> None:
    """Take an import from its event to its end, and sweep."""
    start_import(cloud, "exports/needed-1.0.ova")
    let_time_pass(cloud)
    cloud.sweep()


def states_no_version(cloud: Cloud) -> None:
    """Take an import whose version follows the existing ones."""
    start_import(cloud, "exports/unversioned.ova")
    let_time_pass(cloud)


def is_refused(cloud: Cloud) -> None:
    """Take an import that Image Builder refuses: what was begun is taken back."""
    backend = image_builder.backends[ACCOUNT][REGION]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "failure", lambda _: "Not now.")
        start_import(cloud, "exports/refused-1.0.ova")
        let_time_pass(cloud)


def fails_for_good(_: Cloud) -> None:
    """Send an event that is none."""
    events.deliver(golden("ami-available", detail={"State": "available"}))
    functions.run_queued()


SCENARIOS: Mapping[str, Callable[[Cloud], None]] = {
    "an import becomes an image": becomes_an_image,
    "an import states no version": states_no_version,
    "an import is refused": is_refused,
    "a run fails for good": fails_for_good,
}

ACTIONS = [
    ("WriteLogs", "logs:CreateLogStream"),
    ("WriteLogs", "logs:PutLogEvents"),
    ("KeepFailures", "sqs:SendMessage"),
    ("ReadImports", "ec2:DescribeImages"),
    ("ReadImports", "ec2:DescribeImportImageTasks"),
    ("RegisterImages", "imagebuilder:ImportVmImage"),
    ("TagImages", "imagebuilder:TagResource"),
    ("FollowImages", "imagebuilder:GetImage"),
    ("RememberWhatWasDone", "dynamodb:BatchGetItem"),
    ("RememberWhatWasDone", "dynamodb:DeleteItem"),
    ("RememberWhatWasDone", "dynamodb:PutItem"),
    ("RememberWhatWasDone", "dynamodb:UpdateItem"),
    ("TellPeople", "sns:Publish"),
    ("EncryptNotices", "kms:Decrypt"),
    ("EncryptNotices", "kms:GenerateDataKey"),
    ("LetImageBuilderSetItselfUp", "iam:CreateServiceLinkedRole"),
    ("ListVersions", "imagebuilder:ListImages"),
    ("WriteTraces", "xray:PutTelemetryRecords"),
    ("WriteTraces", "xray:PutTraceSegments"),
]
BY_LAMBDA = {"WriteLogs", "KeepFailures", "WriteTraces"}
"""Statements that Lambda uses beside the function: the function cannot tell what goes wrong there."""


@pytest.fixture(scope="module")
def cloud(configured_assembly: Path) -> Iterator[Cloud]:
    """Give a local AWS with the app deployed to it as it needs the most."""
    with Cloud() as cloud:
        cloud.deploy(configured_assembly, f"VmImageImport-{REGION}")
        cloud.client("s3").create_bucket(Bucket="exports")
        yield cloud


@pytest.fixture(scope="module")
def role(cloud: Cloud) -> str:
    """Give the ARN of the function's role."""
    name = resource(cloud, "AWS::IAM::Role")
    return str(cloud.client("iam").get_role(RoleName=name)["Role"]["Arn"])


@pytest.fixture(scope="module")
def policy(role: str) -> list[dict[str, Any]]:
    """Give the statements that the role was deployed with."""
    return [dict(statement) for statement in iam.statements_of(role)]


@pytest.fixture(scope="module")
def recorded(cloud: Cloud, policy: Sequence[Any]) -> dict[str, Sequence[iam.Call]]:
    """Give the calls of every scenario, under the policy as it is deployed."""
    assert policy
    calls = {}
    for name, scenario in SCENARIOS.items():
        before = len(iam.calls())
        scenario(cloud)
        calls[name] = iam.calls()[before:]
    assert not messages(cloud, "Undelivered")
    return calls


def actions(statement: Mapping[str, Any]) -> list[str]:
    """Return the actions of a statement."""
    found = statement["Action"]
    return [found] if isinstance(found, str) else list(found)


def without(policy: Sequence[Mapping[str, Any]], sid: str, action: str) -> list[dict[str, Any]]:
    """Return a policy without one action, and without its statement where that was all of it."""
    rest = [
        {**each, "Action": [one for one in actions(each) if (each["Sid"], one) != (sid, action)]} for each in policy
    ]
    return [statement for statement in rest if statement["Action"]]


def needing(policy: Sequence[Mapping[str, Any]], recorded: Mapping[str, Sequence[iam.Call]]) -> list[str]:
    """Return the scenarios with a call that these statements do not allow."""
    return [
        name
        for name, calls in recorded.items()
        if not all(iam.allows(policy, need) for call in calls for need in call.needs)
    ]


def test_the_policy_is_enough(recorded: Mapping[str, Sequence[iam.Call]]) -> None:
    """Whatever the function does, it may do."""
    assert [call.denied for calls in recorded.values() for call in calls if call.denied] == []


def test_the_policy_is_no_more_than_what_is_done(
    policy: Sequence[Mapping[str, Any]], recorded: Mapping[str, Sequence[iam.Call]]
) -> None:
    """The actions that are allowed are those of the scenarios: no more, no less."""
    allowed = {(statement["Sid"], action) for statement in policy for action in actions(statement)}
    assert allowed == set(ACTIONS)
    done = {need.action for calls in recorded.values() for call in calls for need in call.needs}
    assert {action for _, action in allowed} == done


@pytest.mark.parametrize(("sid", "action"), ACTIONS)
def test_without_an_action_something_fails_and_names_it(
    cloud: Cloud,
    role: str,
    policy: list[dict[str, Any]],
    recorded: Mapping[str, Sequence[iam.Call]],
    sid: str,
    action: str,
) -> None:
    """A scenario that needs the action really fails without it, and whoever looks for the reason finds the action."""
    rest = without(policy, sid, action)
    name, *_ = needing(rest, recorded)
    let_time_pass(cloud)
    kept, calls, runs, streams = failures(cloud), len(iam.calls()), len(functions.invocations()), log_streams(cloud)
    allow(cloud, role, rest)
    try:
        SCENARIOS[name](cloud)
    finally:
        allow(cloud, role, policy)
    assert {call.denied.action for call in iam.calls()[calls:] if call.denied} == {action}
    told = "".join(f"{run.result.logs}{run.result.payload!r}" for run in functions.invocations()[runs:])
    assert (action in told) == (sid not in BY_LAMBDA)
    if sid == "WriteLogs":
        assert log_streams(cloud) == streams
    if sid == "KeepFailures":
        assert failures(cloud) == kept
    assert {run.traced for run in functions.invocations()[runs:]} == {sid != "WriteTraces"}


def allow(cloud: Cloud, role: str, statements: Sequence[Mapping[str, Any]]) -> None:
    """Give the role these statements instead of those that it has."""
    client, name = cloud.client("iam"), role.rpartition("/")[2]
    (policy,) = client.list_role_policies(RoleName=name)["PolicyNames"]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    client.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=document)


def failures(cloud: Cloud) -> str:
    """Return how many messages are in the queue of failures."""
    url, count = resource(cloud, "AWS::SQS::Queue", "Failures"), "ApproximateNumberOfMessages"
    return str(cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[count])["Attributes"][count])


def log_streams(cloud: Cloud) -> dict[str, int]:
    """Return how many entries each stream of the function's log has."""
    client, group = cloud.client("logs"), resource(cloud, "AWS::Logs::LogGroup")
    streams = client.describe_log_streams(logGroupName=group)["logStreams"]
    return {
        stream["logStreamName"]: len(
            client.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
        )
        for stream in streams
    }


def test_everything_else_is_denied(
    policy: Sequence[Mapping[str, Any]], recorded: Mapping[str, Sequence[iam.Call]]
) -> None:
    """The same calls in another account, in another Region, for another resource or under other circumstances."""
    needs = {(need.action, need.resource): need for calls in recorded.values() for call in calls for need in call.needs}
    for need in needs.values():
        assert iam.allows(policy, need)
        for other in [*others(need), *circumstances(policy, need)]:
            assert not iam.allows(policy, other), other


def others(need: Need) -> Iterator[Need]:
    """Yield the same need of resources that are not this deployment's."""
    for mine, other in ((ACCOUNT, ELSEWHERE), (REGION, "eu-west-1"), ("arn:aws:", "arn:aws-cn:")):
        if mine in need.resource:
            yield replace(need, resource=need.resource.replace(mine, other))
    if not need.action.startswith("imagebuilder:") and need.resource != "*":
        # A log group has its streams below it.
        name, separator, rest = need.resource.partition(":log-stream:")
        yield replace(need, resource=f"{name}-of-others{separator}{rest}")


def circumstances(policy: Sequence[Mapping[str, Any]], need: Need) -> Iterator[Need]:
    """Yield the need under circumstances that a condition excludes: another value, or none."""
    (statement,) = (each for each in policy if need.action in actions(each))
    for keys in statement.get("Condition", {}).values():
        for key in keys:
            yield replace(need, context={**need.context, key: "other"})
            yield replace(need, context={name: value for name, value in need.context.items() if name != key})


@pytest.mark.parametrize("kind", ["function", "undelivered", "failures", "topic", "key"])
def test_only_its_own_services_reach_a_resource(cloud: Cloud, kind: str) -> None:
    """The rules of this stack invoke, and leave what they cannot deliver; its alarms tell: nobody and nothing else."""
    cases = reachable(cloud)
    statements, needs, service, sources = cases[kind]
    strangers = [*(case[3] for name, case in cases.items() if name != kind and case[3] != sources), ["arn:aws:s3:::b"]]
    for need in needs:
        for source in sources:
            context = {"aws:SourceArn": source, "aws:SourceAccount": ACCOUNT, "aws:SecureTransport": "true"}
            assert iam.allows(statements, replace(need, context=context), service)
            assert not iam.allows(statements, replace(need, context=context), "s3.amazonaws.com")
            other = {**context, "aws:SourceAccount": ELSEWHERE}
            assert not iam.allows(statements, replace(need, context=other), service)
            unknown = {"aws:SecureTransport": "true"}
            assert not iam.allows(statements, replace(need, context=unknown), service)
            if kind in {"undelivered", "topic"}:
                plain = {**context, "aws:SecureTransport": "false"}
                assert not iam.allows(statements, replace(need, context=plain), service)
        for source in (one for some in strangers for one in some):
            context = {"aws:SourceArn": source, "aws:SourceAccount": ACCOUNT, "aws:SecureTransport": "true"}
            assert not iam.allows(statements, replace(need, context=context), service), source


def reachable(cloud: Cloud) -> dict[str, tuple[list[Any], list[Need], str, list[str]]]:
    """Return, by resource: its policy, what is done with it, by which service, and for which sources."""
    sqs, name = cloud.client("sqs"), resource(cloud, "AWS::Lambda::Function")
    rules = [rule["Arn"] for rule in cloud.client("events").list_rules()["Rules"]]
    alarms = [alarm["AlarmArn"] for alarm in cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]]
    assert (len(rules), len(alarms)) == (3, 6)
    arn = cloud.client("lambda").get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    topic = resource(cloud, "AWS::SNS::Topic")
    key = resource(cloud, "AWS::KMS::Key")
    events, cloudwatch = "events.amazonaws.com", "cloudwatch.amazonaws.com"
    found = {
        "function": (
            cloud.client("lambda").get_policy(FunctionName=name)["Policy"],
            [Need("lambda:InvokeFunction", arn)],
            events,
            rules,
        ),
        "topic": (
            cloud.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"],
            [Need("sns:Publish", topic)],
            cloudwatch,
            alarms,
        ),
        "key": (
            json.dumps(kms_backends[ACCOUNT][REGION].get_key_policy(key)),
            [Need(f"kms:{action}", key) for action in ("Decrypt", "GenerateDataKey")],
            cloudwatch,
            alarms,
        ),
    }
    for kind, sources in (("Undelivered", rules), ("Failures", [])):
        url = resource(cloud, "AWS::SQS::Queue", kind)
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy", "QueueArn"])["Attributes"]
        found[kind.lower()] = (attributes["Policy"], [Need("sqs:SendMessage", attributes["QueueArn"])], events, sources)
    return {name: (json.loads(text)["Statement"], *rest) for name, (text, *rest) in found.items()}
