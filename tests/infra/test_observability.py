"""The alarms, the dashboard and the saved queries."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template as Assertions

from infra.configuration import Configuration
from infra.stack import VmImageImportStack
from tests.conftest import ROOT
from tests.infra.test_configuration import INLINE
from tests.infra.test_template import Template, only, resources, target

# By a part of the logical id: metric, statistic, seconds, periods, threshold.
ALARMS = {
    "EventsNotDelivered": ("ApproximateNumberOfMessagesVisible", "Maximum", 300, 1, 1),
    "InvocationsFailed": ("ApproximateNumberOfMessagesVisible", "Maximum", 300, 1, 1),
    "FunctionErrors": ("Errors", "Sum", 900, 1, 3),
    "FunctionThrottles": ("Throttles", "Sum", 300, 3, 1),
    "SweepsMissing": ("SweepsCompleted", "Sum", 900, 3, 1),
    "SweepProblems": ("SweepProblems", "Sum", 900, 2, 1),
}


def alarm(template: Template, part: str) -> Mapping[str, Any]:
    """Return the alarm with a part of its logical id."""
    (found,) = (each for name, each in resources(template, "AWS::CloudWatch::Alarm").items() if part in name)
    return found


def text(value: object) -> str:
    """Return a text of the template, with its references in place."""
    parts = value["Fn::Join"][1] if isinstance(value, dict) else [value]
    return "".join(part if isinstance(part, str) else json.dumps(part).replace('"', "'") for part in parts)


def test_every_alarm_is_in_the_operations() -> None:
    """The table of alarms in docs/operations.md has every alarm, and no others."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = page.partition("## Alarms")[2].partition("## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == ALARMS.keys()


@pytest.mark.parametrize(("name", "expected"), ALARMS.items())
def test_an_alarm_says_what_to_do(template: Template, name: str, expected: tuple[str, str, int, int, int]) -> None:
    """Each alarm has an action on the topic, and a description with a next step."""
    found = alarm(template, name)
    keys = ("MetricName", "Statistic", "Period", "EvaluationPeriods", "Threshold")
    assert tuple(found[key] for key in keys) == expected
    (action,) = found["AlarmActions"]
    assert target(action) in resources(template, "AWS::SNS::Topic")
    assert re.search(r"\b(Read|Raise|Run|fix the cause|look)\b", found["AlarmDescription"])
    # An alarm's limit (API reference, PutMetricAlarm).
    assert len(found["AlarmDescription"]) <= 1024


