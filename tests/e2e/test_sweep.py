"""The sweep, and the notifications, with the deployed template and the bundled artefact."""

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.aws import events, functions, image_builder, vm_import
from local.aws.local_aws import ACCOUNT, LocalAws
from tests.conftest import REGION
from tests.e2e.conftest import (
    STEPS,
    Notifications,
    answer_of,
    builds,
    finish_imports,
    finish_imports_without_events,
    golden_event,
    invoke,
    metrics_of,
    physical_id,
    start_import,
)
from vm_image_import.domain.remedies import find_remedy


def test_a_lost_event_is_registered_by_the_next_sweep(aws: LocalAws, notifications: Notifications) -> None:
    """An import whose events are lost is registered and completed by sweeps, with one notification for each fact."""
    task = start_import(aws, "exports/lost-1.0.ova")
    finish_imports_without_events(aws)
    assert not builds(aws, "lost")
    aws.fire_schedules()
    finish_imports_without_events(aws)
    for _ in range(3):
        aws.fire_schedules()
    (image,) = builds(aws, "lost")
    assert image["state"]["status"] == "AVAILABLE"
    assert [outcome for outcome, *_ in notifications.about(task)] == ["IMAGE_AVAILABLE"]
    _, subject, message = notifications.about(task)[-1]
    assert subject == "Image available: lost/1.0.0/1"
    assert f"parentImage: arn:aws:imagebuilder:us-east-1:{ACCOUNT}:image/lost/1.0.0/1" in message


def test_events_leave_nothing_for_the_sweep(aws: LocalAws, notifications: Notifications) -> None:
    """With every event delivered twice, each fact has one notification, and the next sweep has no result."""
    task = start_import(aws, "exports/soon-1.0.ova")
    for _ in range(STEPS):
        for service in (vm_import, image_builder):
            for event in service.advance(ACCOUNT, aws.region) * 2:
                events.deliver(event)
            functions.run_queued()
    before = notifications.about(task)
    aws.fire_schedules()
    assert [outcome for outcome, *_ in before] == ["IMAGE_AVAILABLE"]
    assert notifications.about(task) == before
    answer = answer_of(functions.invocations()[-1])
    assert answer["outcome"] == "SWEPT"
    assert task not in json.dumps(answer)


def test_a_failed_import_is_reported_once_with_a_remedy(aws: LocalAws, notifications: Notifications) -> None:
    """The first sweep after a failed import sends one notification with its status message and the remedy."""
    message = "ClientError: Unsupported kernel version 4.15.0-1021-aws"
    task = start_import(aws, "exports/legacy-9.0.ova", {"status-message": message})
    finish_imports(aws)
    for _ in range(2):
        aws.fire_schedules()
    ((outcome, subject, text),) = notifications.about(task)
    assert (outcome, subject) == ("IMPORT_FAILED", f"Import failed: legacy-9.0.ova ({task})")
    assert message in text
    assert "https://docs.aws.amazon.com/vm-import/" in text
    assert metrics_of(functions.invocations()[-2].result.logs) >= {"ImportsFailed", "SweepsCompleted"}


def test_concurrent_sweeps_report_a_failed_import_once(aws: LocalAws, notifications: Notifications) -> None:
    """Three sweeps at once send one notification; for an unknown message it has the URL of AWS's troubleshooting."""
    task = start_import(aws, "exports/new-9.0.ova", {"status-message": "ClientError: Something new"})
    finish_imports(aws)
    function = physical_id(aws, "AWS::Lambda::Function")
    clients = [aws.client("lambda") for _ in range(3)]
    with ThreadPoolExecutor(len(clients)) as pool:
        sweep = b'{"action": "sweep"}'
        answers = list(pool.map(lambda each: each.invoke(FunctionName=function, Payload=sweep), clients))
    assert not any("FunctionError" in answer for answer in answers)
    ((outcome, _, text),) = notifications.about(task)
    assert outcome == "IMPORT_FAILED"
    assert "ClientError: Something new" in text
    assert "/vmimport-troubleshooting.html" in text


