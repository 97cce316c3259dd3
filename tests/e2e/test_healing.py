"""What is lost, late, twice or broken on the way, with the deployed template and the bundled artefact."""

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
    Notices,
    answer_of,
    builds,
    golden,
    invoke,
    let_time_pass,
    lose_events,
    metrics_of,
    resource,
    start_import,
)
from vm_image_import.remedies import find_remedy


def test_the_sweep_registers_what_no_event_led_to(cloud: LocalAws, notices: Notices) -> None:
    """A lost event costs a quarter of an hour, not the image; nothing is registered or told twice."""
    task = start_import(cloud, "exports/lost-1.0.ova")
    lose_events(cloud)
    assert not builds(cloud, "lost")
    cloud.sweep()
    lose_events(cloud)
    for _ in range(3):
        cloud.sweep()
    (image,) = builds(cloud, "lost")
    assert image["state"]["status"] == "AVAILABLE"
    assert [outcome for outcome, *_ in notices(task)] == ["REGISTERED", "IMAGE_AVAILABLE"]
    _, subject, message = notices(task)[-1]
    assert subject == "Image available: lost/1.0.0/1"
    assert f"parentImage: arn:aws:imagebuilder:us-east-1:{ACCOUNT}:image/lost/1.0.0/1" in message


def test_events_tell_sooner(cloud: LocalAws, notices: Notices) -> None:
    """With every event delivered, twice, nothing is left for the sweep, and each fact is told once."""
    task = start_import(cloud, "exports/soon-1.0.ova")
    for _ in range(STEPS):
        for service in (vm_import, image_builder):
            for event in service.advance(ACCOUNT, cloud.region) * 2:
                events.deliver(event)
            functions.run_queued()
    before = notices(task)
    cloud.sweep()
    assert [outcome for outcome, *_ in before] == ["REGISTERED", "IMAGE_AVAILABLE"]
    assert notices(task) == before
    answer = answer_of(functions.invocations()[-1])
    assert answer["outcome"] == "SWEPT"
    assert task not in json.dumps(answer)


def test_a_failed_import_is_told_once_with_a_remedy(cloud: LocalAws, notices: Notices) -> None:
    """EC2 sends no event for it: the sweep reports the status message, and what to do."""
    message = "ClientError: Unsupported kernel version 4.15.0-1021-aws"
    task = start_import(cloud, "exports/legacy-9.0.ova", {"status-message": message})
    let_time_pass(cloud)
    for _ in range(2):
        cloud.sweep()
    ((outcome, subject, text),) = notices(task)
    assert (outcome, subject) == ("IMPORT_FAILED", f"Import failed: legacy-9.0.ova ({task})")
    assert message in text
    assert "https://docs.aws.amazon.com/vm-import/" in text
    assert metrics_of(functions.invocations()[-2].result.logs) >= {"ImportsFailed", "SweepsCompleted"}


def test_a_failed_import_that_several_runs_see_is_told_once(cloud: LocalAws, notices: Notices) -> None:
    """Where its message is unknown, with the page on which AWS explains."""
    task = start_import(cloud, "exports/new-9.0.ova", {"status-message": "ClientError: Something new"})
    let_time_pass(cloud)
    function = resource(cloud, "AWS::Lambda::Function")
    clients = [cloud.client("lambda") for _ in range(3)]
    with ThreadPoolExecutor(len(clients)) as pool:
        sweep = b'{"action": "sweep"}'
        answers = list(pool.map(lambda each: each.invoke(FunctionName=function, Payload=sweep), clients))
    assert not any("FunctionError" in answer for answer in answers)
    ((outcome, _, text),) = notices(task)
    assert outcome == "IMPORT_FAILED"
    assert "ClientError: Something new" in text
    assert "/vmimport-troubleshooting.html" in text


