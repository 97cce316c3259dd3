"""`make local`, and the real CDK and AWS command lines in another terminal."""

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
# The resources of a stack: service, operation, and the fields with the names in its answer. KMS keys are left out:
# the account has AWS's own for DynamoDB, and a stack's key is pending deletion.
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
    """The terminal in which `make local` runs, and the one for commands."""

    def __init__(self, local: IO[str], folder: Path) -> None:
        self._local = local
        self._folder = folder
        self.variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "CDK_DISABLE_CLI_TELEMETRY": "true"}
        for line in self.read_until("Then, for example"):
            match shlex.split(line):
                case ["export", setting] if not setting.startswith("PATH="):
                    name, value = setting.split("=", 1)
                    self.variables[name] = value

    def diff(self, assembly: Path) -> str:
        """Return what `cdk diff` shows, which it writes to standard error."""
        return self.run(f"cdk diff --no-notifications --app '{assembly}'", errors=subprocess.STDOUT)

    def read_until(self, *words: str) -> list[str]:
        """Return the lines that `make local` prints, up to the one with these words."""
        lines = []
        for line in self._local:
            lines.append(line)
            if all(word in line for word in words):
                return lines
        raise AssertionError(lines)

    def run(self, command: str, *, errors: int = subprocess.PIPE) -> str:
        """Run a command and return its output; it has to succeed. `errors` is where its standard error goes."""
        program, *arguments = shlex.split(command)
        path = {"cdk": ROOT / "node_modules/.bin/cdk", "aws": Path(sys.executable).with_name("aws")}[program]
        done = subprocess.run(
            [str(path), *arguments],
            cwd=self._folder,
            env=self.variables,
            check=False,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def terminals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminals]:
    """Give a running `make local` with 20 steps a second, and end it with Ctrl-C."""
    command = [sys.executable, "-m", "local.live", "--pace", "0.05"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as local:
        assert local.stdout is not None
        try:
            both = Terminals(local.stdout, tmp_path)
            monkeypatch.setenv("AWS_ENDPOINT_URL", both.variables["AWS_ENDPOINT_URL"])
            yield both
            local.send_signal(signal.SIGINT)
            both.read_until("The local AWS has ended.")
            assert local.wait() == 0
        finally:
            local.kill()


def resource_names() -> set[str]:
    """Return the names of all resources of the types in LISTS."""
    return {
        str(found[key] if key else found)
        for service, operation, listed, key in LISTS
        for found in getattr(client(service), operation)().get(listed, [])
    }


def test_from_bootstrap_to_destroy(terminals: Terminals, assembly: Path, tmp_path: Path) -> None:
    """An import becomes an image that the AWS command line shows, and `cdk destroy` leaves only the stack's table."""
    # `--app` with the assembly: the CDK does not synthesize again.

    def ask(command: str) -> Any:  # noqa: ANN401 - what the command line answers
        return json.loads(terminals.run(f"aws {command} --output json"))

    terminals.run("cdk bootstrap aws://123456789012/us-east-1 --no-notifications")
    before = resource_names()
    outputs = tmp_path / "outputs.json"
    terminals.run(f"cdk deploy --app '{assembly}' --require-approval never --no-notifications --outputs-file {outputs}")
    function = json.loads(outputs.read_text(encoding="utf-8"))["VmImageImport"]["FunctionName"]
    assert function in resource_names()

    (tmp_path / "web.ova").write_bytes(b"disk")
    terminals.run("aws s3 mb s3://exports")
    terminals.run("aws s3 cp web.ova s3://exports/web.ova")
    task = ask(
        "ec2 import-image --disk-containers 'Format=ova,UserBucket={S3Bucket=exports,S3Key=web.ova}' "
        "--tag-specifications "
        "'ResourceType=import-image-task,Tags=[{Key=Name,Value=web-server},{Key=Version,Value=1.4.2}]'"
    )["ImportTaskId"]
    terminals.read_until(f"{ARN}/1", "AVAILABLE")

    payload = json.dumps({"importTaskId": task})
    terminals.run(f"aws lambda invoke --function-name {function} --payload '{payload}' answer.json")
    answer = json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))
    assert (answer["outcome"], answer["imageArn"]) == ("ALREADY_REGISTERED", f"{ARN}/1")
    image = ask(f"imagebuilder get-image --image-build-version-arn {ARN}/1")["image"]
    assert (image["state"]["status"], image["tags"]["vm-image-import:task-id"]) == ("AVAILABLE", task)
    assert [version["arn"] for version in ask("imagebuilder list-images --owner Self")["imageVersionList"]] == [ARN]

    terminals.run(f"cdk destroy --app '{assembly}' --force --no-notifications")
    (table,) = resource_names() - before
    assert "Idempotency" in table
    ask(f"dynamodb update-table --table-name {table} --no-deletion-protection-enabled")
    ask(f"dynamodb delete-table --table-name {table}")
    assert resource_names() == before


def test_a_changed_configuration_is_deployed(terminals: Terminals, assembly: Path, changed_assembly: Path) -> None:
    """`cdk diff` shows what a changed configuration changes, and nothing once it is deployed, also after a destroy."""
    deploy = "cdk deploy --require-approval never --no-notifications --app"
    terminals.run("cdk bootstrap aws://123456789012/us-east-1 --no-notifications")
    terminals.run(f"{deploy} '{assembly}'")
    shown = terminals.diff(changed_assembly)
    for change in ("rate(5 minutes)", "[+] AWS::SNS::Subscription", "[-] AWS::CloudWatch::Dashboard"):
        assert change in shown
    assert "Could not create a change set" not in shown
    terminals.run(f"{deploy} '{changed_assembly}'")
    assert "There were no differences" in terminals.diff(changed_assembly)
    terminals.run(f"cdk destroy --force --no-notifications --app '{assembly}'")
    terminals.run(f"{deploy} '{assembly}'")
    assert "There were no differences" in terminals.diff(assembly)
