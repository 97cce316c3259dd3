"""The synthesized template and the bundled artefact, deployed to the local AWS and run by the real runtime client."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from local.aws import events, functions, vm_import
from local.aws.local_aws import ACCOUNT, LocalAws
from tests.conftest import ROOT
from tests.e2e.conftest import (
    Notifications,
    builds,
    event_run,
    finish_imports,
    finish_imports_without_events,
    golden_event,
    invoke,
    log_entries,
    metrics_of,
    physical_id,
    queue_messages,
    start_import,
)
from vm_image_import.derive import make_client_token
from vm_image_import.domain.models import AwsEnvironment


def test_a_completed_import_becomes_an_image(aws: LocalAws) -> None:
    """The event of an import's AMI leads to an AVAILABLE image with the derived name, version, platform and tags."""
    task = start_import(aws, "exports/web-server-1.4.2.ova", Team="web")
    finish_imports(aws)
    run = event_run(task)
    sent = json.loads(run.result.payload)["request"]["clientToken"]
    assert sent == make_client_token(AwsEnvironment("aws", "us-east-1", ACCOUNT), task)
    (image,) = builds(aws, "web-server")
    assert image["arn"] == f"arn:aws:imagebuilder:us-east-1:{ACCOUNT}:image/web-server/1.4.2/1"
    assert image["state"]["status"] == "AVAILABLE"
    assert (image["platform"], image["osVersion"]) == ("Linux", "Ubuntu 22.04.3 LTS")
    assert image["tags"]["vm-image-import:task-id"] == task
    assert image["tags"]["vm-image-import:source"] == "s3://exports/exports/web-server-1.4.2.ova"
    assert image["tags"]["Team"] == "web"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("s3://exports/exports/plain-url-2.5.ova", "plain-url"),
        ("https://exports.s3.us-east-1.amazonaws.com/exports/by%2Durl-2.5.ova?versionId=1", "by-url"),
    ],
)
def test_a_disk_by_url_becomes_an_image(aws: LocalAws, url: str, name: str) -> None:
    """An import by the URL of a disk has name and version of its key, and the source without parameters in a tag."""
    start_import(aws, f"exports/{name}-2.5.ova")
    task = aws.client("ec2").import_image(DiskContainers=[{"Format": "ova", "Url": url}])["ImportTaskId"]
    finish_imports(aws)
    (image,) = (each for each in builds(aws, name) if each["tags"]["vm-image-import:task-id"] == task)
    assert image["version"].startswith("2.5.0/")
    assert image["state"]["status"] == "AVAILABLE"
    assert image["tags"]["vm-image-import:source"] == url.partition("?")[0]


