"""Properties of the synthesised template."""

import json
import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App
from aws_cdk import aws_lambda as lambda_
from aws_cdk.assertions import Annotations, Match
from aws_cdk.assertions import Template as Assertions

from infra import bundle, dead_letter_queue
from infra.configuration import Configuration
from infra.stack import VmImageImportStack
from tests.conftest import ROOT

INLINE = lambda_.Code.from_inline("def handler(*_): ...")

Template = Mapping[str, Any]


def resources(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    """Return the properties of the resources of a kind, by logical id."""
    return {
        name: resource["Properties"] for name, resource in template["Resources"].items() if resource["Type"] == kind
    }


def only(template: Template, kind: str) -> dict[str, Any]:
    """Return the properties of the one resource of a kind."""
    (properties,) = resources(template, kind).values()
    return properties


def target(reference: Mapping[str, Any]) -> str:
    """Return the logical id in a reference."""
    name: str = reference["Ref"] if "Ref" in reference else reference["Fn::GetAtt"][0]
    return name


def test_the_function_is_the_one_of_the_contract(template: Template) -> None:
    """The stack has one function: Python 3.13 on arm64 with 256 MB, and no custom resources."""
    function = only(template, "AWS::Lambda::Function")
    assert (function["Runtime"], function["Architectures"], function["MemorySize"]) == ("python3.13", ["arm64"], 256)
    assert not [kind for kind in _kinds(template) if kind.startswith(("Custom::", "AWS::CloudFormation::"))]


def _kinds(template: Template) -> list[str]:
    return [resource["Type"] for resource in template["Resources"].values()]


def test_timeouts_and_retries(template: Template) -> None:
    """The function has 5 minutes, Lambda retries twice within 6 hours, and EventBridge delivers for a day."""
    assert only(template, "AWS::Lambda::Function")["Timeout"] == 5 * 60
    retries = only(template, "AWS::Lambda::EventInvokeConfig")
    assert (retries["MaximumRetryAttempts"], retries["MaximumEventAgeInSeconds"]) == (2, 6 * 60 * 60)
    assert target(retries["DestinationConfig"]["OnFailure"]["Destination"]) in resources(template, "AWS::SQS::Queue")
    event, sweep = (
        {"MaximumEventAgeInSeconds": seconds, "MaximumRetryAttempts": times}
        for seconds, times in ((24 * 60 * 60, 185), (60, 2))
    )
    for rule in resources(template, "AWS::Events::Rule").values():
        expected = event if "EventPattern" in rule else sweep
        assert [each["RetryPolicy"] for each in rule["Targets"]] == [expected]


def test_logs_are_json_and_have_a_retention(template: Template) -> None:
    """The function writes JSON to a log group of the stack, which has a retention."""
    logging = only(template, "AWS::Lambda::Function")["LoggingConfig"]
    assert logging["LogFormat"] == "JSON"
    group = resources(template, "AWS::Logs::LogGroup")[target(logging["LogGroup"])]
    assert group["RetentionInDays"] == 90


def test_the_role_has_one_policy(template: Template) -> None:
    """The role has one inline policy and no others, and only Lambda may assume it."""
    role = only(template, "AWS::IAM::Role")
    assert "ManagedPolicyArns" not in role
    assert not resources(template, "AWS::IAM::Policy")
    assert len(role["Policies"]) == 1
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_the_role_registers_allowed_names_only() -> None:
    """With `allowedNames`, the role registers, tags and writes parameters of these names only; without, of any."""
    for names, expected in (([], ["*"]), (["team-a-*", "shared"], ["team-a-*", "shared"])):
        configuration = Configuration(allowed_names=names, parameter_prefix="/p")
        stack = VmImageImportStack(App(), "Names", configuration=configuration, code=INLINE)
        (policy,) = only(Assertions.from_stack(stack).to_json(), "AWS::IAM::Role")["Policies"]
        found = {each["Sid"]: json.dumps(each["Resource"]) for each in policy["PolicyDocument"]["Statement"]}
        of_names = {"RegisterImages": ":image/{}/*", "TagImages": ":image/{}/*", "WriteParameters": ":parameter/p/{}"}
        for sid, resource in of_names.items():
            assert [resource.format(name) in found[sid] for name in expected] == [True] * len(expected)
            assert found[sid].count("arn:") == len(expected)


def test_every_target_has_a_dead_letter_queue(template: Template) -> None:
    """Each target has a dead-letter queue, whose policy allows its rule to send."""
    rules = resources(template, "AWS::Events::Rule")
    assert rules
    policies = json.dumps(resources(template, "AWS::SQS::QueuePolicy"))
    for name, rule in rules.items():
        for each in rule["Targets"]:
            assert target(each["DeadLetterConfig"]["Arn"]) in resources(template, "AWS::SQS::Queue")
            assert name in policies


def test_the_schedule_sweeps(template: Template) -> None:
    """The schedule sends the payload of a sweep every 15 minutes."""
    (rule,) = (each for each in resources(template, "AWS::Events::Rule").values() if "ScheduleExpression" in each)
    assert rule["ScheduleExpression"] == "rate(15 minutes)"
    assert [json.loads(each["Input"]) for each in rule["Targets"]] == [{"action": "sweep"}]


def test_the_table_is_retained(template: Template) -> None:
    """The table is encrypted, recoverable, has a time to live, is paid on demand, and nothing deletes it by mistake."""
    (resource,) = (each for each in template["Resources"].values() if each["Type"] == "AWS::DynamoDB::Table")
    table = resource["Properties"]
    assert (resource["DeletionPolicy"], table["BillingMode"]) == ("Retain", "PAY_PER_REQUEST")
    assert table["DeletionProtectionEnabled"] is True
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert table["SSESpecification"]["SSEEnabled"] is True
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expiration", "Enabled": True}
    assert table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]


