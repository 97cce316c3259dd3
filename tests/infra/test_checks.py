"""The findings of the policy checks, and their acknowledgements."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from aws_cdk import App, CfnResource, Environment, Stack
from constructs import IConstruct

from infra.acknowledgements import acknowledge
from infra.checks import add_checks
from infra.configuration import CONTEXT_KEY, Configuration
from infra.stack import VmImageImportStack
from tests.conftest import ROOT
from tests.infra.test_configuration import EVERYTHING, INLINE, KEY_ARN, TOPIC_ARN

_NAME = "acknowledge"
CFN_LINT = str(Path(sys.executable).with_name("cfn-lint"))


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("configuration", "region"),
    [
        ({**EVERYTHING, "keyArn": ""}, "cn-north-1"),
        ({"topicArn": TOPIC_ARN}, None),
        ({"keyArn": KEY_ARN}, None),
        ({"keyArn": KEY_ARN, "topicArn": TOPIC_ARN}, "eu-west-1"),
    ],
)
def test_findings_and_acknowledgements_are_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, configuration: object, region: str | None
) -> None:
    """Without acknowledgements, cdk-nag and cfn-lint find exactly what is acknowledged."""
    acknowledged: dict[tuple[str, str], str] = {}

    def note(construct: IConstruct, reasons: Mapping[str, str]) -> None:
        resource = construct.node.default_child
        assert isinstance(resource, CfnResource)
        logical_id = Stack.of(resource).resolve(resource.logical_id)
        for finding, reason in reasons.items():
            place = logical_id if finding[1:].isdecimal() else resource.node.path
            assert (place, finding) not in acknowledged
            acknowledged[place, finding] = reason

    acknowledging = [each for name, each in sys.modules.items() if name.startswith("infra.") and hasattr(each, _NAME)]
    for module in acknowledging:
        monkeypatch.setattr(module, _NAME, note)
    app = App(outdir=str(tmp_path))
    env = Environment(region=region) if region else None
    VmImageImportStack(app, "Checked", configuration=Configuration.from_context(configuration), env=env, code=INLINE)
    add_checks(app)
    with pytest.raises(RuntimeError):
        app.synth()
    report = json.loads((tmp_path / "validation-report.json").read_text(encoding="utf-8"))
    assert {each["pluginName"] for each in report["pluginReports"]} == {"AwsSolutions", "Serverless"}
    found = {
        (place["constructPath"], violation["ruleName"])
        for each in report["pluginReports"]
        for violation in each["violations"]
        for place in violation["violatingConstructs"]
    }
    lint = subprocess.run(
        [CFN_LINT, "--format", "json", "--", str(tmp_path / "Checked.template.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    found |= {(each["Location"]["Path"][1], each["Rule"]["Id"]) for each in json.loads(lint.stdout)}
    assert found == set(acknowledged)
    assert all(len(reason) > 30 for reason in acknowledged.values())


@pytest.mark.acceptance
def test_the_cdk_finds_nothing(tmp_path: Path) -> None:
    """The CDK's own check of the template, which the demo and the other tests leave out, finds nothing."""
    variables = {
        "CDK_VALIDATION": "true",
        "CDK_OUTDIR": str(tmp_path),
        "CDK_CONTEXT_JSON": json.dumps({CONTEXT_KEY: json.dumps(EVERYTHING)}),
    }
    run = subprocess.run(
        [sys.executable, "app.py"], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_acknowledgements_are_in_the_order_of_the_configuration() -> None:
    """The images of the role are acknowledged in the order of `allowedNames`, so that every synthesis is the same."""
    names = [f"team-{letter}-*" for letter in "hgfedcba"]
    configuration = Configuration.from_context({"allowedNames": names})
    stack = VmImageImportStack(App(), "Ordered", configuration=configuration, code=INLINE)
    acknowledged = [str(entry.data) for construct in stack.node.find_all() for entry in construct.node.metadata]
    assert re.findall(r"image/(team-\w-\*)", "".join(acknowledged)) == names


def test_only_a_resource_can_be_acknowledged() -> None:
    """A finding can be acknowledged on a resource only, not on a construct with several resources."""
    with pytest.raises(TypeError, match="Whole is no resource"):
        acknowledge(Stack(App(), "Whole"), {"AwsSolutions-L1": "Everything in it."})
