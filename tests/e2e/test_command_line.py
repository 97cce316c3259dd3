"""What a user types: `make local`, and in another terminal the real CDK and AWS command lines."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from tests.conftest import ROOT, client

ARN = "arn:aws:imagebuilder:us-east-1:123456789012:image/web-server/1.4.2"
# What a stack could leave behind: service, operation, and where its answer has the names. Keys are no part of it: the
# account keeps AWS's own for DynamoDB, and one of a stack waits for its deletion.
LISTS = (
    ("lambda", "list_functions", "Functions", "FunctionName"),
    ("events", "list_rules", "Rules", "Name"),
    ("sqs", "list_queues", "QueueUrls", None),
    ("sns", "list_topics", "Topics", "TopicArn"),
    ("sns", "list_subscriptions", "Subscriptions", "SubscriptionArn"),
    ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    ("iam", "list_roles", "Roles", "RoleName"),
    ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    ("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    ("dynamodb", "list_tables", "TableNames", None),
)


class Terminals:
    """The one in which `make local` runs, and the one in which the user types."""

    def __init__(self, local: IO[str], folder: Path) -> None:
        self._local = local
        self._folder = folder
        self.variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "CDK_DISABLE_CLI_TELEMETRY": "true"}
        for line in self.read_until("Then, for example"):
            match shlex.split(line):
                case ["export", setting] if not setting.startswith("PATH="):
                    name, value = setting.split("=", 1)
                    self.variables[name] = value

    def read_until(self, *words: str) -> list[str]:
        """Return what `make local` prints up to the line with these words."""
        lines = []
        for line in self._local:
            lines.append(line)
            if all(word in line for word in words):
                return lines
        raise AssertionError(lines)

    def type(self, command: str) -> str:
        """Return what a command prints; AssertionError where it fails."""
        program, *arguments = shlex.split(command)
        path = {"cdk": ROOT / "node_modules/.bin/cdk", "aws": Path(sys.executable).with_name("aws")}[program]
        done = subprocess.run(
            [str(path), *arguments],
            cwd=self._folder,
            env=self.variables,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def terminals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminals]:
    """Give `make local`, sped up, and end it as a user does."""
    command = [sys.executable, "-m", "local.live", "--pace", "0.05"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as local:
        assert local.stdout is not None
        try:
            both = Terminals(local.stdout, tmp_path)
            monkeypatch.setenv("AWS_ENDPOINT_URL", both.variables["AWS_ENDPOINT_URL"])
            yield both
            local.send_signal(signal.SIGINT)
            both.read_until("Ended, and everything in it is gone.")
            assert local.wait() == 0
        finally:
            local.kill()


def in_the_account() -> set[str]:
    """Return the names of everything that a stack could leave behind."""
    return {
        str(found[key] if key else found)
        for service, operation, listed, key in LISTS
        for found in getattr(client(service), operation)().get(listed, [])
    }


def test_from_bootstrap_to_destroy(terminals: Terminals, assembly: Path, tmp_path: Path) -> None:
    """An import becomes an image that the command lines show, and destroying the stack leaves only its table.

    The CDK reads the assembly of all these tests: only synthesising it again is left out.
    """

    def ask(command: str) -> Any:  # noqa: ANN401 - what the command line answers
        return json.loads(terminals.type(f"aws {command} --output json"))

    terminals.type("cdk bootstrap aws://123456789012/us-east-1 --no-notices")
    before = in_the_account()
    outputs = tmp_path / "outputs.json"
    terminals.type(f"cdk deploy --app {assembly} --require-approval never --no-notices --outputs-file {outputs}")
    function = json.loads(outputs.read_text(encoding="utf-8"))["VmImageImport"]["FunctionName"]
    assert function in in_the_account()

    (tmp_path / "web.ova").write_bytes(b"disk")
    terminals.type("aws s3 mb s3://exports")
    terminals.type("aws s3 cp web.ova s3://exports/web.ova")
    task = ask(
        "ec2 import-image --disk-containers 'Format=ova,UserBucket={S3Bucket=exports,S3Key=web.ova}' "
        "--tag-specifications "
        "'ResourceType=import-image-task,Tags=[{Key=Name,Value=web-server},{Key=Version,Value=1.4.2}]'"
    )["ImportTaskId"]
    terminals.read_until(f"{ARN}/1", "AVAILABLE")

    payload = json.dumps({"importTaskId": task})
    terminals.type(f"aws lambda invoke --function-name {function} --payload '{payload}' answer.json")
    answer = json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))
    assert (answer["outcome"], answer["imageArn"]) == ("ALREADY_REGISTERED", f"{ARN}/1")
    image = ask(f"imagebuilder get-image --image-build-version-arn {ARN}/1")["image"]
    assert (image["state"]["status"], image["tags"]["vm-image-import:task-id"]) == ("AVAILABLE", task)
    assert [version["arn"] for version in ask("imagebuilder list-images --owner Self")["imageVersionList"]] == [ARN]

    terminals.type(f"cdk destroy --app {assembly} --force --no-notices")
    (table,) = in_the_account() - before
    assert "Idempotency" in table
    ask(f"dynamodb update-table --table-name {table} --no-deletion-protection-enabled")
    ask(f"dynamodb delete-table --table-name {table}")
    assert in_the_account() == before
