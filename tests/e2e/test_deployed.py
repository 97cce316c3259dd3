"""The synthesised template and the bundled artefact, deployed to the local AWS and run by the real runtime client."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from local.aws import events, functions, vm_import
from local.aws.local_aws import ACCOUNT, LocalAws
from tests.conftest import ROOT
from tests.e2e.conftest import (
    builds,
    event_run,
    golden,
    invoke,
    let_time_pass,
    logs_of,
    lose_events,
    messages,
    metrics_of,
    resource,
    start_import,
)
from vm_image_import.derive import make_client_token
from vm_image_import.models import AwsEnvironment


def test_a_completed_import_becomes_an_image(cloud: LocalAws) -> None:
    """The event reaches the function by its rule, and the image has name, version, platform, release and tags."""
    task = start_import(cloud, "exports/web-server-1.4.2.ova", Team="web")
    let_time_pass(cloud)
    run = event_run(task)
    sent = json.loads(run.result.payload)["request"]["clientToken"]
    assert sent == make_client_token(AwsEnvironment("aws", "us-east-1", ACCOUNT), task)
    (image,) = builds(cloud, "web-server")
    assert image["arn"] == f"arn:aws:imagebuilder:us-east-1:{ACCOUNT}:image/web-server/1.4.2/1"
    assert image["state"]["status"] == "AVAILABLE"
    assert (image["platform"], image["osVersion"]) == ("Linux", "Ubuntu 22.04.3 LTS")
    assert image["tags"]["vm-image-import:task-id"] == task
    assert image["tags"]["vm-image-import:source"] == "s3://exports/exports/web-server-1.4.2.ova"
    assert image["tags"]["Team"] == "web"


def test_the_log_tells_the_story_of_a_task(cloud: LocalAws) -> None:
    """Every line about a task carries its id; the last one has the outcome, and the metrics are EMF."""
    task = start_import(cloud, "exports/logged-1.0.ova")
    let_time_pass(cloud)
    entries = [json.loads(line) for line in event_run(task).result.logs.splitlines()]
    told = [entry for entry in entries if entry.get("service") == "vm-image-import" and "message" in entry]
    assert {entry["importTaskId"] for entry in told} == {task}
    assert told[-1]["outcome"] == "REGISTERED"
    assert told[-1]["imageArn"].endswith(":image/logged/1.0.0/1")
    (emf,) = (entry for entry in entries if "_aws" in entry)
    assert emf["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "VmImageImport"
    assert emf["ImagesRegistered"] == [1.0]
    assert emf["EventAge"][0] >= 0


def test_metrics_count_what_happened(cloud: LocalAws) -> None:
    """Each outcome that is worth an alarm has its metric; a dry run and an AMI that is no import have none."""
    unsupported = {"status-message": "ClientError: Unsupported kernel version 4.15.0-1021-aws"}
    failed = start_import(cloud, "exports/counted-1.0.ova", unsupported)
    rejected = start_import(cloud, "exports/counted-2.0.ova", Version="latest")
    let_time_pass(cloud)
    registered = {"importTaskId": rejected, "semanticVersion": "2.0"}
    for payload, metrics in (
        ({"importTaskId": failed}, {"ImportsFailed"}),
        ({"importTaskId": rejected}, {"ImportsRejected"}),
        ({"importTaskId": rejected, "dryRun": True}, set()),
        ({**registered, "dryRun": True}, set()),
        (registered, {"ImagesRegistered"}),
        ({"importTaskId": "import-ami-00000000000000000"}, set()),
    ):
        invoke(cloud, payload)
        assert metrics_of(functions.invocations()[-1].result.logs) == metrics, payload
    other = cloud.client("ec2").register_image(Name="uncounted", Architecture="x86_64")["ImageId"]
    cloud.step()
    assert metrics_of(event_run(other).result.logs) == set()


def test_a_failed_run_names_its_task(cloud: LocalAws) -> None:
    """Whoever looks for a task in the log finds what went wrong with it; the next run's lines are not about it."""
    task = start_import(cloud, "exports/failing-1.0.ova")
    let_time_pass(cloud)
    (ami,) = (ami for ami in vm_import.backends[ACCOUNT]["us-east-1"].ec2.amis.values() if ami.name == task)
    ami.state = "pending"
    assert events.deliver(golden("ami-available", detail={"State": "available", "ImageId": ami.id})) == 1
    functions.run_queued()
    tries = [run for run in functions.invocations() if run.result.error and ami.id.encode() in run.payload]
    assert [run.attempt for run in tries] == [1, 2, 3]
    for run in tries:
        own = [json.loads(line) for line in run.result.logs.splitlines() if '"service"' in line]
        assert {entry["importTaskId"] for entry in own} == {task}
        assert own[-1]["exception_name"] == "TransientError"
    ami.state = "available"
    other = cloud.client("ec2").register_image(Name="after-failing", Architecture="x86_64")["ImageId"]
    cloud.step()
    assert task not in event_run(other).result.logs