@pytest.mark.parametrize("platform", ["Linux", "Windows"])
def test_a_failed_import_arrives_as_json(aws: LocalAws, platform: str) -> None:
    """A queue that subscribes to the topic gets the JSON document of a failed import with the platform's remedy."""
    sqs, topic = aws.client("sqs"), physical_id(aws, "AWS::SNS::Topic")
    url = sqs.create_queue(QueueName=f"subscriber-{platform}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    subscription = aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    message = "FirstBootFailure: This import request failed because the instance failed to boot."
    metadata = {"platform": platform, "status-message": message}
    task = start_import(aws, f"exports/boot-{platform}.ova", metadata, Name="Shop")
    finish_imports(aws)
    aws.fire_schedules()
    documents = [json.loads(each["Message"]) for each in aws.receive_messages(url)]
    (document,) = (each for each in documents if each["importTaskId"] == task)
    assert (document["outcome"], document["vmName"], document["reason"]) == ("IMPORT_FAILED", "Shop", message)
    assert document["remedy"] == find_remedy(message, platform).text
    aws.client("sns").unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])


def test_a_cancelled_import_is_not_reported(aws: LocalAws, notifications: Notifications) -> None:
    """A cancelled import has no notification."""
    task = start_import(aws, "exports/cancelled-9.0.ova")
    aws.advance()
    aws.client("ec2").cancel_import_task(ImportTaskId=task)
    finish_imports(aws)
    aws.fire_schedules()
    assert not notifications.about(task)


def test_a_corrected_tag_is_registered_by_the_next_sweep(aws: LocalAws, notifications: Notifications) -> None:
    """A rejected import is registered by the first sweep after its Version tag is corrected."""
    task = start_import(aws, "exports/corrected-1.0.ova", Version="latest")
    finish_imports(aws)
    aws.fire_schedules()
    assert [outcome for outcome, *_ in notifications.about(task)] == ["REJECTED"]
    aws.client("ec2").create_tags(Resources=[task], Tags=[{"Key": "Version", "Value": "3.0"}])
    aws.fire_schedules()
    (image,) = builds(aws, "corrected")
    assert image["version"] == "3.0.0/1"


@pytest.mark.parametrize("by", ["event", "sweep"])
@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
def test_a_failed_image_is_reported_once(aws: LocalAws, notifications: Notifications, status: str, by: str) -> None:
    """A failed or cancelled image has one notification with the reason and one metric, by its event or by the sweep."""
    name = f"{status}-{by}".lower()
    task = start_import(aws, f"exports/{name}-1.0.ova")
    finish_imports_without_events(aws)
    aws.fire_schedules()
    (image,) = (each for each in image_builder.backends[ACCOUNT][REGION].builds() if f"/{name}/" in each.arn)
    image.state = {"status": status} | ({"reason": "No space."} if status == "FAILED" else {})
    if by == "event":
        detail = {"state": image.state}
        events.deliver(golden_event("image-available", id=name, resources=[image.arn], detail=detail))
        functions.run_queued()
    for _ in range(2):
        aws.fire_schedules()
    ((outcome, subject, text),) = notifications.about(task)
    assert (outcome, subject) == ("IMAGE_FAILED", f"Image failed: {name}/1.0.0/1")
    assert ("No space." if status == "FAILED" else "was cancelled") in text
    runs = [run.result.logs for run in functions.invocations() if image.arn in run.result.logs]
    assert [run for run in runs if "ImagesFailed" in metrics_of(run)] == runs[-1:]


def test_records_are_kept_for_60_days(aws: LocalAws) -> None:
    """All records of a registration expire after 60 days, long after EC2 lists the task."""
    finish_imports(aws)
    start_import(aws, "exports/kept-1.0.ova")
    finish_imports(aws)
    records = aws.client("dynamodb").scan(TableName=physical_id(aws, "AWS::DynamoDB::Table"))["Items"]
    days = {(int(record["expiration"]["N"]) - time.time()) / (24 * 60 * 60) for record in records}
    assert min(days) > 59
    assert max(days) < 61


