"""The local Image Builder executes lifecycle policies as AWS documents."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from local.aws import image_builder, lifecycle
from local.aws.lifecycle import Action
from tests.conftest import ACCOUNT, REGION, client
from tests.contract.test_local_image_builder import available

DAY = timedelta(days=1)
OLD = "2026-01-01T00:00:00.000Z"
ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}


@pytest.fixture(autouse=True)
def _policy(endpoint_url: str) -> Iterator[None]:
    """Run every test with a policy that deletes what is tagged and older than a day, and may delete everything."""
    assert endpoint_url
    role = client("iam").create_role(RoleName="lifecycle", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    document = json.dumps({"Version": "2012-10-17", "Statement": [ALL]})
    client("iam").put_role_policy(RoleName="lifecycle", PolicyName="all", PolicyDocument=document)
    excluded = {"TagMap": {"keep": "yes"}}
    amis = {**excluded, "LastLaunched": {"Value": 30, "Unit": "DAYS"}}
    image_builder.backends[ACCOUNT][REGION].lifecycle_policies["policy"] = {
        "ExecutionRole": role,
        "ResourceSelection": {"TagMap": {"delete": "yes"}},
        "PolicyDetails": [
            {
                "Action": {"Type": "DELETE", "IncludeResources": {"Amis": True, "Snapshots": True}},
                "Filter": {"Type": "AGE", "Value": 1, "Unit": "DAYS"},
                "ExclusionRules": {**excluded, "Amis": amis},
            }
        ],
    }
    yield
    image_builder.backends[ACCOUNT][REGION].lifecycle_policies.clear()


def run() -> list[Action]:
    """Execute the policies."""
    return lifecycle.run(ACCOUNT, REGION, DAY)


@pytest.mark.parametrize(
    ("tags", "created", "status", "deleted"),
    [
        ({"delete": "yes"}, OLD, "AVAILABLE", True),
        ({"delete": "yes"}, OLD, "DEPRECATED", True),
        ({"delete": "yes"}, None, "AVAILABLE", False),
        ({"delete": "yes"}, None, "FAILED", True),
        ({"delete": "yes"}, OLD, "PENDING", False),
        ({"delete": "yes"}, OLD, "INTEGRATING", False),
        ({"delete": "Yes"}, OLD, "AVAILABLE", False),
        ({"delete": "yes", "keep": "yes"}, OLD, "AVAILABLE", False),
        ({"delete": "yes", "keep": "no"}, OLD, "AVAILABLE", True),
        ({}, OLD, "FAILED", False),
    ],
    ids=[
        "old",
        "deprecated",
        "young",
        "failed",
        "pending",
        "running",
        "another value",
        "kept",
        "not kept",
        "not tagged",
    ],
)
def test_what_is_deleted(tags: dict[str, str], created: str | None, status: str, *, deleted: bool) -> None:
    """Old images with exactly the tag are deleted, failed ones at any age, with AMIs and snapshots."""
    arn = available()
    image = image_builder.backends[ACCOUNT][REGION].images[arn]
    image.tags, image.state, image.created = tags, {"status": status}, created or image.created
    actions = run()
    assert {action.status for action in actions} == ({"SUCCESS"} if deleted else set())
    assert len(actions) == (3 if deleted else 0)
    assert (arn in image_builder.backends[ACCOUNT][REGION].images) is not deleted
    assert len(client("ec2").describe_images(Owners=["self"])["Images"]) == (0 if deleted else 1)


def test_what_is_gone_already_is_a_success() -> None:
    """An AMI that was deregistered before is a success."""
    image = image_builder.backends[ACCOUNT][REGION].images[available()]
    image.tags, image.created = {"delete": "yes"}, OLD
    client("ec2").deregister_image(ImageId=image.amis[0]["image"])
    assert run() == [Action(image.arn, "SUCCESS"), Action(image.amis[0]["image"], "SUCCESS")]


def test_a_disabled_policy_does_nothing() -> None:
    """A policy that is disabled is not executed."""
    image = image_builder.backends[ACCOUNT][REGION].images[available()]
    image.tags, image.created = {"delete": "yes"}, OLD
    image_builder.backends[ACCOUNT][REGION].lifecycle_policies["policy"]["Status"] = "DISABLED"
    assert run() == []