@pytest.mark.parametrize("platform", ["Linux", "Windows"])
def test_a_failed_import_arrives_as_json(cloud: LocalAws, platform: str) -> None:
    """A queue that is subscribed to the topic gets the document of a failed import, with the platform's remedy."""
    sqs, sns = cloud.client("sqs"), cloud.client("sns")
    url = sqs.create_queue(QueueName=f"subscriber-{platform}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    subscription = sns.subscribe(TopicArn=resource(cloud, "AWS::SNS::Topic"), Protocol="sqs", Endpoint=arn)
    message = "FirstBootFailure: This import request failed because the instance failed to boot."
    metadata = {"platform": platform, "status-message": message}
    task = start_import(cloud, f"exports/boot-{platform}.ova", metadata, Name="Shop")
    let_time_pass(cloud)
    cloud.sweep()
    documents = [json.loads(each["Message"]) for each in cloud.take_messages(url)]
    (document,) = (each for each in documents if each["importTaskId"] == task)
    assert (document["outcome"], document["vmName"], document["reason"]) == ("IMPORT_FAILED", "Shop", message)
    assert document["remedy"] == find_remedy(message, platform).text
    sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])


def test_a_cancelled_import_is_nobodys_news(cloud: LocalAws, notices: Notices) -> None:
    """What a person did on purpose is not reported."""
    task = start_import(cloud, "exports/cancelled-9.0.ova")
    cloud.step()
    cloud.client("ec2").cancel_import_task(ImportTaskId=task)
    let_time_pass(cloud)
    cloud.sweep()
    assert not notices(task)


def test_a_corrected_tag_is_registered_by_the_next_sweep(cloud: LocalAws, notices: Notices) -> None:
    """Nobody has to replay anything."""
    task = start_import(cloud, "exports/corrected-1.0.ova", Version="latest")
    let_time_pass(cloud)
    cloud.sweep()
    assert [outcome for outcome, *_ in notices(task)] == ["REJECTED"]
    cloud.client("ec2").create_tags(Resources=[task], Tags=[{"Key": "Version", "Value": "3.0"}])
    cloud.sweep()
    (image,) = builds(cloud, "corrected")
    assert image["version"] == "3.0.0/1"


@pytest.mark.parametrize("by", ["event", "sweep"])
@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
def test_an_image_that_fails_is_told(cloud: LocalAws, notices: Notices, status: str, by: str) -> None:
    """Its reason reaches people, once, and the metric an alarm; whether its event comes or not."""
    name = f"{status}-{by}".lower()
    task = start_import(cloud, f"exports/{name}-1.0.ova")
    lose_events(cloud)
    cloud.sweep()
    (image,) = (each for each in image_builder.backends[ACCOUNT][REGION].listed() if f"/{name}/" in each.arn)
    image.state = {"status": status} | ({"reason": "No space."} if status == "FAILED" else {})
    if by == "event":
        detail = {"state": image.state}
        events.deliver(golden("image-available", id=name, resources=[image.arn], detail=detail))
        functions.run_queued()
    for _ in range(2):
        cloud.sweep()
    ((registered, *_), (outcome, subject, text)) = notices(task)
    assert (registered, outcome, subject) == ("REGISTERED", "IMAGE_FAILED", f"Image failed: {name}/1.0.0/1")
    assert ("No space." if status == "FAILED" else "was cancelled") in text
    runs = [run.result.logs for run in functions.invocations() if image.arn in run.result.logs]
    assert [run for run in runs if "ImagesFailed" in metrics_of(run)] == runs[-1:]


def test_a_record_outlives_what_ec2_remembers(cloud: LocalAws) -> None:
    """EC2 lists a task for 7 days; what is known of it stays for 60."""
    let_time_pass(cloud)
    start_import(cloud, "exports/kept-1.0.ova")
    let_time_pass(cloud)
    records = cloud.client("dynamodb").scan(TableName=resource(cloud, "AWS::DynamoDB::Table"))["Items"]
    days = {(int(record["expiration"]["N"]) - time.time()) / (24 * 60 * 60) for record in records}
    assert min(days) > 59
    assert max(days) < 61


