"""What comes too early, too late, or at the same time, with the deployed template and the bundled artefact."""

import json
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from moto.sns.exceptions import InvalidParameterValue
from moto.sns.models import sns_backends

from local.aws import events, functions, image_builder, vm_import
from local.aws.image_builder import ImageBuilderBackend, ImageBuilderError
from local.aws.local_aws import ACCOUNT, Cloud
from local.aws.vm_import import VmImportBackend
from tests.conftest import REGION
from tests.e2e.conftest import (
    STEPS,
    Notices,
    answer_of,
    builds,
    event_run,
    golden,
    invoke,
    let_time_pass,
    lose_events,
    messages,
    metrics_of,
    resource,
    start_import,
)

AT_ONCE = 4


@pytest.fixture
def tasks(cloud: Cloud) -> VmImportBackend:
    """Give what EC2 knows of imports, to be changed behind the function's back."""
    backend: VmImportBackend = vm_import.backends[ACCOUNT][cloud.region]
    return backend


@pytest.fixture
def images(cloud: Cloud) -> ImageBuilderBackend:
    """Give what Image Builder knows, likewise."""
    backend: ImageBuilderBackend = image_builder.backends[ACCOUNT][cloud.region]
    return backend


def ami_of(tasks: VmImportBackend, task: str) -> str:
    """Return the AMI that a task made."""
    return str(tasks.tasks[task].answer["ImageId"])


def send(event: Mapping[str, object]) -> dict[str, Any]:
    """Deliver an event by the deployed rules, let the function run, and return the last answer."""
    assert events.deliver(event) == 1
    functions.run_queued()
    return answer_of(functions.invocations()[-1])


def ami_event(tasks: VmImportBackend, image_id: str) -> dict[str, object]:
    """Return the event that EC2 sends when this AMI becomes available, or is enabled again."""
    detail: dict[str, object] = {"ImageId": image_id, "State": "available"}
    return vm_import.event(tasks, ("aws.ec2", "EC2 AMI State Change"), image_id, detail)