def test_log_entries_have_the_task_id(aws: LocalAws, assembly: Path) -> None:
    """Every log entry of a run has the task's id, the sources that the saved queries show, and the metrics in EMF."""
    template = (assembly / "VmImageImport.template.json").read_text(encoding="utf-8")
    queried = {*re.findall(r"\bsources\.(\w+)", template)}
    assert len(queried) > 1
    task = start_import(aws, "exports/logged-1.0.ova")
    finish_imports(aws)
    entries = [json.loads(line) for line in event_run(task).result.logs.splitlines()]
    own = [entry for entry in entries if entry.get("service") == "VmImageImport" and "message" in entry]
    assert {entry["importTaskId"] for entry in own} == {task}
    done = [entry for entry in own if entry["message"] == "Done"]
    assert [entry["outcome"] for entry in done] == ["REGISTERED", "IN_PROGRESS"]
    assert done[0]["imageArn"].endswith(":image/logged/1.0.0/1")
    assert done[0]["sources"].keys() >= queried
    (emf,) = (entry for entry in entries if "_aws" in entry)
    assert emf["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "VmImageImport"
    assert emf["ImagesRegistered"] == [1.0]
    assert emf["EventAge"][0] >= 0


def test_metrics_of_outcomes(aws: LocalAws) -> None:
    """Registered, failed and rejected imports have a metric each; other outcomes and dry runs have none."""
    unsupported = {"status-message": "ClientError: Unsupported kernel version 4.15.0-1021-aws"}
    failed = start_import(aws, "exports/counted-1.0.ova", unsupported)
    rejected = start_import(aws, "exports/counted-2.0.ova", Version="latest")
    finish_imports(aws)
    registered = {"importTaskId": rejected, "semanticVersion": "2.0"}
    for payload, metrics in (
        ({"importTaskId": failed}, {"ImportsFailed"}),
        ({"importTaskId": rejected}, {"ImportsRejected"}),
        ({"importTaskId": rejected, "dryRun": True}, set()),
        ({**registered, "dryRun": True}, set()),
        (registered, {"ImagesRegistered"}),
        ({"importTaskId": "import-ami-00000000000000000"}, set()),
    ):
        invoke(aws, payload)
        assert metrics_of(functions.invocations()[-1].result.logs) == metrics, payload
    other = aws.client("ec2").register_image(Name="uncounted", Architecture="x86_64")["ImageId"]
    aws.advance()
    assert metrics_of(event_run(other).result.logs) == set()


def test_the_log_of_a_failed_run_has_the_task_id(aws: LocalAws) -> None:
    """The error of each attempt is logged with the task's id, and the log of the next run does not have it."""
    task = start_import(aws, "exports/failing-1.0.ova")
    finish_imports(aws)
    (ami,) = (ami for ami in vm_import.backends[ACCOUNT]["us-east-1"].ec2.amis.values() if ami.name == task)
    ami.state = "pending"
    assert events.deliver(golden_event("ami-available", detail={"State": "available", "ImageId": ami.id})) == 1
    functions.run_queued()
    attempts = [run for run in functions.invocations() if run.result.error and ami.id.encode() in run.payload]
    assert [run.attempt for run in attempts] == [1, 2, 3]
    for run in attempts:
        own = [json.loads(line) for line in run.result.logs.splitlines() if '"service"' in line]
        assert {entry["importTaskId"] for entry in own} == {task}
        assert own[-1]["exception_name"] == "TransientError"
    ami.state = "available"
    other = aws.client("ec2").register_image(Name="after-failing", Architecture="x86_64")["ImageId"]
    aws.advance()
    assert task not in event_run(other).result.logs


@pytest.mark.parametrize("detail", [{"State": "available"}, {"State": "available", "ImageId": "ami-0abcdef1234567890"}])
def test_the_event_is_not_logged(aws: LocalAws, detail: dict[str, str]) -> None:
    """The log of a run does not have the content of its event, whether the run succeeds or fails."""
    marker = "text in the event"
    events.deliver(golden_event("ami-available", id="quiet", detail=detail, time="2020-01-01T00:00:00Z", x=marker))
    functions.run_queued()
    runs = [run for run in functions.invocations() if marker.encode() in run.payload]
    assert any(json.loads(run.payload)["detail"] == detail for run in runs)
    for run in runs:
        assert marker not in run.result.logs
        assert '"quiet"' not in run.result.logs
        assert "botocore" not in run.result.logs
    name = physical_id(aws, "AWS::Lambda::Function")
    configuration = aws.client("lambda").get_function_configuration(FunctionName=name)
    assert configuration["LoggingConfig"]["ApplicationLogLevel"] == "INFO"


def test_alarms_match_the_emitted_metrics(aws: LocalAws) -> None:
    """Every alarm on the app's metrics has the namespace, name and dimensions that the function emits."""
    start_import(aws, "exports/watched-1.0.ova")
    finish_imports(aws)
    aws.fire_schedules()
    entries = [
        json.loads(line)
        for run in functions.invocations()
        for line in run.result.logs.splitlines()
        if line.startswith('{"_aws"')
    ]
    emitted = {
        (directive["Namespace"], tuple((name, entry[name]) for name in names))
        for entry in entries
        for directive in entry["_aws"]["CloudWatchMetrics"]
        for names in directive["Dimensions"]
    }
    alarms = aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    own = [each for each in alarms if not each["Namespace"].startswith("AWS/")]
    assert {each["MetricName"] for each in own} == {"SweepsCompleted", "SweepProblems"}
    for each in own:
        dimensions = tuple((found["Name"], found["Value"]) for found in each["Dimensions"])
        assert {(each["Namespace"], dimensions)} == emitted
    assert "SweepsCompleted" in {
        metric["Name"] for entry in entries for each in entry["_aws"]["CloudWatchMetrics"] for metric in each["Metrics"]
    }


def test_an_ami_that_is_not_an_import_is_ignored(aws: LocalAws) -> None:
    """The event of an AMI that is not an import has the outcome IGNORED, with the AMI in the reason."""
    ami = aws.client("ec2").register_image(Name="golden-base", Architecture="x86_64")["ImageId"]
    aws.advance()
    run = event_run(ami)
    answer = json.loads(run.result.payload)
    assert answer["outcome"] == "IGNORED"
    assert ami in answer["reason"]


def test_a_manual_dry_run_returns_the_request_and_changes_nothing(aws: LocalAws) -> None:
    """A dry run makes no image, and the same payload without `dryRun` makes the request that it returned."""
    task = start_import(aws, "exports/disk0.vhdx", {"platform": "Windows"}, Version="nonsense")
    finish_imports(aws)
    payload = {"importTaskId": task, "name": "Windows Base", "semanticVersion": "2019.11", "tags": {"Team": "desk"}}
    dry_run = invoke(aws, {**payload, "dryRun": True})
    assert dry_run["outcome"] == "DRY_RUN"
    assert dry_run["request"]["platform"] == "Windows"
    assert not builds(aws, "Windows Base")
    answer = invoke(aws, payload)
    assert answer["outcome"] == "REGISTERED"
    assert answer["request"] == dry_run["request"]
    (image,) = builds(aws, "Windows Base")
    assert image["arn"] == answer["imageArn"]
    assert answer["imageArn"].endswith(":image/windows-base/2019.11.0/1")
    assert image["tags"]["Team"] == "desk"


@pytest.mark.parametrize(
    ("name", "outcome", "build"),
    [("dry-run", "ALREADY_REGISTERED", 1), ("overrule", "REJECTED", 1), ("force", "REGISTERED", 2)],
)
def test_payloads_of_the_readme(aws: LocalAws, name: str, outcome: str, build: int) -> None:
    """Of the reference's payloads for a registered import, only `force` makes another build."""
    task = start_import(aws, f"exports/pasted-{name}.ova")
    finish_imports(aws)
    payload = json.loads((ROOT / "tests/payloads" / f"{name}.json").read_text(encoding="utf-8"))
    assert invoke(aws, {**payload, "importTaskId": task})["outcome"] == outcome
    assert len(builds(aws, f"pasted-{name}")) == build


def test_an_invalid_version_tag_is_rejected(aws: LocalAws) -> None:
    """An import with an invalid Version tag is not registered, and the log has the reason and a valid example."""
    task = start_import(aws, "exports/wrong-1.0.ova", Version="latest")
    finish_imports(aws)
    assert not builds(aws, "wrong")
    rejected = next(entry for entry in log_entries(task) if entry.get("message") == "Done")
    assert (rejected["outcome"], rejected["level"]) == ("REJECTED", "WARNING")
    assert "'latest' is no version: write it like 1.4.2" in rejected["reason"]


def test_a_failed_import_is_reported_with_its_status_message(aws: LocalAws) -> None:
    """A manual invocation for a failed import answers with EC2's status message."""
    message = "ClientError: Unsupported kernel version 4.15.0-1021-aws"
    task = start_import(aws, "exports/legacy-1.0.ova", {"status-message": message})
    finish_imports(aws)
    answer = invoke(aws, {"importTaskId": task})
    assert answer == {"outcome": "IMPORT_FAILED", "importTaskId": task, "reason": message}


def test_a_cancelled_import_is_not_a_failure(aws: LocalAws) -> None:
    """A cancelled import has the outcome IMPORT_CANCELLED, although its task is `deleted` like a failed one."""
    task = start_import(aws, "exports/cancelled-1.0.ova")
    aws.advance()
    aws.client("ec2").cancel_import_task(ImportTaskId=task)
    finish_imports(aws)
    assert invoke(aws, {"importTaskId": task})["outcome"] == "IMPORT_CANCELLED"


def test_an_import_in_progress_is_reported(aws: LocalAws) -> None:
    """A manual invocation during the import answers IN_PROGRESS, and the event registers the import later."""
    task = start_import(aws, "exports/early-1.0.ova")
    aws.advance()
    assert invoke(aws, {"importTaskId": task})["outcome"] == "IN_PROGRESS"
    finish_imports(aws)
    assert len(builds(aws, "early")) == 1


def test_an_unknown_task_is_not_found(aws: LocalAws) -> None:
    """A task id that EC2 does not list has the outcome NOT_FOUND."""
    answer = invoke(aws, {"importTaskId": "import-ami-00000000000000000"})
    assert answer["outcome"] == "NOT_FOUND"


def test_a_notification_says_what_the_ami_lacks(aws: LocalAws, notifications: Notifications) -> None:
    """IMAGE_AVAILABLE names what the AMI of an import lacks, and nothing for one that lacks nothing."""
    lacking = start_import(aws, "exports/old-1.0.ova", {"ena": "false", "delete-on-termination": "false"})
    complete = start_import(aws, "exports/new-1.0.ova")
    finish_imports(aws)
    texts = {task: notifications.about(task)[-1][2] for task in (lacking, complete)}
    assert "--ena-support" in texts[lacking]
    assert "DeviceName=/dev/sda1,Ebs={DeleteOnTermination=true}" in texts[lacking]
    assert "--ena-support" not in texts[complete]
    assert "DeleteOnTermination" not in texts[complete]


def test_a_malformed_payload_names_every_problem(aws: LocalAws) -> None:
    """An invalid payload is one error that names every problem in it."""
    error = invoke(aws, {"key1": "value1", "dryRun": "yes"})
    assert error["errorType"] == "InvalidTriggerError"
    for key in ("importTaskId is missing", '"key1" is unknown', "dryRun must be boolean"):
        assert key in error["errorMessage"]


def test_a_failed_event_goes_to_the_function_dlq(aws: LocalAws) -> None:
    """After three failed attempts, the event and the error are in the function's DLQ."""
    events.deliver(golden_event("ami-available", id="useless", detail={"State": "available"}))
    functions.run_queued()
    (record,) = (each for each in queue_messages(aws, "FunctionDlq") if each["requestPayload"]["id"] == "useless")
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["requestPayload"]["detail-type"] == "EC2 AMI State Change"
    assert record["responsePayload"]["errorType"] == "InvalidTriggerError"


def test_an_event_that_cannot_be_delivered_goes_to_the_event_dlq(aws: LocalAws) -> None:
    """An event whose rule may not invoke the function is in the DLQ of events."""
    aws_lambda, name = aws.client("lambda"), physical_id(aws, "AWS::Lambda::Function")
    statements = json.loads(aws_lambda.get_policy(FunctionName=name)["Policy"])["Statement"]
    (statement,) = (each for each in statements if "AmiAvailable" in json.dumps(each))
    aws_lambda.remove_permission(FunctionName=name, StatementId=statement["Sid"])
    event = golden_event("ami-available")
    assert events.deliver(event) == 0
    assert queue_messages(aws, "EventDlq") == [event]
    aws_lambda.add_permission(
        FunctionName=name,
        StatementId=statement["Sid"],
        Action=statement["Action"],
        Principal=statement["Principal"]["Service"],
        SourceArn=statement["Condition"]["ArnLike"]["AWS:SourceArn"],
    )


@pytest.mark.acceptance
def test_the_aws_command_line_invokes_the_function(
    aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The AWS command line, version 1, invokes the function with the README's command."""
    task = start_import(aws, "exports/command-line-1.0.ova")
    finish_imports_without_events(aws)
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", aws.access_key)
    name = physical_id(aws, "AWS::Lambda::Function")
    payload = json.dumps({"importTaskId": task, "dryRun": True})
    command = ["-m", "awscli", "lambda", "invoke", "--function-name", name, "--payload", payload, "answer.json"]
    subprocess.run([sys.executable, *command], cwd=tmp_path, check=True, capture_output=True)
    answer = json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))
    assert (answer["outcome"], answer["request"]["name"]) == ("DRY_RUN", "command-line")
