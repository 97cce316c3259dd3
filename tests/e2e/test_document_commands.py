"""The commands of the documents, in a shell as `make local` prepares it."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from local.aws.local_aws import ACCOUNT, LocalAws
from local.live import shell_exports
from tests.conftest import ROOT
from tests.e2e.conftest import LOCKS, UBUNTU, finish_imports, physical_id

pytestmark = pytest.mark.acceptance

# A block of commands for a real account has the words `sh real-account`, all others run here.
BLOCK = re.compile(r"```sh\n(.+?)```", re.DOTALL)
DOCUMENTS = [path for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]) if BLOCK.search(path.read_text())]
# Of a page that is followed from an empty account: its commands, and its configuration for vm-image-import.json.
PART = re.compile(r"```(sh|json)\n(.+?)```", re.DOTALL)
README = ROOT / "README.md"
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
    """A shell in a folder, and a local AWS as `make local` gives it. The targets of make have tests of their own."""

    def __init__(self, aws: LocalAws, folder: Path) -> None:
        self.aws = aws
        self.folder = folder
        self.tools = folder / "bin"
        self.tools.mkdir()
        for name in ("make", "git"):
            (self.tools / name).symlink_to("/bin/true")
        self._setup = "\n".join((*shell_exports(aws, self.tools), "set -eu", ""))
        self._variables = {
            "PATH": f"{self.tools}:{ROOT / 'node_modules/.bin'}:{os.environ['PATH']}",
            "HOME": str(folder),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "CDK_VALIDATION": "false",
            "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(Path.home() / ".cache/aws/jsii/package-cache"),
        }

    def deploy_from(self, assembly: Path) -> None:
        """Let the CDK command line read this cloud assembly, and give the folder the files that commands name."""
        npx = self.tools / "npx"
        npx.write_text(NPX.format(account=ACCOUNT, assembly=assembly), encoding="utf-8")
        npx.chmod(0o755)
        for name in ("web-server-1.4.2.ova", "list.txt"):
            (self.folder / name).write_text("web-1.4.2.ova\n", encoding="utf-8")
        shutil.copytree(assembly, self.folder / "cdk.out", ignore=LOCKS)

    def deploy_from_checkout(self) -> None:
        """Make the folder one like a new checkout with its tools, in which nobody has to approve a deployment."""
        for name in (".venv", "infra", "lambda", "node_modules"):
            (self.folder / name).symlink_to(ROOT / name)
        shutil.copy(ROOT / "app.py", self.folder)
        settings = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))
        settings["requireApproval"] = "never"
        (self.folder / "cdk.json").write_text(json.dumps(settings), encoding="utf-8")

    def run(self, commands: str) -> str:
        """Run commands, which have to succeed, let the imports that they start end, and return what was printed."""
        done = subprocess.run(
            ["/bin/bash", "-c", self._setup + commands],
            cwd=self.folder,
            env=self._variables,
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        finish_imports(self.aws)
        return done.stdout


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Give a shell with an empty local AWS."""
    with LocalAws() as aws:
        yield Shell(aws, tmp_path)


def first_task(aws: LocalAws) -> str:
    """Return the id of the import that was started first; a word like it where there is none."""
    tasks = aws.client("ec2").describe_import_image_tasks()["ImportImageTasks"]
    return str(tasks[0]["ImportTaskId"]) if tasks else "import-ami-00000000"


def image_ami(image: Mapping[str, Any]) -> str:
    """Return the id of the AMI of an image."""
    return str(image["outputResources"]["amis"][0]["image"])


def placeholders(aws: LocalAws) -> dict[str, str]:
    """Return what the words in capitals of the documents stand for."""
    task = first_task(aws)
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
    image = next(
        (each["arn"] for each in aws.images() if each.get("tags", {}).get("vm-image-import:task-id") == task), ""
    )
    return resources | {
        "IMAGE_ARN": image,
        "FUNCTION": function,
        "QUEUE_ARN": arn.format("sqs", "subscriber"),
        "SUBSCRIBER_ARN": arn.format("lambda", "function:subscriber"),
        "ACCOUNT": ACCOUNT,
        "TASK": task,
        "import-ami-0123456789abcdef0": task,
        "BUCKET": "my-bucket",
    }


@pytest.mark.parametrize("document", [each for each in DOCUMENTS if each != README], ids=lambda path: path.name)
def test_every_command_runs(document: Path, shell: Shell, assembly: Path) -> None:
    """Every command of the documents, other than those marked for a real account, succeeds on the local AWS.

    A document that says how to deploy begins with an empty account, the others with a deployment and an image.
    """
    shell.deploy_from(assembly)
    blocks = BLOCK.findall(document.read_text(encoding="utf-8"))
    if not any("npx --no -- cdk bootstrap" in block for block in blocks):
        shell.aws.deploy(assembly, "VmImageImport")
        shell.aws.import_vm("my-bucket", ["exports/mail-2.0.ova"], UBUNTU, {})
        finish_imports(shell.aws)
    for block in blocks:
        shell.run(filled(block, placeholders(shell.aws) if is_deployed(shell.aws) else {"ACCOUNT": ACCOUNT}))


def test_the_readme_is_one_story(shell: Shell) -> None:
    """The configuration and the commands of the README, in their order, make of an empty account what it shows."""
    shell.deploy_from_checkout()
    readme = README.read_text(encoding="utf-8")
    for language, content in PART.findall(readme):
        if language == "json":
            (shell.folder / "vm-image-import.json").write_text(content, encoding="utf-8")
        else:
            shell.run(filled(content, placeholders(shell.aws) if is_deployed(shell.aws) else {"ACCOUNT": ACCOUNT}))
    (image,) = shell.aws.images()
    assert (image["name"], image["version"], image["state"]["status"]) == ("web-server", "1.4.2/1", "AVAILABLE")
    assert image["tags"]["Team"] == "web"
    (subscription,) = shell.aws.client("sns").list_subscriptions()["Subscriptions"]
    assert subscription["Endpoint"] == "ops@example.com"
    (sent,) = shell.aws.published_messages()
    values = {"import-ami-0123456789abcdef0": first_task(shell.aws), "ami-0abcdef1234567890": image_ami(image)}
    assert f"Subject: {sent.subject}\n\n{sent.texts['email']}\n" in filled(readme, values)
    answer = json.loads((shell.folder / "answer.json").read_text(encoding="utf-8"))
    assert (answer["importTaskId"], answer["imageArn"]) == (first_task(shell.aws), image["arn"])


def test_the_commands_of_the_guide_leave_one_image(shell: Shell, assembly: Path) -> None:
    """An import that is registered by the commands of AWS's guide, in their order, keeps this one image."""
    shell.deploy_from(assembly)
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


def test_the_commands_to_rename_an_image_leave_the_right_one(shell: Shell, assembly: Path) -> None:
    """The recipe for a wrong name leaves one image of the import, with the right name."""
    shell.deploy_from(assembly)
    shell.aws.deploy(assembly, "VmImageImport")
    shell.aws.import_vm("my-bucket", ["exports/wrong-1.0.ova"], UBUNTU, {})
    finish_imports(shell.aws)
    (commands,) = (block for block in BLOCK.findall(OPERATIONS.read_text(encoding="utf-8")) if "delete-image" in block)
    shell.run(filled(commands, placeholders(shell.aws)))
    shell.aws.fire_schedules()
    assert [(image["name"], image["version"]) for image in shell.aws.images()] == [("web-server", "1.4.2/1")]


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