def test_the_email_address_is_subscribed_where_configured(template: Template) -> None:
    """A configured address is subscribed to all messages; by default there is no subscription."""
    assert not resources(template, "AWS::SNS::Subscription")
    stack = VmImageImportStack(
        App(),
        "Subscribed",
        configuration=Configuration(notification_email="ops@example.com", reserved_concurrency=5),
        code=INLINE,
    )
    subscribed = Assertions.from_stack(stack).to_json()
    subscription = only(subscribed, "AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "ops@example.com")
    # It would exclude alarms: their messages have no attributes.
    assert "FilterPolicy" not in subscription
    assert only(subscribed, "AWS::Lambda::Function")["ReservedConcurrentExecutions"] == 5
    assert "ReservedConcurrentExecutions" not in only(template, "AWS::Lambda::Function")


def test_failed_invocations_go_to_a_queue(template: Template) -> None:
    """An invocation that failed three times goes to a dead-letter queue."""
    config = only(template, "AWS::Lambda::EventInvokeConfig")
    assert config["MaximumRetryAttempts"] == 2
    queue = target(config["DestinationConfig"]["OnFailure"]["Destination"])
    assert resources(template, "AWS::SQS::Queue")[queue]


def test_queues_keep_messages_and_require_tls(template: Template) -> None:
    """Queues keep messages for 14 days, are encrypted, and deny requests without TLS."""
    queues = resources(template, "AWS::SQS::Queue")
    closed = set()
    for policy in resources(template, "AWS::SQS::QueuePolicy").values():
        denied = [each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Deny"]
        assert denied[0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        closed |= {target(queue) for queue in policy["Queues"]}
    assert closed == set(queues)
    for queue in queues.values():
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
        assert queue["SqsManagedSseEnabled"] is True


def test_a_finding_stops_the_synthesis(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A finding of cdk-nag without acknowledgement is an error of the synthesis."""
    (tmp_path / "handler.py").touch()
    monkeypatch.setattr(bundle, "build", lambda: (tmp_path, True))
    monkeypatch.setattr(dead_letter_queue, "acknowledge", lambda *_: None)
    with pytest.raises(RuntimeError) as caught:
        runpy.run_path(str(ROOT / "app.py"))
    assert "AwsSolutions-SQS3" in f"{caught.value}{capfd.readouterr().err}"


def test_cfn_lint_finds_nothing(assembly: Path) -> None:
    """cfn-lint has no findings in the template."""
    lint = [str(Path(sys.executable).with_name("cfn-lint")), "--non-zero-exit-code", "warning"]
    lint += ["--", str(assembly / "VmImageImport.template.json")]
    run = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_bundle_without_bytecode_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A bundle without bytecode is a warning at synthesis."""
    (tmp_path / "handler.py").touch()
    monkeypatch.setattr(bundle, "build", lambda: (tmp_path, False))
    stack = VmImageImportStack(App(), "Slow")
    Annotations.from_stack(stack).has_warning("*", Match.string_like_regexp("No Python 3.13 was found"))


def test_the_construct_takes_other_code() -> None:
    """The construct takes other code than the bundle, for tests."""
    stack = VmImageImportStack(App(), "Quick", code=INLINE)
    Annotations.from_stack(stack).has_no_warning("*", Match.any_value())
    (function,) = Assertions.from_stack(stack).find_resources("AWS::Lambda::Function").values()
    assert function["Properties"]["Code"].keys() == {"ZipFile"}
