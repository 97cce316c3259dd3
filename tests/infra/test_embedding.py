"""The construct in CDK apps of others."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Duration, Environment, Stack
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk.assertions import Template

from infra.configuration import Configuration, ConfigurationError
from infra.metrics import Metrics
from infra.stack import VmImageImport, VmImageImportStack
from tests.conftest import ROOT
from tests.infra.test_configuration import INLINE, KEY_ARN, TOPIC_ARN
from tests.infra.test_template import only, resources
from vm_image_import.domain.outcomes import MEANINGS

OWN = {"AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "AWS::SNS::Subscription", "AWS::KMS::Key"}


def template_of(stack: Stack) -> dict[str, Any]:
    """Return the template of a stack."""
    return dict(Template.from_stack(stack).to_json())


def statements(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statements of the function's role by their ids."""
    (policy,) = only(template, "AWS::IAM::Role")["Policies"]
    return {each["Sid"]: each for each in policy["PolicyDocument"]["Statement"]}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder in which pip has installed this checkout, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    options = ("--quiet", "--no-index", "--no-build-isolation", "--no-deps", "--no-compile", "--target", str(folder))
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(ROOT)], check=True)
    return folder


@pytest.mark.acceptance
def test_the_example_runs_in_a_folder_of_its_own(installed: Path, tmp_path: Path) -> None:
    """The example of docs/embedding.md synthesizes from an installed package, elsewhere, with the whole function."""
    (example,) = re.findall(r"```python\n(.+?)```", (ROOT / "docs/embedding.md").read_text("utf-8"), re.DOTALL)
    (tmp_path / "app.py").write_text(example, encoding="utf-8")
    # What another CDK app has there does not matter.
    (tmp_path / "cdk.json").write_text('{"context": {"vm-image-import": {"sweepMinutes": 0}}}', encoding="utf-8")
    # The dependencies need not be installed anew: the content of the bundle is the same.
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache/vm-image-import").symlink_to(ROOT / ".build")
    run = subprocess.run(
        [sys.executable, "app.py"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(installed),
            "HOME": str(tmp_path),
            "PYENV_ROOT": os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv")),
            "CDK_OUTDIR": str(tmp_path / "cdk.out"),
            "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(Path.home() / ".cache/aws/jsii/package-cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    template = json.loads((tmp_path / "cdk.out/BaseImages.template.json").read_text("utf-8"))
    variables = only(template, "AWS::Lambda::Function")["Environment"]["Variables"]
    (topic,) = (name for name, each in template["Resources"].items() if each["Type"] == "AWS::SNS::Topic")
    assert (variables["VERSION_SCHEME"], json.loads(variables["TAGS"])) == ("increment", {"Team": "platform"})
    assert variables["TOPIC_ARN"] == {"Ref": topic}
    assets = json.loads((tmp_path / "cdk.out/BaseImages.assets.json").read_text("utf-8"))["files"].values()
    (code,) = (each["source"]["path"] for each in assets if each["source"]["packaging"] == "zip")
    assert (tmp_path / "cdk.out" / code / "vm_image_import/handler.py").exists()


def test_a_wrong_property_is_refused() -> None:
    """A configuration that is made with wrong values is an error that names every problem."""
    with pytest.raises(ConfigurationError, match="sweepMinutes: 0") as caught:
        Configuration(sweep_minutes=0, notification_email="ops")
    assert "notificationEmail: 'ops'" in str(caught.value)


def test_the_stack_takes_what_every_stack_takes() -> None:
    """The stack passes Region, name, tags, description and termination protection to the CDK's stack."""
    stack = VmImageImportStack(
        App(),
        "Stack",
        code=INLINE,
        env=Environment(account="123456789012", region="eu-west-1"),
        stack_name="base-images",
        tags={"Team": "platform"},
        description="Ours",
        termination_protection=True,
    )
    assert (stack.region, stack.stack_name, stack.termination_protection) == ("eu-west-1", "base-images", True)
    assert stack.tags.tag_values() == {"Team": "platform"}
    assert template_of(stack)["Description"] == "Ours"


def test_the_resources_can_be_used() -> None:
    """The construct has its function, topic, table and dashboard, and no dashboard where none is configured."""
    stack = Stack(App(), "Stack")
    images = VmImageImport(stack, "Images", code=INLINE)
    assert images.dashboard
    ids = {"F": images.function, "T": images.topic, "D": images.table, "B": images.dashboard}
    paths = {key: each.node.default_child.node.path for key, each in ids.items() if each.node.default_child}
    assert ids.keys() == paths.keys()
    without = VmImageImport(Stack(App(), "Stack"), "Images", configuration=Configuration(dashboard=False), code=INLINE)
    assert without.dashboard is None


EMITTED = sorted(
    {meaning.metric for meaning in MEANINGS.values() if meaning.metric}
    | {"AmisTagged", "EventAge", "ParametersWritten", "SweepProblems", "SweepsCompleted"}
)


def method_of(metric: str) -> str:
    """Return the name of the method for a metric."""
    return "metric" + re.sub("([A-Z])", r"_\1", metric).lower()


@pytest.mark.parametrize("name", EMITTED)
def test_a_metric_is_a_method(name: str) -> None:
    """Each metric of the function is a method of the construct, with the options of the CDK's own metrics."""
    images = VmImageImport(Stack(App(), "Stack"), "Images", code=INLINE)
    method = getattr(images, method_of(name))
    default, changed = method(), method(period=Duration.hours(1), statistic="Maximum", label="Mine")
    assert (default.namespace, default.metric_name, default.dimensions) == (
        "VmImageImport",
        name,
        {"service": "Stack"},
    )
    assert default.statistic == ("Average" if name == "EventAge" else "Sum")
    assert (changed.period.to_hours(), changed.statistic, changed.label) == (1, "Maximum", "Mine")


def test_every_metric_is_known() -> None:
    """The construct has a method for each metric that the function emits, and no others."""
    methods = {name for name in vars(Metrics) if name.startswith("metric_")}
    assert methods == {*map(method_of, EMITTED)}
    source = "".join(path.read_text("utf-8") for path in (ROOT / "lambda/vm_image_import").rglob("*.py"))
    assert set(re.findall(r'(?:count|add_metric)\(\s*"(\w+)"', source)) <= {*EMITTED}


def test_a_configured_topic_is_taken() -> None:
    """With `topicArn`, the stack has no topic, policy, subscription or key, and function and alarms use that topic."""
    stack = VmImageImportStack(App(), "Stack", configuration=Configuration(topic_arn=TOPIC_ARN), code=INLINE)
    template = template_of(stack)
    assert not OWN & {each["Type"] for each in template["Resources"].values()}
    assert only(template, "AWS::Lambda::Function")["Environment"]["Variables"]["TOPIC_ARN"] == TOPIC_ARN
    for alarm in resources(template, "AWS::CloudWatch::Alarm").values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [TOPIC_ARN]
    allowed = statements(template)
    assert allowed["PublishNotifications"]["Resource"] == TOPIC_ARN
    # The topic's key is not known: any of its account and Region, for this topic only.
    assert "kms:eu-west-1:123456789012:key/*" in json.dumps(allowed["EncryptNotifications"]["Resource"])
    assert allowed["EncryptNotifications"]["Condition"] == {
        "StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": TOPIC_ARN}
    }
    assert template["Outputs"]["TopicArn"]["Value"] == TOPIC_ARN


def test_a_given_topic_and_its_key_are_taken() -> None:
    """With a topic and its key, the role may use this key only."""
    stack = Stack(App(), "Stack")
    topic = sns.Topic.from_topic_arn(stack, "Topic", TOPIC_ARN)
    VmImageImport(stack, "Images", topic=topic, key=kms.Key.from_key_arn(stack, "Key", KEY_ARN), code=INLINE)
    template = template_of(stack)
    assert not OWN & {each["Type"] for each in template["Resources"].values()}
    assert statements(template)["EncryptNotifications"]["Resource"] == KEY_ARN


def test_a_given_key_is_taken() -> None:
    """With a key only, the new topic is encrypted with it, and the stack makes no key."""
    stack = Stack(App(), "Stack")
    VmImageImport(stack, "Images", key=kms.Key.from_key_arn(stack, "Key", KEY_ARN), code=INLINE)
    template = template_of(stack)
    assert not resources(template, "AWS::KMS::Key")
    assert only(template, "AWS::SNS::Topic")["KmsMasterKeyId"] == KEY_ARN
    assert statements(template)["EncryptNotifications"]["Resource"] == KEY_ARN


def test_an_address_and_a_given_topic_are_refused() -> None:
    """An e-mail address for a topic that is given to the construct is an error: its owner subscribes."""
    stack = Stack(App(), "Stack")
    with pytest.raises(ConfigurationError, match="subscribe to that topic"):
        VmImageImport(
            stack,
            "Images",
            configuration=Configuration(notification_email="ops@example.com"),
            topic=sns.Topic(stack, "Topic"),
            code=INLINE,
        )


ENCRYPTED: Mapping[str, Mapping[str, object]] = {
    "AWS::DynamoDB::Table": {
        "SSESpecification": {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY_ARN},
    },
    "AWS::Logs::LogGroup": {"KmsKeyId": KEY_ARN},
    "AWS::SNS::Topic": {"KmsMasterKeyId": KEY_ARN},
    "AWS::SQS::Queue": {"KmsMasterKeyId": KEY_ARN},
}
USES_KEY = {"DecryptTable", "EncryptDlq", "EncryptNotifications"}


def test_a_configured_key_encrypts_everything() -> None:
    """With `keyArn`, topic, table, log and queues are encrypted with this key, and the stack makes no key."""
    template = template_of(
        VmImageImportStack(App(), "Stack", configuration=Configuration(key_arn=KEY_ARN), code=INLINE)
    )
    assert not resources(template, "AWS::KMS::Key")
    for kind, properties in ENCRYPTED.items():
        found = resources(template, kind)
        assert found
        assert all(properties.items() <= each.items() for each in found.values())
    on_key = {sid: each for sid, each in statements(template).items() if each["Resource"] == KEY_ARN}
    assert on_key.keys() == USES_KEY
    assert all("Condition" in each for each in on_key.values())


def test_a_configured_key_is_not_the_key_of_a_given_topic() -> None:
    """With `topicArn` and `keyArn`, the topic's key stays its owner's, and `keyArn` encrypts everything else."""
    configuration = Configuration(topic_arn=TOPIC_ARN, key_arn=KEY_ARN)
    template = template_of(VmImageImportStack(App(), "Stack", configuration=configuration, code=INLINE))
    assert not OWN & {each["Type"] for each in template["Resources"].values()}
    allowed = statements(template)
    assert "kms:eu-west-1:123456789012:key/*" in json.dumps(allowed["EncryptNotifications"]["Resource"])
    assert allowed["DecryptTable"]["Resource"] == allowed["EncryptDlq"]["Resource"] == KEY_ARN
    assert all(each["KmsMasterKeyId"] == KEY_ARN for each in resources(template, "AWS::SQS::Queue").values())


def test_the_key_of_the_topic_and_of_the_rest_can_differ() -> None:
    """A key that is given to the construct is the topic's, and `keyArn` encrypts everything else."""
    stack, other = Stack(App(), "Stack"), KEY_ARN.replace("1234abcd", "5678abcd")
    key = kms.Key.from_key_arn(stack, "Key", other)
    VmImageImport(stack, "Images", configuration=Configuration(key_arn=KEY_ARN), key=key, code=INLINE)
    template = template_of(stack)
    assert only(template, "AWS::SNS::Topic")["KmsMasterKeyId"] == other
    assert only(template, "AWS::Logs::LogGroup")["KmsKeyId"] == KEY_ARN


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"region": "us-east-1"}, "is of another Region: write a key of the Region us-east-1"),
        ({"account": "999999999999"}, "is of another account: write a key of the account 999999999999"),
    ],
)
def test_a_key_of_another_place_is_refused(environment: dict[str, str], problem: str) -> None:
    """A key of another Region or account than the stack's is an error that says what to write."""
    stack = Stack(App(), "Stack", env=Environment(**environment))
    with pytest.raises(ConfigurationError, match=problem):
        VmImageImport(stack, "Images", configuration=Configuration(key_arn=KEY_ARN), code=INLINE)
