"""`make verify`, with the deployed template and the bundled artefact on the local AWS."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from local.assembly import synthesize
from local.aws import functions
from local.aws.local_aws import LocalAws
from local.aws.switches import NAMES, Switches
from local.verify.__main__ import main
from local.verify.assumptions import ASSUMPTIONS
from tests.conftest import ACCOUNT, REGION
from tests.e2e.conftest import physical_id

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

    def start(assembly: Path | None = None, **switched: bool) -> LocalAws:
        aws = LocalAws(switched=Switches(**switched))
        started.append(aws.__enter__())
        aws.deploy(assembly or configured_assembly, "VmImageImport" if assembly else f"VmImageImport-{REGION}")
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


def verify(aws: LocalAws, act: Callable[[int], None] = lambda _: None, session: boto3.Session | None = None) -> int:
    """Run `make verify` without a question."""
    arguments = ["--disk", "vm-1.0.ova", "--bucket", BUCKET, "--yes", "yes"]
    return main(arguments, wait=Passing(aws, act), session=session)


def never(_: int) -> None:
    """Fail where the verification waits: then it has begun."""
    pytest.fail("The verification has begun.")


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


@pytest.mark.parametrize(
    ("names", "code", "line"),
    [
        (["team-a-*"], 0, "Everything is removed."),
        (["web"], 1, "`allowedNames` has no pattern for the image of a test"),
    ],
)
def test_a_deployment_that_allows_little(
    start: Callable[..., LocalAws], capsys: pytest.CaptureFixture[str], names: list[str], code: int, line: str
) -> None:
    """The image of a test has a name that the deployment allows, and is removed where no tag of the task reaches it."""
    limits = {"allowedNames": names, "imageTagKeys": [], "onlyTasksTagged": {"Images": "yes"}}
    aws = start(synthesize({**limits, "immutableVersions": True, "namesFrom": "tags"}))
    assert verify(aws) == code
    assert line in capsys.readouterr().out
    assert nothing(leftovers(aws)), leftovers(aws)


def bad_disk(aws: LocalAws) -> Callable[[int], None]:
    """Give the uploaded disk a content that EC2 cannot import."""

    def act(waits: int) -> None:
        if waits == 1:
            s3 = aws.client("s3")
            (key,) = (each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"])
            s3.put_object(
                Bucket=BUCKET, Key=key, Metadata={"status-message": "ClientError: Unsupported kernel version 4"}
            )

    return act


def interrupt_after(most: int) -> Callable[[LocalAws], Callable[[int], None]]:
    """Press Ctrl-C in a wait."""

    def act(waits: int) -> None:
        if waits == most:
            signal.raise_signal(signal.SIGINT)

    return lambda _: act


@pytest.mark.parametrize(
    ("act", "line"),
    [
        (bad_disk, "EC2 cannot import vm-1.0.ova: ClientError: Unsupported kernel version 4"),
        (interrupt_after(1), "Interrupted."),
        (interrupt_after(9), "Interrupted."),
        (interrupt_after(14), "Interrupted."),
    ],
    ids=["bad disk", "while the import runs", "when its AMI exists", "at the end"],
)
def test_it_ends_early(
    start: Callable[..., LocalAws],
    capsys: pytest.CaptureFixture[str],
    act: Callable[[LocalAws], Callable[[int], None]],
    line: str,
) -> None:
    """A failed import and Ctrl-C are one line, no report is written, and everything is removed."""
    aws = start()
    assert verify(aws, act(aws)) == 1
    assert line in capsys.readouterr().out
    assert not [*Path.cwd().glob("verify-*")]
    assert nothing(leftovers(aws)), leftovers(aws)


def answering(operation: str, answer: dict[str, Any], status: int) -> boto3.Session:
    """Return a session in which each call of an operation has this answer."""
    session = boto3.Session()
    events: Any = session.events
    parsed = {"ResponseMetadata": {"HTTPStatusCode": status}, **answer}
    events.register(f"before-call.{operation}", lambda **_: (SimpleNamespace(status_code=status), parsed))
    return session


def refusing(operation: str, code: str) -> boto3.Session:
    """Return a session in which each call of an operation fails with an error code."""
    return answering(operation, {"Error": {"Code": code, "Message": "Refused."}}, 403)


@pytest.mark.parametrize(
    ("operation", "code", "line"),
    [
        ("sts.GetCallerIdentity", "ExpiredToken", "sign in again"),
        ("sqs.CreateQueue", "AccessDenied", "The credentials lack a right: "),
        ("ec2.ImportImage", "UnauthorizedOperation", "The credentials lack a right: "),
        ("imagebuilder.GetImage", "ExpiredTokenException", "sign in again"),
    ],
)
def test_a_refused_call(
    start: Callable[..., LocalAws], capsys: pytest.CaptureFixture[str], operation: str, code: str, line: str
) -> None:
    """Expired credentials and a missing right are one line, and what was made before is removed."""
    aws = start()
    assert verify(aws, session=refusing(operation, code)) == 1
    assert line in capsys.readouterr().out
    assert nothing(leftovers(aws)), leftovers(aws)


def test_what_cannot_be_removed_is_listed(start: Callable[..., LocalAws], capsys: pytest.CaptureFixture[str]) -> None:
    """What could not be removed is listed with the command that removes it, also in the report."""
    aws = start()
    assert verify(aws, session=refusing("ec2.DeregisterImage", "UnauthorizedOperation")) == 1
    left = leftovers(aws)
    (ami,), (snapshot,) = left.pop("AMIs"), left.pop("snapshots")
    commands = [
        f"aws ec2 deregister-image --image-id {ami['ImageId']}",
        # EC2 deletes no snapshot of an AMI.
        f"aws ec2 delete-snapshot --snapshot-id {snapshot['SnapshotId']}",
    ]
    printed = capsys.readouterr().out
    for command, listed in zip(commands, report()["notRemoved"], strict=True):
        assert command in printed
        assert listed.startswith(command)
    assert nothing(left), left


def lose_the_role(aws: LocalAws) -> None:
    """Delete the role of EC2's imports."""
    aws.client("iam").delete_role(RoleName="vmimport")


