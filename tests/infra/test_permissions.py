"""docs/permissions.md, compared with the template."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template as Assertions

from infra.configuration import CONTEXT_KEY
from infra.stack import VmImageImportStack
from tests.conftest import ROOT
from tests.infra.test_configuration import EVERYTHING, INLINE
from tests.infra.test_template import only

DOCUMENT = (ROOT / "docs" / "permissions.md").read_text(encoding="utf-8")
STATEMENT = re.compile(r"^\| `(?P<sid>\w+)` \| (?P<actions>[^|]+) \| (?P<on>[^|]+) \| (?P<why>[^|]+) \|$", re.MULTILINE)
TYPE = re.compile(r"^\| `(AWS::\w+::\w+)` \| `[^|]+` ", re.MULTILINE)


@pytest.fixture(scope="module")
def everything() -> dict[str, Any]:
    """Give the template with everything that can be configured."""
    stack = VmImageImportStack(App(context={CONTEXT_KEY: EVERYTHING}), "Everything", code=INLINE)
    return dict(Assertions.from_stack(stack).to_json())


def test_every_statement_is_documented(everything: Mapping[str, Any]) -> None:
    """The table of statements in docs/permissions.md has the statements and actions of the role, and no others."""
    (policy,) = only(everything, "AWS::IAM::Role")["Policies"]
    actions = {each["Sid"]: each["Action"] for each in policy["PolicyDocument"]["Statement"]}
    allowed = {sid: {found} if isinstance(found, str) else {*found} for sid, found in actions.items()}
    rows = {match["sid"]: match for match in STATEMENT.finditer(DOCUMENT)}
    assert {sid: set(re.findall(r"`(.+?)`", row["actions"])) for sid, row in rows.items()} == allowed


def test_wildcard_resources_are_documented(everything: Mapping[str, Any]) -> None:
    """The statements on `*` are documented as such, and all but one have a condition."""
    (policy,) = only(everything, "AWS::IAM::Role")["Policies"]
    statements = policy["PolicyDocument"]["Statement"]
    on_all = {each["Sid"] for each in statements if each["Resource"] == "*"}
    assert {match["sid"] for match in STATEMENT.finditer(DOCUMENT) if match["on"].startswith("`*`")} == on_all
    assert {each["Sid"] for each in statements if each["Resource"] == "*" and "Condition" in each} == on_all - {
        "WriteTraces"
    }


def test_the_deployers_types_are_those_of_the_template(everything: Mapping[str, Any]) -> None:
    """The table of the deployer has the resource types of the template, and no others."""
    assert set(TYPE.findall(DOCUMENT)) == {each["Type"] for each in everything["Resources"].values()}
