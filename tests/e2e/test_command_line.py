"""`make local`, and the real CDK and AWS command lines in another terminal."""

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from infra.configuration import CONTEXT_KEY, Configuration
from local.assembly import synthesize
from tests.conftest import ROOT, client
from tests.e2e.conftest import LOCKS

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("interruptible")]

ARN = "arn:aws:imagebuilder:us-east-1:123456789012:image/web-server/1.4.2"
# The resources of a stack: service, operation, and the fields with the names in its answer. KMS keys are left out:
# the account has AWS's own for DynamoDB, and a stack's key is pending deletion.
CHANGED = {
    "versionScheme": "increment",
    "nameTag": "ImageName",
    "versionTag": "ImageVersion",
    "osVersionTag": "ImageOs",
    "tags": {"Team": "web"},
    "onlyTasksTagged": {"Images": "yes"},
    "tagAmis": True,
    "amiTagKeys": ["Team"],
    "parameterPrefix": "/imagebuilder/base",
    "imageLogGroup": "/aws/imagebuilder/imports",
    "logRetentionDays": 30,
    "notificationEmail": "ops@example.com",
    "sweepMinutes": 5,
    "reservedConcurrency": 5,
    "tracing": True,
    "observe": True,
    "architecture": "x86_64",
    "alarms": False,
    "dashboard": False,
}
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
        self._setup = f"PATH={shlex.quote(str(ROOT / 'node_modules/.bin'))}:$PATH\n"
        # As on a machine with a proxy that cannot be reached, and with another account.
        self._variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "AWS_PROFILE": "production",
            "HTTP_PROXY": "http://127.0.0.1:9",
            "HTTPS_PROXY": "http://127.0.0.1:9",
        }
        for line in self.read_until("For example"):
            if line.startswith(("unset", "export")):
                self._setup += line

    def read_until(self, *words: str) -> list[str]:
        """Return the lines that `make local` prints, up to the one with these words."""
        lines = []
        for line in self._local:
            lines.append(line)
            if all(word in line for word in words):
                return lines
        raise AssertionError(lines)

    def run(self, command: str) -> str:
        """Run a command and return its output; it has to succeed."""
        done = self.attempt(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def attempt(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a shell, and return its exit status and output; there is no traceback."""
        done = subprocess.run(
            ["/bin/bash", "-c", self._setup + command],
            cwd=self._folder,
            env=self._variables,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "Traceback" not in done.stdout + done.stderr
        return done


@pytest.fixture
def terminals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminals]:
    """Give a running `make local` with 20 steps a second, and end it with Ctrl-C."""
    command = [sys.executable, "-m", "local", "live", "--pace", "0.05"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as local:
        assert local.stdout is not None
        try:
            both = Terminals(local.stdout, tmp_path)
            for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID"):
                monkeypatch.setenv(name, both.run(f"echo -n ${name}"))
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


@pytest.fixture(scope="session")
def changed_assembly() -> Path:
    """Give the cloud assembly with every option changed, except Regions."""
    return synthesize(CHANGED)


def with_resource(assembly: Path, folder: Path, resource: dict[str, object]) -> Path:
    """Return a copy of a cloud assembly whose stack has one more resource."""
    copy = Path(shutil.copytree(assembly, folder / f"assembly-{len(list(folder.iterdir()))}", ignore=LOCKS))
    path = copy / "VmImageImport.template.json"
    template = json.loads(path.read_text(encoding="utf-8"))
    template["Resources"]["Added"] = resource
    path.write_text(json.dumps(template), encoding="utf-8")
    # The CDK uploads a template under the hash that it had at synthesis.
    assets = (copy / "VmImageImport.assets.json").read_text(encoding="utf-8")
    (key,) = (key for key, file in json.loads(assets)["files"].items() if file["source"]["packaging"] == "file")
    for name in ("VmImageImport.assets.json", "manifest.json"):
        text = (copy / name).read_text(encoding="utf-8")
        (copy / name).write_text(text.replace(key, hashlib.sha256(path.read_bytes()).hexdigest()), encoding="utf-8")
    return copy


def test_deployments_that_change_and_fail(
    terminals: Terminals, assembly: Path, changed_assembly: Path, tmp_path: Path
) -> None:
    """A deployment that fails says why and changes nothing; the next one succeeds, with every option changed."""
    options = "--require-approval never --no-notifications"
    odd = with_resource(assembly, tmp_path, {"Type": "AWS::Odd::Type"})
    wrong = {"FunctionName": "none", "Action": "lambda:InvokeFunction", "Principal": "sns.amazonaws.com"}
    failing = with_resource(assembly, tmp_path, {"Type": "AWS::Lambda::Permission", "Properties": wrong})
    terminals.run("cdk bootstrap aws://123456789012/us-east-1 --no-notifications")

    refused = terminals.attempt(f"cdk deploy --app '{odd}' {options}")
    assert refused.returncode == 1
    assert "Unrecognized resource types: [AWS::Odd::Type]" in refused.stderr
    failed = terminals.attempt(f"cdk deploy --app '{failing}' {options}")
    assert failed.returncode == 1
    assert "function:none" in failed.stderr
    assert client("lambda").list_functions()["Functions"] == []

    terminals.run(f"cdk deploy --app '{assembly}' {options}")
    deployed = resource_names()
    alarms = client("cloudwatch").describe_alarms()["MetricAlarms"]
    terminals.run(f"cdk diff --fail --app '{assembly}'")
    difference = terminals.attempt(f"cdk diff --fail --app '{changed_assembly}'")
    assert difference.returncode == 1
    for change in ("[+] AWS::SNS::Subscription", "[-] AWS::CloudWatch::Dashboard", "rate(", ".VERSION_SCHEME"):
        assert change in difference.stderr
    assert terminals.attempt(f"cdk deploy --app '{failing}' {options}").returncode == 1
    terminals.run(f"cdk diff --fail --app '{assembly}'")
    assert resource_names() == deployed

    terminals.run(f"cdk deploy --app '{changed_assembly}' {options}")
    terminals.run(f"cdk diff --fail --app '{changed_assembly}'")
    (function,) = client("lambda").list_functions()["Functions"]
    assert function["Environment"]["Variables"]["VERSION_SCHEME"] == "increment"
    assert (function["TracingConfig"]["Mode"], function["Architectures"]) == ("Active", ["x86_64"])
    assert client("sns").list_subscriptions()["Subscriptions"][0]["Endpoint"] == CHANGED["notificationEmail"]
    assert client("logs").describe_log_groups()["logGroups"][0]["retentionInDays"] == CHANGED["logRetentionDays"]
    assert client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    terminals.run(f"cdk deploy --app '{assembly}' {options}")
    assert len(client("cloudwatch").describe_alarms()["MetricAlarms"]) == len(alarms)


def test_the_cdk_synthesizes_on_a_bare_machine(assembly: Path, tmp_path: Path) -> None:
    """`cdk synth` needs no Docker, no credentials and nothing in the home folder, and makes what the tests deploy."""
    node = shutil.which("node")
    assert node
    for name in ("bin", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin/node").symlink_to(node)
    context = json.dumps(Configuration().as_context())
    run = subprocess.run(
        [
            *(str(ROOT / "node_modules/.bin/cdk"), "synth", "--quiet", "--output", str(tmp_path / "cdk.out")),
            *("--context", f"{CONTEXT_KEY}={context}"),
        ],
        cwd=ROOT,
        env={
            "PATH": str(tmp_path / "bin"),
            "HOME": str(tmp_path / "home"),
            "TMPDIR": str(tmp_path),
            "CDK_VALIDATION": "false",
            # Where jsii has the CDK unpacked; to unpack it again takes half of the time.
            "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(Path.home() / ".cache/aws/jsii/package-cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    # There, only the Python that runs is found: one of another version than the function's gives a warning.
    assert bool(run.stderr) is (sys.version_info[:2] != (3, 13)), run.stderr
    found, expected = (
        # The command line adds metadata: where in the app a resource is, and which files it has.
        {**template, "Resources": {name: {**each, "Metadata": None} for name, each in template["Resources"].items()}}
        for folder in (tmp_path / "cdk.out", assembly)
        for template in [json.loads((folder / "VmImageImport.template.json").read_text(encoding="utf-8"))]
    )
    assert found == expected


def test_a_port_in_use(terminals: Terminals) -> None:
    """`make local` with a port in use says so in one line, with what to write instead, and exits with 1."""
    port = terminals.run("echo -n ${AWS_ENDPOINT_URL##*:}")
    command = [sys.executable, "-m", "local", "live", "--port", port]
    second = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert (second.returncode, second.stderr) == (1, "")
    (line,) = second.stdout.splitlines()
    assert port in line
    assert "PORT=" in line


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