def lose_the_bucket(aws: LocalAws) -> None:
    """Delete the bucket."""
    aws.client("s3").delete_bucket(Bucket=BUCKET)


def lose_the_disk(_: LocalAws) -> None:
    """Delete the disk."""
    Path("vm-1.0.ova").unlink()


@pytest.mark.parametrize(
    ("lose", "line"),
    [
        (lose_the_role, "The role vmimport does not exist"),
        (lose_the_bucket, "The bucket exports cannot be used"),
        (lose_the_disk, "There is no file vm-1.0.ova."),
    ],
)
def test_something_is_missing(
    start: Callable[..., LocalAws],
    capsys: pytest.CaptureFixture[str],
    lose: Callable[[LocalAws], None],
    line: str,
) -> None:
    """What is missing is said before anything is made."""
    aws = start()
    lose(aws)
    assert verify(aws, never) == 1
    assert line in capsys.readouterr().out


def test_rights_may_be_missing(start: Callable[..., LocalAws], capsys: pytest.CaptureFixture[str]) -> None:
    """Every right that IAM says is missing is named before the question."""
    start()
    denied = ("ec2:ImportImage", "sqs:CreateQueue")
    evaluated = [{"EvalActionName": action, "EvalDecision": "implicitDeny"} for action in denied]
    session = answering("iam.SimulatePrincipalPolicy", {"EvaluationResults": evaluated}, 200)
    assert main(["--disk", "vm-1.0.ova", "--bucket", BUCKET], session=session, ask=lambda _: "") == 1
    assert "The credentials may lack rights: ec2:ImportImage, sqs:CreateQueue" in capsys.readouterr().out


def test_it_asks(start: Callable[..., LocalAws], capsys: pytest.CaptureFixture[str]) -> None:
    """It says what it costs and asks; without a yes, nothing is made."""
    aws = start()
    arguments = ["--disk", "vm-1.0.ova", "--bucket", BUCKET]
    assert main(arguments, wait=Passing(aws), ask=lambda _: "") == 1
    assert "USD" in capsys.readouterr().out
    assert not aws.client("ec2").describe_import_image_tasks()["ImportImageTasks"]


def break_nothing(_: LocalAws) -> None:
    """Leave everything as it is."""


def break_rule(aws: LocalAws) -> None:
    """Disable a rule."""
    aws.client("events").disable_rule(Name=physical_id(aws, "AWS::Events::Rule", "AmiAvailable"))