@pytest.mark.parametrize("detail", [{"State": "available"}, {"State": "available", "ImageId": "ami-0abcdef1234567890"}])
def test_the_log_does_not_hold_the_event(cloud: LocalAws, detail: dict[str, str]) -> None:
    """Events are input from elsewhere: they are not copied into the log, whether the run is good or bad."""
    told_nobody = "a secret of somebody"
    events.deliver(golden("ami-available", id="quiet", detail=detail, time="2020-01-01T00:00:00Z", x=told_nobody))
    functions.run_queued()
    runs = [run for run in functions.invocations() if told_nobody.encode() in run.payload]
    assert any(json.loads(run.payload)["detail"] == detail for run in runs)
    for run in runs:
        assert told_nobody not in run.result.logs
        assert '"quiet"' not in run.result.logs
        assert "botocore" not in run.result.logs
    name = resource(cloud, "AWS::Lambda::Function")
    configuration = cloud.client("lambda").get_function_configuration(FunctionName=name)
    assert configuration["LoggingConfig"]["ApplicationLogLevel"] == "INFO"


def test_the_alarms_watch_what_the_function_emits(cloud: LocalAws) -> None:
    """A metric of another namespace, name or dimension would never wake anybody."""
    start_import(cloud, "exports/watched-1.0.ova")
    let_time_pass(cloud)
    cloud.sweep()
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
    alarms = cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]
    own = [each for each in alarms if not each["Namespace"].startswith("AWS/")]
    assert {each["MetricName"] for each in own} == {
        *("SweepsCompleted", "SweepProblems", "ImagesFailed", "ImagesNotFound"),
    }
    for each in own:
        dimensions = tuple((found["Name"], found["Value"]) for found in each["Dimensions"])
        assert {(each["Namespace"], dimensions)} == emitted
    assert "SweepsCompleted" in {
        metric["Name"] for entry in entries for each in entry["_aws"]["CloudWatchMetrics"] for metric in each["Metrics"]
    }


def test_an_event_that_comes_twice_changes_nothing(cloud: LocalAws) -> None:
    """EventBridge delivers at least once: the second run gets the same image."""
    task = start_import(cloud, "exports/twice-1.0.ova")
    let_time_pass(cloud)
    run = event_run(task)
    assert events.deliver(json.loads(run.payload)) == 1
    functions.run_queued()
    again = functions.invocations()[-1]
    assert json.loads(again.result.payload)["imageArn"] == json.loads(run.result.payload)["imageArn"]
    assert len(builds(cloud, "twice")) == 1


def test_a_second_import_of_the_same_version_is_another_build(cloud: LocalAws) -> None:
    """Image Builder counts them; neither takes the place of the other."""
    for _ in range(2):
        start_import(cloud, "exports/rebuilt-1.0.ova")
        let_time_pass(cloud)
    assert [image["version"] for image in builds(cloud, "rebuilt")] == ["1.0.0/1", "1.0.0/2"]