def test_the_alarm_of_problems_names_what_a_sweep_does(template: Template) -> None:
    """`SweepProblems` and its row in docs/operations.md name both causes of a problem: imports and retention."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `SweepProblems` \|.+", page, re.MULTILINE)
    for text in (alarm(template, "SweepProblems")["AlarmDescription"], row):
        assert "could not process some import tasks, or the superseded images" in text


def test_every_alarm_is_in_the_table(template: Template) -> None:
    """Every alarm of the template is in the table of this test."""
    assert len(resources(template, "AWS::CloudWatch::Alarm")) == len(ALARMS)


def test_missing_data_is_an_alarm_for_sweeps_only(template: Template) -> None:
    """Missing data is an alarm for the metric of completed sweeps, and for no other metric."""
    found = resources(template, "AWS::CloudWatch::Alarm")
    breaching = {name for name, each in found.items() if each["TreatMissingData"] == "breaching"}
    assert [name for name in breaching if "SweepsMissing" not in name] == []
    assert alarm(template, "SweepsMissing")["ComparisonOperator"] == "LessThanThreshold"
    assert {each["TreatMissingData"] for name, each in found.items() if name not in breaching} == {"notBreaching"}


@pytest.mark.parametrize("minutes", [1, 15, 60, 1440])
def test_sweeps_are_missed_after_three_intervals(minutes: int) -> None:
    """The alarm of missing sweeps evaluates three intervals, within the limits of CloudWatch."""
    stack = VmImageImportStack(App(), "Swept", configuration=Configuration(sweep_minutes=minutes), code=INLINE)
    found = alarm(Assertions.from_stack(stack).to_json(), "SweepsMissing")
    seconds = found["Period"] * found["EvaluationPeriods"]
    assert seconds == 3 * 60 * minutes
    assert seconds <= (7 if found["Period"] >= 3600 else 1) * 24 * 3600


@pytest.mark.parametrize(("minutes", "warm_up"), [(1, 30), (15, 45), (960, 2880), (961, 2880), (1440, 2880)])
def test_the_first_deployment_is_quiet(minutes: int, warm_up: int) -> None:
    """Missing sweeps are no alarm in the first three intervals, or in two days where CloudWatch waits no longer."""
    stack = VmImageImportStack(App(), "New", configuration=Configuration(sweep_minutes=minutes), code=INLINE)
    found = resources(Assertions.from_stack(stack).to_json(), "AWS::CloudWatch::Alarm")
    waiting = {name: each["WarmUpConfiguration"] for name, each in found.items() if "WarmUpConfiguration" in each}
    assert [*waiting.values()] == [{"WarmUpPeriodDurationInMinutes": warm_up}]
    assert "SweepsMissing" in next(iter(waiting))
    assert warm_up > minutes


def test_each_queue_has_its_alarm(template: Template) -> None:
    """Each dead-letter queue has an alarm on its messages."""
    found = [alarm(template, name) for name in ("EventsNotDelivered", "InvocationsFailed")]
    watched = {target(dimension["Value"]) for each in found for dimension in each["Dimensions"]}
    assert watched == set(resources(template, "AWS::SQS::Queue"))


def test_the_dashboard_has_its_widgets_in_order(template: Template) -> None:
    """The dashboard shows alarms, invocations, registrations, failures, event age and cost, from top to bottom."""
    body = json.loads(text(only(template, "AWS::CloudWatch::Dashboard")["DashboardBody"]))
    widgets = sorted(body["widgets"], key=lambda widget: (widget["y"], widget["x"]))
    assert [widget["properties"].get("title", widget["type"]) for widget in widgets] == [
        *("Alarms", "Invocations and sweeps", "Registered images", "Failures", "What failed and why"),
        *("Age of the events at registration", "Cost", "text"),
    ]
    assert len(widgets[0]["properties"]["alarms"]) == len(ALARMS)
    why = widgets[4]
    assert why["type"] == "log"
    assert "coalesce(reason, exception, errorMessage" in why["properties"]["query"]
    metrics = [each for widget in widgets for each in widget["properties"].get("metrics", []) if len(each) > 1]
    # Without a dimension it would be that of the whole account.
    assert [each for each in metrics if not isinstance(each[2], str)] == []


@pytest.mark.parametrize(
    ("configuration", "names"),
    [
        (Configuration(tag_amis=True), {"AmisTagged"}),
        (Configuration(parameter_prefix="/a"), {"ParametersWritten"}),
    ],
)
def test_the_dashboard_shows_what_is_configured(configuration: Configuration, names: set[str]) -> None:
    """The metrics of tags and parameters are shown where they are switched on, and the function emits them."""
    stack = VmImageImportStack(App(), "Shown", configuration=configuration, code=INLINE)
    body = text(only(Assertions.from_stack(stack).to_json(), "AWS::CloudWatch::Dashboard")["DashboardBody"])
    optional = {"AmisTagged", "ParametersWritten"}
    assert {name for name in optional if f'"{name}"' in body} == names
    source = "".join(path.read_text("utf-8") for path in (ROOT / "lambda/vm_image_import").rglob("*.py"))
    assert all(f'"{name}"' in source for name in names)


def test_queries_are_saved_for_the_functions_log(template: Template) -> None:
    """The saved queries read the function's log, and are named after the stack."""
    found = resources(template, "AWS::Logs::QueryDefinition").values()
    (group,) = resources(template, "AWS::Logs::LogGroup")
    assert {each["Name"] for each in found} == {
        *("VmImageImport/What failed and why", "VmImageImport/What was registered"),
        "VmImageImport/One import",
    }
    for each in found:
        assert [target(reference) for reference in each["LogGroupNames"]] == [group]


def test_the_topic_is_encrypted_with_a_rotated_key(template: Template) -> None:
    """The topic has a customer managed key that is rotated, and deleted with the stack."""
    (resource,) = (each for each in template["Resources"].values() if each["Type"] == "AWS::KMS::Key")
    assert resource["Properties"]["EnableKeyRotation"] is True
    assert (resource["DeletionPolicy"], resource["Properties"]["PendingWindowInDays"]) == ("Delete", 7)
    key = target(only(template, "AWS::SNS::Topic")["KmsMasterKeyId"])
    assert template["Resources"][key] is resource