def break_permission(aws: LocalAws) -> None:
    """Remove the permission of a rule."""
    permission = physical_id(aws, "AWS::Lambda::Permission", "TriggersSweep")
    function = physical_id(aws, "AWS::Lambda::Function")
    aws.client("lambda").remove_permission(FunctionName=function, StatementId=permission)


def break_key(aws: LocalAws) -> None:
    """Disable the topic's key."""
    aws.client("kms").disable_key(KeyId=physical_id(aws, "AWS::KMS::Key"))


def break_role(aws: LocalAws) -> None:
    """Remove the role's policy."""
    iam, role = aws.client("iam"), physical_id(aws, "AWS::IAM::Role", "ImportRole")
    for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=role, PolicyName=policy)


def break_event(aws: LocalAws) -> None:
    """Invoke the function with a wrong payload, three times in vain."""
    function = physical_id(aws, "AWS::Lambda::Function")
    aws.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload='{"importTaskId": 1}')
    functions.run_queued()


def break_alarm(aws: LocalAws) -> None:
    """Let an alarm be in ALARM."""
    alarm = aws.client("cloudwatch").describe_alarms()["MetricAlarms"][0]["AlarmName"]
    aws.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")


def break_table(aws: LocalAws) -> None:
    """Delete the table."""
    dynamodb, table = aws.client("dynamodb"), physical_id(aws, "AWS::DynamoDB::Table")
    dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=table)


@pytest.mark.parametrize(
    ("do", "problems"),
    [
        (break_nothing, {}),
        (break_rule, {"rules": "AmiAvailable is disabled: aws events enable-rule --name "}),
        (break_permission, {"rules": "Sweep may not invoke the function: npx --no -- cdk drift"}),
        (break_key, {"topic": "Its key is Disabled: aws kms enable-key --key-id "}),
        (break_role, {"role": "It has no policy"}),
        (break_event, {"queues": "FunctionDlq has 1 messages", "function": "Its log has errors"}),
        (break_alarm, {"alarms": "EventBridge could not invoke the function."}),
        (break_table, {"table": "ResourceNotFoundException"}),
    ],
)
def test_a_deployment_is_examined(
    start: Callable[..., LocalAws],
    capsys: pytest.CaptureFixture[str],
    do: Callable[[LocalAws], None],
    problems: dict[str, str],
) -> None:
    """CHECK=deployment says what is wrong and what to do, the names of all parts, and each image by name."""
    aws = start()
    task = aws.import_vm(BUCKET, ["exports/web-1.4.2.ova"], {}, {})
    for _ in range(12):
        aws.advance()
    aws.fire_schedules()
    do(aws)
    assert main(["--check", "deployment"]) == (1 if problems else 0)
    printed = capsys.readouterr().out
    assert len(re.findall("^PROBLEM", printed, re.MULTILINE)) == len(problems), printed
    for part, problem in problems.items():
        assert re.search(f"^PROBLEM  {part} .*{re.escape(problem)}", printed, re.MULTILINE), printed
    for resource in ("AWS::Lambda::Function", "AWS::Logs::LogGroup", "AWS::DynamoDB::Table", "AWS::SNS::Topic"):
        assert physical_id(aws, resource) in printed
    (image,) = aws.images()
    for cell in ("web", "1.4.2/1", "AVAILABLE", image["outputResources"]["amis"][0]["image"]):
        assert cell in printed
    assert task


def test_steps_that_are_left_are_shown(start: Callable[..., LocalAws], capsys: pytest.CaptureFixture[str]) -> None:
    """An image shows which of its steps are left, and what was reported of them."""
    aws = start(no_image_event=True)
    aws.import_vm(BUCKET, ["exports/web-1.4.2.ova"], {}, {})
    for _ in range(12):
        aws.advance()
    assert main(["--check", "deployment"]) == 1
    printed = capsys.readouterr().out
    assert "last sweep     There was none" in printed
    assert re.search("web .*follow, tag, parameter,", printed), printed


def test_a_stack_that_does_not_exist(start: Callable[..., LocalAws], capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong name of the stack is one line that says what to do."""
    start()
    assert main(["--check", "deployment", "--stack", "Other"]) == 1
    assert capsys.readouterr().out == "us-east-1 has no stack Other: deploy it, or name it with STACK=…\n"