def test_an_ami_that_is_no_import_is_ignored(cloud: LocalAws) -> None:
    """The rule cannot tell them apart, so the function does."""
    ami = cloud.client("ec2").register_image(Name="golden-base", Architecture="x86_64")["ImageId"]
    cloud.step()
    run = event_run(ami)
    answer = json.loads(run.result.payload)
    assert answer["outcome"] == "IGNORED"
    assert ami in answer["reason"]


def test_a_copy_of_an_imported_ami_is_ignored(cloud: LocalAws) -> None:
    """A copy has the import's name and sends the same event."""
    task = start_import(cloud, "exports/copied-1.0.ova")
    let_time_pass(cloud)
    ec2 = cloud.client("ec2")
    (ami,) = ec2.describe_images(Filters=[{"Name": "name", "Values": [task]}])["Images"]
    copy = ec2.copy_image(SourceImageId=ami["ImageId"], SourceRegion="us-east-1", Name=task)["ImageId"]
    cloud.step()
    run = event_run(copy)
    assert json.loads(run.result.payload)["outcome"] == "IGNORED"
    assert len(builds(cloud, "copied")) == 1


def test_a_dry_run_by_hand_shows_the_request_and_changes_nothing(cloud: LocalAws) -> None:
    """A person sees the request beforehand, changes what does not fit, and gets what was shown."""
    task = start_import(cloud, "exports/disk0.vhdx", {"platform": "Windows"}, Version="nonsense")
    let_time_pass(cloud)
    payload = {"importTaskId": task, "name": "Windows Base", "semanticVersion": "2019.11", "tags": {"Team": "desk"}}
    shown = invoke(cloud, {**payload, "dryRun": True})
    assert shown["outcome"] == "DRY_RUN"
    assert shown["request"]["platform"] == "Windows"
    assert not builds(cloud, "Windows Base")
    answer = invoke(cloud, payload)
    assert answer["outcome"] == "REGISTERED"
    assert answer["request"] == shown["request"]
    (image,) = builds(cloud, "Windows Base")
    assert image["arn"] == answer["imageArn"]
    assert answer["imageArn"].endswith(":image/windows-base/2019.11.0/1")
    assert image["tags"]["Team"] == "desk"


@pytest.mark.parametrize(
    ("name", "outcome", "build"),
    [("dry-run", "ALREADY_REGISTERED", 1), ("overrule", "ALREADY_REGISTERED", 1), ("force", "REGISTERED", 2)],
)
def test_the_readmes_payloads_do_what_it_says(cloud: LocalAws, name: str, outcome: str, build: int) -> None:
    """After the event has registered the import, only `force` makes another build."""
    task = start_import(cloud, f"exports/pasted-{name}.ova")
    let_time_pass(cloud)
    payload = json.loads((ROOT / "tests/payloads" / f"{name}.json").read_text(encoding="utf-8"))
    assert invoke(cloud, {**payload, "importTaskId": task})["outcome"] == outcome
    assert len(builds(cloud, f"pasted-{name}")) == build


def test_a_version_tag_that_is_no_version_is_rejected(cloud: LocalAws) -> None:
    """The import completes, nothing is registered, and the log says what to write instead."""
    task = start_import(cloud, "exports/wrong-1.0.ova", Version="latest")
    let_time_pass(cloud)
    assert not builds(cloud, "wrong")
    rejected = next(entry for entry in logs_of(task) if entry.get("message") == "Done")
    assert (rejected["outcome"], rejected["level"]) == ("REJECTED", "WARNING")
    assert "'latest' is no version: write it like 1.4.2" in rejected["reason"]


def test_a_failed_import_is_told_in_ec2s_words(cloud: LocalAws) -> None:
    """A person who asks learns at once why there is no image."""
    message = "ClientError: Unsupported kernel version 4.15.0-1021-aws"
    task = start_import(cloud, "exports/legacy-1.0.ova", {"status-message": message})
    let_time_pass(cloud)
    answer = invoke(cloud, {"importTaskId": task})
    assert answer == {"outcome": "IMPORT_FAILED", "importTaskId": task, "reason": message}


