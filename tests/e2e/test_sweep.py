"""The sweep, and the notifications, with the deployed template and the bundled artefact."""

import json
import time

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


def test_a_failed_import_arrives_as_json(aws: LocalAws) -> None:
    """A queue that subscribes to the topic gets the JSON document of a failed import with the remedy for Windows."""
    sqs, topic = aws.client("sqs"), physical_id(aws, "AWS::SNS::Topic")
    url = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    subscription = aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    message = "FirstBootFailure: This import request failed because the instance failed to boot."
    metadata = {"platform": "Windows", "status-message": message}
    task = start_import(aws, "exports/boot.ova", metadata, Name="Shop")
    finish_imports(aws)
    aws.fire_schedules()
    documents = [json.loads(each["Message"]) for each in aws.receive_messages(url)]
    (document,) = (each for each in documents if each["importTaskId"] == task)
    assert (document["outcome"], document["vmName"], document["reason"]) == ("IMPORT_FAILED", "Shop", message)
    assert document["remedy"] == find_remedy(message, "Windows").text
    aws.client("sns").unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])


@pytest.mark.parametrize(("status", "by"), [("FAILED", "event"), ("CANCELLED", "sweep")])
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