def test_an_ami_that_comes_before_its_task_completes(
    cloud: Cloud, tasks: VmImportBackend, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is registered at once, and Image Builder finishes the image with the task."""
    monkeypatch.setattr(tasks, "ami_comes_first", True)
    task = start_import(cloud, "exports/early-1.0.ova")
    states = []
    for _ in range(STEPS):
        cloud.step()
        states += [(tasks.tasks[task].answer["Status"], image["state"]["status"]) for image in builds(cloud, "early")]
    assert states[0] == ("active", "PENDING")
    assert states[-1] == ("completed", "AVAILABLE")
    assert [outcome for outcome, *_ in notices(task)] == ["REGISTERED", "IMAGE_AVAILABLE"]


def test_an_ami_that_ec2_does_not_show_yet(
    cloud: Cloud, tasks: VmImportBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run fails, so that Lambda tries again; if that does not help either, the sweep does."""
    task = start_import(cloud, "exports/unseen-1.0.ova")
    lose_events(cloud)
    with monkeypatch.context() as lag:
        lag.setattr(tasks.ec2, "amis", {})
        answer = send(ami_event(tasks, ami_of(tasks, task)))
    assert answer["errorType"] == "TransientError"
    kept = [each["requestPayload"]["detail"] for each in messages(cloud, "Failures")]
    assert {"ImageId": ami_of(tasks, task), "State": "available"} in kept
    assert not builds(cloud, "unseen")
    cloud.sweep()
    assert len(builds(cloud, "unseen")) == 1


@pytest.mark.parametrize("image_id", ["", None])
def test_a_task_that_does_not_name_its_ami_yet(cloud: Cloud, tasks: VmImportBackend, image_id: str | None) -> None:
    """The AMI is found by its name, which is the task's id."""
    name = f"nameless-{'empty' if image_id == '' else 'absent'}"
    task = start_import(cloud, f"exports/{name}-1.0.ova")
    lose_events(cloud)
    answer = tasks.tasks[task].answer
    tasks.tasks[task].answer = {key: value for key, value in answer.items() if key != "ImageId"}
    if image_id is not None:
        tasks.tasks[task].answer["ImageId"] = image_id
    assert invoke(cloud, {"importTaskId": task})["outcome"] == "REGISTERED"
    assert len(builds(cloud, name)) == 1
    tasks.tasks[task].answer = answer


def test_a_task_that_ec2_has_forgotten(
    cloud: Cloud, tasks: VmImportBackend, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 7 days an event, a sweep and a person change nothing, and only the person is told that it is unknown."""
    task = start_import(cloud, "exports/forgotten-1.0.ova")
    lose_events(cloud)
    now = vm_import.clock
    monkeypatch.setattr(vm_import, "clock", lambda: now() + timedelta(days=8))
    for unknown_task_is_error in (True, False):
        monkeypatch.setattr(tasks, "unknown_task_is_error", unknown_task_is_error)
        assert send(ami_event(tasks, ami_of(tasks, task)))["outcome"] == "IGNORED"
        assert invoke(cloud, {"importTaskId": task})["outcome"] == "NOT_FOUND"
        assert invoke(cloud, {"action": "sweep"})["outcome"] == "SWEPT"
    assert not builds(cloud, "forgotten")
    assert not notices(task)


def test_an_ami_that_was_deregistered_before_the_sweep_came(
    cloud: Cloud, tasks: VmImportBackend, notices: Notices
) -> None:
    """As Packer does with what it has copied: there is nothing to register, and that is no failure."""
    task = start_import(cloud, "exports/gone-1.0.ova")
    lose_events(cloud)
    cloud.client("ec2").deregister_image(ImageId=ami_of(tasks, task))
    answer = invoke(cloud, {"action": "sweep"})
    (result,) = (each for each in answer["results"] if each["importTaskId"] == task)
    assert result["outcome"] == "IGNORED"
    assert not builds(cloud, "gone")
    assert not notices(task)


def test_an_ami_that_is_deregistered_between_the_sweep_and_the_call(
    cloud: Cloud, tasks: VmImportBackend, images: ImageBuilderBackend, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever took it away hears what Image Builder says, once; nothing is left half done."""
    task = start_import(cloud, "exports/snatched-1.0.ova")
    lose_events(cloud)

    def snatch(_: Mapping[str, Any]) -> dict[str, str]:
        tasks.ec2.amis.pop(ami_of(tasks, task), None)
        code, message = "ClientException", "The AMI does not exist."
        raise ImageBuilderError(code, message)

    monkeypatch.setattr(images, "import_vm_image", snatch)
    for kind in ("REJECTED", "IGNORED"):
        answer = invoke(cloud, {"action": "sweep"})
        assert [each["outcome"] for each in answer["results"] if each["importTaskId"] == task] == [kind]
    ((outcome, _, text),) = notices(task)
    assert outcome == "REJECTED"
    assert "The AMI does not exist." in text


def test_an_ami_that_is_enabled_again(cloud: Cloud, tasks: VmImportBackend, notices: Notices) -> None:
    """EnableImage sends the event of an old AMI once more: nothing new comes of it."""
    task = start_import(cloud, "exports/enabled-1.0.ova")
    let_time_pass(cloud)
    before = notices(task)
    assert send(ami_event(tasks, ami_of(tasks, task)))["outcome"] == "ALREADY_REGISTERED"
    assert len(builds(cloud, "enabled")) == 1
    assert notices(task) == before


def test_a_copy_from_another_region(cloud: Cloud) -> None:
    """It has an import's name, but this Region's EC2 knows no such task."""
    ami = cloud.client("ec2").register_image(Name="import-ami-0fedcba9876543210", Architecture="x86_64")["ImageId"]
    cloud.step()
    answer = answer_of(event_run(ami))
    assert (answer["outcome"], answer["importTaskId"]) == ("IGNORED", "import-ami-0fedcba9876543210")


def test_runs_at_the_same_time_make_one_image(cloud: Cloud, tasks: VmImportBackend, notices: Notices) -> None:
    """One registers; the others leave it alone, or come after it. People are told once of each fact."""
    task = start_import(cloud, "exports/crowded-1.0.ova")
    lose_events(cloud)
    function = resource(cloud, "AWS::Lambda::Function")

    def all_at_once(event: object) -> Counter[str]:
        clients = [cloud.client("lambda") for _ in range(AT_ONCE)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = pool.map(lambda each: each.invoke(FunctionName=function, Payload=json.dumps(event)), clients)
        return Counter(json.loads(answer["Payload"].read())["outcome"] for answer in answers)

    outcomes = all_at_once(ami_event(tasks, ami_of(tasks, task)))
    assert outcomes.pop("REGISTERED") == 1
    assert set(outcomes) <= {"ALREADY_REGISTERED", "IN_PROGRESS"}
    (image,) = builds(cloud, "crowded")
    image_builder.advance(ACCOUNT, cloud.region)
    assert all_at_once(golden("image-available", resources=[image["arn"]])) == {"IMAGE_AVAILABLE": AT_ONCE}
    assert [outcome for outcome, *_ in notices(task)] == ["REGISTERED", "IMAGE_AVAILABLE"]


def test_a_run_that_is_ended_before_it_could_record_its_image(
    cloud: Cloud, images: ImageBuilderBackend, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next sweep asks with the same client token and gets the same image."""
    task = start_import(cloud, "exports/crashed-1.0.ova")
    lose_events(cloud)
    with monkeypatch.context() as crash:

        def answer_nobody(params: Mapping[str, Any]) -> dict[str, str]:
            answer = ImageBuilderBackend.import_vm_image(images, params)
            functions.shutdown()
            return answer

        crash.setattr(images, "import_vm_image", answer_nobody)
        assert "outcome" not in invoke(cloud, {"importTaskId": task})
    assert len(builds(cloud, "crashed")) == 1
    assert invoke(cloud, {"importTaskId": task})["outcome"] == "IN_PROGRESS"
    free_what_was_begun(cloud)
    cloud.sweep()
    cloud.sweep()
    assert len(builds(cloud, "crashed")) == 1
    assert [outcome for outcome, *_ in notices(task)] == ["REGISTERED"]


def free_what_was_begun(cloud: Cloud) -> None:
    """Let the time pass after which the run that was ended would have ended anyway."""
    dynamodb, table = cloud.client("dynamodb"), resource(cloud, "AWS::DynamoDB::Table")
    for item in dynamodb.scan(TableName=table)["Items"]:
        if item["status"]["S"] == "INPROGRESS":
            dynamodb.put_item(TableName=table, Item={**item, "in_progress_expiration": {"N": "0"}})


def test_a_topic_that_refuses(cloud: Cloud, notices: Notices, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image stands, is logged and counted, and the next sweep that can tells people: once."""
    task = start_import(cloud, "exports/mute-1.0.ova")
    lose_events(cloud)
    with monkeypatch.context() as outage:

        def refuse(*_: object, **__: object) -> None:
            message = "The topic refuses."
            raise InvalidParameterValue(message)

        outage.setattr(sns_backends[ACCOUNT][REGION], "publish", refuse)
        assert invoke(cloud, {"importTaskId": task})["outcome"] == "REGISTERED"
        assert "ImagesRegistered" in metrics_of(functions.invocations()[-1].result.logs)
        assert invoke(cloud, {"importTaskId": task})["errorType"] == "PermanentError"
        assert invoke(cloud, {"action": "sweep"})["errorType"] == "SweepError"
    assert len(builds(cloud, "mute")) == 1
    for _ in range(2):
        lose_events(cloud)
        cloud.sweep()
    assert len(builds(cloud, "mute")) == 1
    assert [outcome for outcome, *_ in notices(task)] == ["REGISTERED", "IMAGE_AVAILABLE"]


def test_a_sweep_with_little_time(cloud: Cloud) -> None:
    """It stops before Lambda ends it and says so; the next one goes on."""
    task = start_import(cloud, "exports/hurried-1.0.ova")
    lose_events(cloud)
    aws_lambda, name = cloud.client("lambda"), resource(cloud, "AWS::Lambda::Function")
    timeout = aws_lambda.get_function_configuration(FunctionName=name)["Timeout"]
    aws_lambda.update_function_configuration(FunctionName=name, Timeout=20)
    answer = invoke(cloud, {"action": "sweep"})
    aws_lambda.update_function_configuration(FunctionName=name, Timeout=timeout)
    assert answer["reason"] == "Out of time: the next sweep goes on."
    assert not builds(cloud, "hurried")
    answer = invoke(cloud, {"action": "sweep"})
    assert "reason" not in answer
    assert task in json.dumps(answer)
    assert len(builds(cloud, "hurried")) == 1


def test_a_sweep_over_several_pages(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """However EC2 cuts its list, every task is looked at."""
    for number in range(5):
        start_import(cloud, f"exports/paged-{number}.0.ova")
    lose_events(cloud)
    whole = vm_import.paged
    monkeypatch.setattr(vm_import, "paged", lambda items, size, token: whole(items, size or 2, token))
    cloud.sweep()
    assert len(builds(cloud, "paged")) == 5


def test_a_burst_of_events(cloud: Cloud, tasks: VmImportBackend, notices: Notices) -> None:
    """Of 500 AMIs at once the few imports are each registered once, and nothing is left in a queue."""
    ours = [start_import(cloud, f"exports/burst-{number}.0.ova") for number in range(5)]
    lose_events(cloud)
    others = [tasks.ec2.register_image(f"golden-{number}").id for number in range(495)]
    # What other tests left there.
    messages(cloud, "Failures")
    for image_id in [*(ami_of(tasks, task) for task in ours), *others]:
        events.deliver(ami_event(tasks, image_id))
    assert functions.run_queued() == 500
    runs = Counter(answer_of(run)["outcome"] for run in functions.invocations()[-500:])
    assert runs == {"REGISTERED": 5, "IGNORED": 495}
    assert len(builds(cloud, "burst")) == 5
    assert [len(notices(task)) for task in ours] == [1] * 5
    assert messages(cloud, "Failures") == []