def test_what_was_forced_is_followed_like_the_first(cloud: LocalAws, notices: Notices) -> None:
    """The event of an image that a person asked for may be lost like any other: the sweep tells its end, once."""
    task = start_import(cloud, "exports/again-1.0.ova")
    let_time_pass(cloud)
    assert invoke(cloud, {"importTaskId": task, "force": True})["outcome"] == "REGISTERED"
    lose_events(cloud)
    for _ in range(2):
        cloud.sweep()
    assert [subject for _, subject, _ in notices(task)] == [
        "Image registered: again/1.0.0/1",
        "Image available: again/1.0.0/1",
        "Image registered: again/1.0.0/2",
        "Image available: again/1.0.0/2",
    ]


def test_an_image_of_somebody_else_is_not_followed(cloud: LocalAws, notices: Notices) -> None:
    """The rule takes every image of the account; only those of this system are told about."""
    task = start_import(cloud, "exports/theirs-1.0.ova", Version="latest")
    lose_events(cloud)
    cloud.client("imagebuilder").import_vm_image(
        name="theirs", semanticVersion="1.0.0", platform="Linux", vmImportTaskId=task, clientToken="theirs"
    )
    let_time_pass(cloud)
    assert answer_of(functions.invocations()[-1])["outcome"] == "IGNORED"
    assert not notices("image/theirs")


def test_one_bad_task_does_not_stop_the_rest(cloud: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep with one bad task registers the others, answers the problem with its task, and is no error."""
    bad, good = start_import(cloud, "exports/bad-1.0.ova"), start_import(cloud, "exports/good-1.0.ova")
    lose_events(cloud)
    backend = image_builder.backends[ACCOUNT][REGION]
    import_vm_image = backend.import_vm_image

    def raise_always(params: Mapping[str, Any]) -> dict[str, str]:
        if params["vmImportTaskId"] == bad:
            raise ZeroDivisionError
        return import_vm_image(params)

    monkeypatch.setattr(backend, "import_vm_image", raise_always)
    for _ in range(2):
        cloud.sweep()
    answer = answer_of(functions.invocations()[-1])
    assert answer["outcome"] == "SWEPT"
    assert [bad in problem for problem in answer["problems"]] == [True]
    assert good not in str(answer["problems"])
    assert metrics_of(functions.invocations()[-1].result.logs) >= {"SweepProblems", "SweepsCompleted"}
    assert len(builds(cloud, "good")) == 1
    monkeypatch.undo()
    assert invoke(cloud, {"action": "sweep"})["outcome"] == "SWEPT"
    assert len(builds(cloud, "bad")) == 1


def test_a_dry_run_of_the_sweep_shows_what_it_would_do(cloud: LocalAws, notices: Notices) -> None:
    """Exactly the requests, and nothing changes anywhere."""
    task = start_import(cloud, "exports/shown-1.0.ova")
    lose_events(cloud)
    answer = invoke(cloud, {"action": "sweep", "dryRun": True})
    (result,) = (result for result in answer["results"] if result["importTaskId"] == task)
    assert result["outcome"] == "DRY_RUN"
    assert not builds(cloud, "shown")
    assert not notices(task)
    answer = invoke(cloud, {"action": "sweep"})
    (real,) = (each for each in answer["results"] if each["importTaskId"] == task)
    assert real["request"] == result["request"]
    assert answer["counts"]["REGISTERED"] >= 1


@pytest.mark.parametrize(
    "payload", [{"action": "clean"}, {"action": "sweep", "force": True}, {"action": "sweep", "dryRun": 1}]
)
def test_a_malformed_sweep_is_refused(cloud: LocalAws, payload: dict[str, object]) -> None:
    """The schedule's payload is checked like a person's."""
    assert invoke(cloud, payload)["errorType"] == "InvalidTriggerError"
