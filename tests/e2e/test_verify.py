"""`make verify`, with the deployed template and the bundled artefact on the local AWS."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.aws.local_aws import LocalAws
from local.aws.switches import NAMES, Switches
from local.verify.__main__ import main
from local.verify.assumptions import ASSUMPTIONS
from tests.conftest import ACCOUNT, REGION

pytestmark = pytest.mark.acceptance

TOGETHER = {"active_task_names_ami": {"ami_comes_first": True}}
BUCKET = "exports"


class Passing:
    """Time passes when the verification waits: a step each time, and a schedule now and then."""

    def __init__(self, aws: LocalAws, act: Callable[[int], None] = lambda _: None) -> None:
        self._aws = aws
        self._act = act
        self.waits = 0

    def __call__(self, _: float) -> None:
        self.waits += 1
        self._act(self.waits)
        self._aws.advance()
        if self.waits % 5 == 0:
            self._aws.fire_schedules()


@pytest.fixture
def start(
    configured_assembly: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., LocalAws]]:
    """Give a function that starts a local AWS with a switch, the app deployed to it, and what an import needs."""
    started: list[LocalAws] = []

    def start(**switched: bool) -> LocalAws:
        aws = LocalAws(switched=Switches(**switched))
        started.append(aws.__enter__())
        aws.deploy(configured_assembly, f"VmImageImport-{REGION}")
        aws.client("iam").create_role(RoleName="vmimport", AssumeRolePolicyDocument="{}")
        aws.client("s3").create_bucket(Bucket=BUCKET)
        monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint_url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", aws.access_key)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "vm-1.0.ova").write_bytes(b"disk")
        return aws

    yield start
    for aws in started:
        aws.__exit__(None, None, None)


def verify(aws: LocalAws, act: Callable[[int], None] = lambda _: None) -> int:
    """Run `make verify` without a question."""
    return main(["--disk", "vm-1.0.ova", "--bucket", BUCKET, "--yes", "yes"], wait=Passing(aws, act))


def report() -> dict[str, Any]:
    """Return the report in the current folder."""
    (path,) = Path.cwd().glob("verify-*.json")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def leftovers(aws: LocalAws) -> dict[str, list[Any]]:
    """Return what a verification can leave behind."""
    ec2, sns = aws.client("ec2"), aws.client("sns")
    (topic,) = (each["TopicArn"] for each in sns.list_topics()["Topics"])
    subscribed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    return {
        "images": aws.images(),
        "AMIs": ec2.describe_images(Owners=["self"])["Images"],
        "snapshots": [s for s in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] if "import-ami" in str(s)],
        "tasks": [t for t in ec2.describe_import_image_tasks()["ImportImageTasks"] if t["Status"] == "active"],
        "objects": aws.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", []),
        "queues": [url for url in aws.client("sqs").list_queues()["QueueUrls"] if "verify" in url],
        "rules": [rule for rule in aws.client("events").list_rules()["Rules"] if "verify" in rule["Name"]],
        "subscriptions": [each for each in subscribed if each["Protocol"] == "sqs"],
        "parameters": aws.client("ssm").describe_parameters(
            ParameterFilters=[{"Key": "Name", "Option": "Contains", "Values": ["verify"]}]
        )["Parameters"],
        "alarms": [
            alarm["AlarmName"] for alarm in aws.client("cloudwatch").describe_alarms(StateValue="ALARM")["MetricAlarms"]
        ],
    }


def nothing(found: dict[str, list[Any]]) -> bool:
    """Return whether nothing is left."""
    return not any(found.values())


def test_a_deployment_is_proved(start: Callable[..., LocalAws]) -> None:
    """Without a switch every claim is `yes`, the report has no account id, and everything is removed."""
    aws = start()
    assert verify(aws) == 0
    found = report()
    assert {row["claim"]: row["verdict"] for row in found["deployment"] + found["assumptions"]} == {
        row["claim"]: "yes" for row in found["deployment"] + found["assumptions"]
    }
    assert len(found["assumptions"]) == len(ASSUMPTIONS)
    (markdown,) = Path.cwd().glob("verify-*.md")
    assert ACCOUNT not in markdown.read_text(encoding="utf-8") + json.dumps(found)
    assert nothing(leftovers(aws)), leftovers(aws)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_assumption_is_found(start: Callable[..., LocalAws], name: str) -> None:
    """The assumption of a switch is `no`, the deployment is proved all the same, and everything is removed."""
    switched = {name: True, **TOGETHER.get(name, {})}
    aws = start(**switched)
    assert verify(aws) == 0
    found = report()
    by_claim = {each.claim: each.switch for each in ASSUMPTIONS}
    wrong = {by_claim[row["claim"]] for row in found["assumptions"] if row["verdict"] == "no"}
    assert wrong == {*switched}
    assert nothing(leftovers(aws)), leftovers(aws)
