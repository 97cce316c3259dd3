"""The commands of the documents, in a shell as `make local` prepares it."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from local.aws.local_aws import ACCOUNT, LocalAws
from local.live import shell_exports
from tests.conftest import ROOT
from tests.e2e.conftest import LOCKS, UBUNTU, finish_imports, physical_id

pytestmark = pytest.mark.acceptance

# A block of commands for a real account has the words `sh real-account`, all others run here.
BLOCK = re.compile(r"```sh\n(.+?)```", re.DOTALL)
DOCUMENTS = [path for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]) if BLOCK.search(path.read_text())]
OPERATIONS = ROOT / "docs" / "operations.md"
# The stack is deployed already, and nobody is there to approve. The targets of make have tests of their own.
NPX = """#!/bin/sh
# npx --no -- cdk COMMAND
shift 3
command=$1
shift
case $command in
  bootstrap) exec cdk bootstrap "$@" aws://{account}/us-east-1;;
  deploy) case "$*" in *--require-approval*) ;; *) set -- "$@" --require-approval never;; esac;;
  destroy) set -- "$@" --force;;
esac
case "$*" in *--app*) ;; *) set -- "$@" --app '{assembly}';; esac
exec cdk "$command" "$@"
"""


class Shell:
    """A shell in a folder with the files that the commands name, and a local AWS as `make local` gives it."""

    def __init__(self, aws: LocalAws, folder: Path, assembly: Path) -> None:
        self.aws = aws
        self._folder = folder
        tools = folder / "bin"
        tools.mkdir()
        for name in ("make", "git"):
            (tools / name).symlink_to("/bin/true")
        npx = tools / "npx"
        npx.write_text(NPX.format(account=ACCOUNT, assembly=assembly), encoding="utf-8")
        npx.chmod(0o755)
        for name in ("web-server-1.4.2.ova", "list.txt"):
            (folder / name).write_text("web-1.4.2.ova\n", encoding="utf-8")
        (folder / "payload.json").write_text(json.dumps({"action": "sweep", "dryRun": True}), encoding="utf-8")
        shutil.copytree(assembly, folder / "cdk.out", ignore=LOCKS)
        self._setup = "\n".join((*shell_exports(aws, tools), "set -eu", ""))
        path = f"{tools}:{ROOT / 'node_modules/.bin'}:{os.environ['PATH']}"
        self._variables = {"PATH": path, "HOME": str(folder), "CDK_DISABLE_CLI_TELEMETRY": "true"}

    def run(self, commands: str) -> None:
        """Run commands, which have to succeed, and let the imports that they start end."""
        done = subprocess.run(
            ["/bin/bash", "-c", self._setup + commands],
            cwd=self._folder,
            env=self._variables,
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        finish_imports(self.aws)


@pytest.fixture
def shell(assembly: Path, tmp_path: Path) -> Iterator[Shell]:
    """Give a shell with an empty local AWS."""
    with LocalAws() as aws:
        yield Shell(aws, tmp_path, assembly)


def placeholders(aws: LocalAws, task: str) -> dict[str, str]:
    """Return what the words in capitals of the documents stand for."""
    role = physical_id(aws, "AWS::IAM::Role")
    resources = {
        "TOPIC": physical_id(aws, "AWS::SNS::Topic"),
        "LOG_GROUP": physical_id(aws, "AWS::Logs::LogGroup"),
        "QUEUE_URL": physical_id(aws, "AWS::SQS::Queue", "FunctionDlq"),
        "TABLE": physical_id(aws, "AWS::DynamoDB::Table"),
        "KEY": physical_id(aws, "AWS::KMS::Key"),
        "RULE": physical_id(aws, "AWS::Events::Rule", "AmiAvailable"),
        "PERMISSION": physical_id(aws, "AWS::Lambda::Permission", "AmiAvailable"),
        "ROLE": role,
        "POLICY": aws.client("iam").list_role_policies(RoleName=role)["PolicyNames"][0],
    }
    arn = f"arn:aws:{{}}:us-east-1:{ACCOUNT}:{{}}"
    function = physical_id(aws, "AWS::Lambda::Function")
    return resources | {
        "FUNCTION": function,
        "--function-name NAME": f"--function-name {function}",
        "QUEUE_ARN": arn.format("sqs", "subscriber"),
        "SUBSCRIBER_ARN": arn.format("lambda", "function:subscriber"),
        "ACCOUNT": ACCOUNT,
        "TASK": task,
        "import-ami-0123456789abcdef0": task,
        "BUCKET": "my-bucket",
        # Of version 2 of the AWS command line, as the documents say.
        "--cli-binary-format raw-in-base64-out ": "",
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_runs(document: Path, shell: Shell, assembly: Path) -> None:
    """Every command of the documents, other than those marked for a real account, succeeds on the local AWS."""
    blocks = BLOCK.findall(document.read_text(encoding="utf-8"))
    if not any("npx --no -- cdk bootstrap" in block for block in blocks):
        shell.aws.deploy(assembly, "VmImageImport")
    task = shell.aws.import_vm("my-bucket", ["exports/mail-2.0.ova"], UBUNTU, {})
    finish_imports(shell.aws)
    for block in blocks:
        shell.run(filled(block, placeholders(shell.aws, task) if is_deployed(shell.aws) else {"ACCOUNT": ACCOUNT}))


def test_the_commands_of_the_guide_leave_one_image(shell: Shell, assembly: Path) -> None:
    """An import that is registered by the commands of AWS's guide, in their order, keeps this one image."""
    shell.aws.deploy(assembly, "VmImageImport")
    shell.aws.client("s3").create_bucket(Bucket="my-bucket")
    shell.aws.client("s3").put_object(Bucket="my-bucket", Key="exports/web-server-1.4.2.ova", Body=b"disk")
    (commands,) = (block for block in BLOCK.findall(OPERATIONS.read_text(encoding="utf-8")) if "by-the-guide" in block)
    shell.run(commands)
    for _ in range(3):
        shell.aws.fire_schedules()
        finish_imports(shell.aws)
    assert [image["name"] for image in shell.aws.images()] == ["by-the-guide"]
    assert [each.subject for each in shell.aws.published_messages()] == ["Image available: by-the-guide/1.4.2/1"]


def is_deployed(aws: LocalAws) -> bool:
    """Return whether the stack exists: a document can say how to deploy it."""
    return "VmImageImport" in {each["StackName"] for each in aws.client("cloudformation").describe_stacks()["Stacks"]}


def filled(block: str, values: Mapping[str, str]) -> str:
    """Return commands with values for the words in capitals, the longest words first."""
    words = "|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in sorted(values, key=len, reverse=True))
    return re.sub(words, lambda match: values[match[0]], block)


def test_the_local_commands_are_not_all_marked_away() -> None:
    """The documents that people follow first have commands that run here."""
    assert {"README.md", "operations.md", "local.md"} <= {path.name for path in DOCUMENTS}
