"""The golden events, matched by the patterns of the synthesised rules."""

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest
from moto.events.models import EventPattern

from tests.conftest import ACCOUNT, REGION, ROOT

EVENTS = ROOT / "tests" / "events"

AMI = "An AMI became available: it may be the AMI of an import"
IMAGE = "An image became available or failed: it may be the image of an import"
# By the name of the event: the descriptions of the rules that match it.
TAKEN = {
    "ami-available": {AMI},
    "ami-available-other-source": set(),
    "ami-deregistered": set(),
    "ami-disabled": set(),
    "ami-failed": set(),
    "image-available": {IMAGE},
    "image-building": set(),
    "image-cancelled": {IMAGE},
    "image-failed": {IMAGE},
    "instance-state-change": set(),
}


def test_every_golden_event_is_in_the_table() -> None:
    """Every golden event is in the table."""
    assert {path.stem for path in EVENTS.glob("*.json")} == set(TAKEN)


@pytest.mark.parametrize(("name", "rules"), TAKEN.items())
def test_an_event_is_matched_by_its_rule_only(template: Mapping[str, Any], name: str, rules: set[str]) -> None:
    """An event of this account and Region is matched by the rules in the table, and by no others."""
    event = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    assert matching(template, event | {"account": ACCOUNT, "region": REGION}) == rules


@pytest.mark.parametrize("change", [{"account": "210987654321"}, {"region": "eu-west-1"}], ids=str)
@pytest.mark.parametrize("name", ["ami-available", "image-available"])
def test_an_event_of_another_account_or_region_is_not_matched(
    template: Mapping[str, Any], name: str, change: dict[str, str]
) -> None:
    """An event that another account or Region forwards, with the source of AWS's service, invokes nothing."""
    event = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    assert matching(template, event | {"account": ACCOUNT, "region": REGION} | change) == set()


def matching(template: Mapping[str, Any], event: Mapping[str, Any]) -> set[str]:
    """Return the descriptions of the rules of the stack, deployed in ACCOUNT and REGION, that match an event."""
    found = set()
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Events::Rule" and "EventPattern" in resource["Properties"]:
            pattern = json.dumps(resource["Properties"]["EventPattern"])
            for parameter, value in (("AWS::AccountId", ACCOUNT), ("AWS::Region", REGION)):
                pattern = pattern.replace(json.dumps({"Ref": parameter}), json.dumps(value))
            if EventPattern.load(pattern).matches_event(cast("Any", event)):
                found.add(resource["Properties"]["Description"])
    return found