def test_a_forced_image_is_tracked_like_the_first(aws: LocalAws, notifications: Notifications) -> None:
    """A sweep reports the end of a forced image whose event is lost, once."""
    task = start_import(aws, "exports/again-1.0.ova")
    finish_imports(aws)
    assert invoke(aws, {"importTaskId": task, "force": True})["outcome"] == "REGISTERED"
    finish_imports_without_events(aws)
    for _ in range(2):
        aws.fire_schedules()
    assert [subject for _, subject, _ in notifications.about(task)] == [
        "Image available: again/1.0.0/1",
        "Image available: again/1.0.0/2",
    ]


def test_an_image_of_another_source_is_not_tracked(aws: LocalAws, notifications: Notifications) -> None:
    """The event of an image that the function has not registered has the outcome IGNORED and no notification."""
    task = start_import(aws, "exports/other-1.0.ova", Version="latest")
    finish_imports_without_events(aws)
    aws.client("imagebuilder").import_vm_image(
        name="other", semanticVersion="1.0.0", platform="Linux", vmImportTaskId=task, clientToken="other"
    )
    finish_imports(aws)
    assert answer_of(functions.invocations()[-1])["outcome"] == "IGNORED"
    assert not notifications.about("image/other")


def test_one_bad_task_does_not_stop_the_rest(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep with one bad task registers the others, answers with one problem, and is not an error."""
    bad, good = start_import(aws, "exports/bad-1.0.ova"), start_import(aws, "exports/good-1.0.ova")
    finish_imports_without_events(aws)
    backend = image_builder.backends[ACCOUNT][REGION]
    import_vm_image = backend.import_vm_image

    def raise_always(params: Mapping[str, Any]) -> dict[str, str]:
        if params["vmImportTaskId"] == bad:
            raise ZeroDivisionError
        return import_vm_image(params)

    monkeypatch.setattr(backend, "import_vm_image", raise_always)
    for _ in range(2):
        aws.fire_schedules()
    answer = answer_of(functions.invocations()[-1])
    assert answer["outcome"] == "SWEPT"
    assert [bad in problem for problem in answer["problems"]] == [True]
    assert good not in str(answer["problems"])
    assert metrics_of(functions.invocations()[-1].result.logs) >= {"SweepProblems", "SweepsCompleted"}
    assert len(builds(aws, "good")) == 1
    monkeypatch.undo()
    assert invoke(aws, {"action": "sweep"})["outcome"] == "SWEPT"
    assert len(builds(aws, "bad")) == 1


def test_a_dry_run_of_the_sweep_returns_its_requests(aws: LocalAws, notifications: Notifications) -> None:
    """A dry run of the sweep changes nothing and returns the requests that the next sweep makes."""
    task = start_import(aws, "exports/shown-1.0.ova")
    finish_imports_without_events(aws)
    answer = invoke(aws, {"action": "sweep", "dryRun": True})
    (result,) = (result for result in answer["results"] if result["importTaskId"] == task)
    assert result["outcome"] == "DRY_RUN"
    assert not builds(aws, "shown")
    assert not notifications.about(task)
    answer = invoke(aws, {"action": "sweep"})
    (real,) = (each for each in answer["results"] if each["importTaskId"] == task)
    assert real["request"] == result["request"]
    assert answer["counts"]["REGISTERED"] >= 1


@pytest.mark.parametrize(
    "payload", [{"action": "clean"}, {"action": "sweep", "force": True}, {"action": "sweep", "dryRun": 1}]
)
def test_an_invalid_sweep_is_an_error(aws: LocalAws, payload: dict[str, object]) -> None:
    """A payload with an unknown action, an unknown key or a wrong type is an InvalidTriggerError."""
    assert invoke(aws, payload)["errorType"] == "InvalidTriggerError"