def test_a_cancelled_import_is_no_failure(cloud: LocalAws) -> None:
    """Both end as `deleted`; what a person did on purpose is not reported as an error."""
    task = start_import(cloud, "exports/cancelled-1.0.ova")
    cloud.step()
    cloud.client("ec2").cancel_import_task(ImportTaskId=task)
    let_time_pass(cloud)
    assert invoke(cloud, {"importTaskId": task})["outcome"] == "IMPORT_CANCELLED"


def test_an_import_on_its_way_is_told(cloud: LocalAws) -> None:
    """Asked too early, the function says how far the import is; the event registers it later."""
    task = start_import(cloud, "exports/early-1.0.ova")
    cloud.step()
    assert invoke(cloud, {"importTaskId": task})["outcome"] == "IN_PROGRESS"
    let_time_pass(cloud)
    assert len(builds(cloud, "early")) == 1


def test_an_unknown_task_is_told(cloud: LocalAws) -> None:
    """A wrong id, or a wrong Region, is an answer that says so."""
    answer = invoke(cloud, {"importTaskId": "import-ami-00000000000000000"})
    assert answer["outcome"] == "NOT_FOUND"


def test_a_malformed_payload_names_every_problem(cloud: LocalAws) -> None:
    """The console shows one error with all there is to mend."""
    error = invoke(cloud, {"key1": "value1", "dryRun": "yes"})
    assert error["errorType"] == "InvalidTriggerError"
    for key in ("importTaskId is missing", '"key1" is unknown', "dryRun must be boolean"):
        assert key in error["errorMessage"]


def test_what_the_function_cannot_do_ends_in_the_queue_of_failures(cloud: LocalAws) -> None:
    """After three tries the event and the error are kept for a person."""
    events.deliver(golden("ami-available", id="useless", detail={"State": "available"}))
    functions.run_queued()
    (record,) = (each for each in messages(cloud, "FunctionDlq") if each["requestPayload"]["id"] == "useless")
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["requestPayload"]["detail-type"] == "EC2 AMI State Change"
    assert record["responsePayload"]["errorType"] == "InvalidTriggerError"


def test_an_event_that_cannot_be_delivered_ends_in_the_queue_of_events(cloud: LocalAws) -> None:
    """Somebody removed the rule's permission: the events wait in a queue instead of being lost."""
    aws_lambda, name = cloud.client("lambda"), resource(cloud, "AWS::Lambda::Function")
    statements = json.loads(aws_lambda.get_policy(FunctionName=name)["Policy"])["Statement"]
    (statement,) = (each for each in statements if "AmiAvailable" in json.dumps(each))
    aws_lambda.remove_permission(FunctionName=name, StatementId=statement["Sid"])
    event = golden("ami-available")
    assert events.deliver(event) == 0
    assert messages(cloud, "EventDlq") == [event]
    aws_lambda.add_permission(
        FunctionName=name,
        StatementId=statement["Sid"],
        Action=statement["Action"],
        Principal=statement["Principal"]["Service"],
        SourceArn=statement["Condition"]["ArnLike"]["AWS:SourceArn"],
    )


def test_the_aws_command_line_invokes_by_hand(cloud: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1 of the command line, which needs no --cli-binary-format; the README says so."""
    task = start_import(cloud, "exports/by-hand-1.0.ova")
    lose_events(cloud)
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.endpoint_url)
    name = resource(cloud, "AWS::Lambda::Function")
    payload = json.dumps({"importTaskId": task, "dryRun": True})
    command = ["-m", "awscli", "lambda", "invoke", "--function-name", name, "--payload", payload, "answer.json"]
    subprocess.run([sys.executable, *command], cwd=tmp_path, check=True, capture_output=True)
    answer = json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))
    assert (answer["outcome"], answer["request"]["name"]) == ("DRY_RUN", "by-hand")
