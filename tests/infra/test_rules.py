"""The golden events against the patterns of the synthesised rules."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from moto.events.models import EventPattern

from tests.conftest import ROOT

EVENTS = ROOT / "tests" / "events"

# Which rule takes which event; what no rule takes never costs a run.
TAKEN = {
    "ami-available": {"An AMI became available: an import may have made it"},
    "ami-available-other-source": set(),
    "ami-deregistered": set(),
    "ami-disabled": set(),
    "ami-failed": set(),
    "image-available": {"An image became available or failed: it may be an imported one"},
    "image-building": set(),
    "image-cancelled": {"An image became available or failed: it may be an imported one"},
    "image-failed": {"An image became available or failed: it may be an imported one"},
    "instance-state-change": set(),
}


def test_every_golden_event_is_in_the_table() -> None:
    """An event that is added is held against the rules, too."""
    assert {path.stem for path in EVENTS.glob("*.json")} == set(TAKEN)


@pytest.mark.parametrize(("name", "rules"), TAKEN.items())
def test_an_event_is_taken_by_its_rule_only(template: Mapping[str, Any], name: str, rules: set[str]) -> None:
    """EventBridge invokes the function for AMIs that become available, and for nothing else."""
    event = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    matching = {
        resource["Properties"]["Description"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Events::Rule"
        and "EventPattern" in resource["Properties"]
        and EventPattern.load(json.dumps(resource["Properties"]["EventPattern"])).matches_event(event)
    }
    assert matching == rules
