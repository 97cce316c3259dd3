"""Events, tasks and runs that are early, late or concurrent, with the deployed template and the bundled artefact."""

import json
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from local.aws import common, events, functions, image_builder, vm_import
from local.aws.common import ServiceError
from local.aws.image_builder import ImageBuilderBackend
from local.aws.local_aws import ACCOUNT, LocalAws
from local.aws.vm_import import VmImportBackend
from tests.conftest import Switch
from tests.e2e.conftest import (
    LONG_AGO,
    STEPS,
    Notifications,
    age_records,
    answer_of,
    builds,
    empty_table,
    event_run,
    finish_imports,
    finish_imports_without_events,
    golden_event,
    invoke,
    physical_id,
    queue_messages,
    start_import,
)

pytestmark = pytest.mark.acceptance

CONCURRENT_RUNS = 4


@pytest.fixture
def tasks(aws: LocalAws) -> VmImportBackend:
    """Give the backend of VM import, to change its state directly."""
    backend: VmImportBackend = vm_import.backends[ACCOUNT][aws.region]
    return backend


@pytest.fixture
def images(aws: LocalAws) -> ImageBuilderBackend:
    """Give the backend of Image Builder, to change its state directly."""
    backend: ImageBuilderBackend = image_builder.backends[ACCOUNT][aws.region]
    return backend


def ami_of(tasks: VmImportBackend, task: str) -> str:
    """Return the id of a task's AMI."""
    return str(tasks.tasks[task].answer["ImageId"])


def run_event(event: Mapping[str, object]) -> dict[str, Any]:
    """Deliver an event by the deployed rules, run the function, and return its last answer."""
    assert events.deliver(event) == 1
    functions.run_queued()
    return answer_of(functions.invocations()[-1])


def ami_event(tasks: VmImportBackend, image_id: str) -> dict[str, object]:
    """Return the event that EC2 sends when an AMI becomes available, or is enabled again."""
    detail: dict[str, object] = {"ImageId": image_id, "State": "available"}
    return common.event(tasks, ("aws.ec2", "EC2 AMI State Change"), image_id, detail)


def test_an_ami_that_an_active_task_names_is_registered_at_once(
    aws: LocalAws, tasks: VmImportBackend, notifications: Notifications, switch: Switch
) -> None:
    """An AMI that its active task names is registered, and Image Builder completes the image with the task."""
    switch(ami_comes_first=True, active_task_names_ami=True)
    task = start_import(aws, "exports/early-1.0.ova")
    states = []
    for _ in range(STEPS):
        aws.advance()
        states += [(tasks.tasks[task].answer["Status"], image["state"]["status"]) for image in builds(aws, "early")]
    assert states[0] == ("active", "PENDING")
    assert states[-1] == ("completed", "AVAILABLE")
    assert [outcome for outcome, *_ in notifications.about(task)] == ["IMAGE_AVAILABLE"]


def test_an_ami_that_an_active_task_does_not_name_is_registered_later(aws: LocalAws, switch: Switch) -> None:
    """An AMI that its active task does not name is registered by the sweep after the task has completed."""
    switch(ami_comes_first=True)
    task = start_import(aws, "exports/unnamed-1.0.ova")
    finish_imports(aws)
    assert answer_of(event_run(task))["outcome"] == "IN_PROGRESS"
    assert not builds(aws, "unnamed")
    aws.fire_schedules()
    assert len(builds(aws, "unnamed")) == 1


def test_a_forged_ami_of_a_running_task_is_not_registered(aws: LocalAws, tasks: VmImportBackend) -> None:
    """An AMI that is registered with the name of a running task does not become the import's image."""
    task = start_import(aws, "exports/forged-1.0.ova")
    forged = tasks.ec2.register_image(task).id
    assert run_event(ami_event(tasks, forged))["outcome"] == "IN_PROGRESS"
    finish_imports(aws)
    aws.fire_schedules()
    (image,) = builds(aws, "forged")
    assert image["tags"]["vm-image-import:ami-id"] == tasks.tasks[task].answer["ImageId"] != forged


def test_a_new_deployment_finds_the_images_of_earlier_ones(
    aws: LocalAws, tasks: VmImportBackend, images: ImageBuilderBackend
) -> None:
    """With an empty table and forgotten client tokens, a sweep makes no second image of an import."""
    task = start_import(aws, "exports/earlier-1.0.ova")
    finish_imports(aws)
    (before,) = builds(aws, "earlier")
    tasks.ec2.amis[ami_of(tasks, task)].creation_date = LONG_AGO
    empty_table(aws)
    images.tokens.clear()
    answer = invoke(aws, {"action": "sweep"})
    results = [each for each in answer["results"] if each.get("importTaskId") == task]
    assert [each["outcome"] for each in results] == ["ALREADY_REGISTERED", "IMAGE_AVAILABLE"]
    assert {each["imageArn"] for each in results} == {before["arn"]}
    assert builds(aws, "earlier") == [before]


def test_an_ami_that_ec2_does_not_return_yet(
    aws: LocalAws, tasks: VmImportBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event of an AMI that EC2 does not return yet is no error, and the next sweep registers the AMI."""
    task = start_import(aws, "exports/unseen-1.0.ova")
    finish_imports_without_events(aws)
    with monkeypatch.context() as patch:
        patch.setattr(tasks.ec2, "amis", {})
        answer = run_event(ami_event(tasks, ami_of(tasks, task)))
    assert answer["outcome"] == "IGNORED"
    assert not builds(aws, "unseen")
    aws.fire_schedules()
    assert len(builds(aws, "unseen")) == 1


@pytest.mark.parametrize("image_id", ["", None])
def test_a_completed_task_without_an_image_id(aws: LocalAws, tasks: VmImportBackend, image_id: str | None) -> None:
    """An AMI with the name of a task that names none is registered as soon as the task names it."""
    name = f"nameless-{'empty' if image_id == '' else 'absent'}"
    task = start_import(aws, f"exports/{name}-1.0.ova")
    finish_imports_without_events(aws)
    answer = tasks.tasks[task].answer
    tasks.tasks[task].answer = {key: value for key, value in answer.items() if key != "ImageId"}
    if image_id is not None:
        tasks.tasks[task].answer["ImageId"] = image_id
    assert run_event(ami_event(tasks, answer["ImageId"]))["outcome"] == "IN_PROGRESS"
    assert invoke(aws, {"importTaskId": task})["outcome"] == "IGNORED"
    assert not builds(aws, name)
    tasks.tasks[task].answer = answer
    aws.fire_schedules()
    assert len(builds(aws, name)) == 1


def test_a_task_that_ec2_lists_no_longer(
    aws: LocalAws,
    tasks: VmImportBackend,
    notifications: Notifications,
    monkeypatch: pytest.MonkeyPatch,
    switch: Switch,
) -> None:
    """After 7 days, an event is IGNORED, a manual invocation NOT_FOUND, and a sweep neither registers nor notifies."""
    task = start_import(aws, "exports/forgotten-1.0.ova")
    finish_imports_without_events(aws)
    now = common.clock
    monkeypatch.setattr(common, "clock", lambda: now() + timedelta(days=8))
    for unknown_task_is_missing in (False, True):
        switch(unknown_task_is_missing=unknown_task_is_missing)
        assert run_event(ami_event(tasks, ami_of(tasks, task)))["outcome"] == "IGNORED"
        assert invoke(aws, {"importTaskId": task})["outcome"] == "NOT_FOUND"
        assert invoke(aws, {"action": "sweep"})["outcome"] == "SWEPT"
    assert not builds(aws, "forgotten")
    assert not notifications.about(task)


def test_an_ami_that_is_deregistered_before_the_sweep(
    aws: LocalAws, tasks: VmImportBackend, notifications: Notifications
) -> None:
    """An import whose AMI is deregistered, as Packer does after a copy, is reported once, after an hour."""
    task = start_import(aws, "exports/gone-1.0.ova")
    finish_imports_without_events(aws)
    aws.client("ec2").deregister_image(ImageId=ami_of(tasks, task))
    for kinds in (["IGNORED"], ["REJECTED"], []):
        answer = invoke(aws, {"action": "sweep"})
        assert [each["outcome"] for each in answer["results"] if each["importTaskId"] == task] == kinds
        assert [kind for kind, _, _ in notifications.about(task)] == (["REJECTED"] if kinds != ["IGNORED"] else [])
        age_records(aws, timedelta(hours=1))
    assert not builds(aws, "gone")


def test_an_ami_that_is_deregistered_after_the_registration(
    aws: LocalAws, tasks: VmImportBackend, notifications: Notifications
) -> None:
    """An available image whose AMI is deregistered before the image is reported has failed."""
    task = start_import(aws, "exports/lost-ami-1.0.ova")
    finish_imports_without_events(aws)
    assert invoke(aws, {"importTaskId": task})["outcome"] == "REGISTERED"
    finish_imports_without_events(aws)
    ami = ami_of(tasks, task)
    aws.client("ec2").deregister_image(ImageId=ami)
    aws.fire_schedules()
    assert not notifications.about(task)
    # Until then EC2 may show the AMI later.
    age_records(aws, timedelta(hours=1))
    for _ in range(2):
        aws.fire_schedules()
    ((kind, subject, text),) = notifications.about(task)
    assert (kind, subject) == ("IMAGE_FAILED", "Image failed: lost-ami/1.0.0/1")
    assert f"its AMI {ami} was deregistered" in text


def test_an_import_that_another_user_registers_at_once(
    aws: LocalAws, tasks: VmImportBackend, notifications: Notifications
) -> None:
    """An import that is registered right after `import-image`, as AWS's guide does it, keeps this one image."""
    task = start_import(aws, "exports/guide-1.0.ova")
    request = {"name": "by-the-guide", "semanticVersion": "2.0.0", "platform": "Linux", "vmImportTaskId": task}
    arn = aws.client("imagebuilder").import_vm_image(**request, clientToken="guide")["imageArn"]
    finish_imports(aws)
    for _ in range(2):
        aws.fire_schedules()
    assert not builds(aws, "guide")
    (image,) = builds(aws, "by-the-guide")
    assert (image["arn"], image["outputResources"]["amis"][0]["image"]) == (arn, ami_of(tasks, task))
    answer = invoke(aws, {"importTaskId": task})
    assert (answer["outcome"], answer["imageArn"]) == ("ALREADY_REGISTERED", arn)
    assert invoke(aws, {"importTaskId": task, "name": "mine"})["outcome"] == "REJECTED"
    ((kind, subject, text),) = notifications.about(task)
    assert (kind, subject) == ("IMAGE_AVAILABLE", "Image available: by-the-guide/2.0.0/1")
    assert "another user registered the import" in text


def test_a_registration_is_followed_after_ec2_has_forgotten_its_task(
    aws: LocalAws, notifications: Notifications, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image of a task that EC2 no longer lists is followed to its end, and reported once."""
    task = start_import(aws, "exports/followed-1.0.ova")
    finish_imports_without_events(aws)
    assert invoke(aws, {"importTaskId": task})["outcome"] == "REGISTERED"
    finish_imports_without_events(aws)
    now = common.clock
    monkeypatch.setattr(common, "clock", lambda: now() + timedelta(days=8))
    assert invoke(aws, {"importTaskId": task})["outcome"] == "NOT_FOUND"
    for _ in range(2):
        aws.fire_schedules()
    ((kind, subject, text),) = notifications.about(task)
    assert (kind, subject) == ("IMAGE_AVAILABLE", "Image available: followed/1.0.0/1")
    assert "s3://exports/exports/followed-1.0.ova" in text


def test_an_import_that_hangs_is_reported_once(aws: LocalAws, notifications: Notifications) -> None:
    """An import that is active for more than 12 hours is reported once, and becomes an image when it completes."""
    task = start_import(aws, "exports/slow-1.0.ova")
    aws.advance()
    aws.fire_schedules()
    assert not notifications.about(task)
    age_records(aws, timedelta(hours=13))
    for _ in range(2):
        aws.fire_schedules()
    assert [kind for kind, _, _ in notifications.about(task)] == ["IMPORT_HANGS"]
    finish_imports(aws)
    aws.fire_schedules()
    assert [kind for kind, _, _ in notifications.about(task)] == ["IMPORT_HANGS", "IMAGE_AVAILABLE"]
    assert len(builds(aws, "slow")) == 1


def test_an_ami_that_is_deregistered_during_the_sweep(
    aws: LocalAws,
    tasks: VmImportBackend,
    images: ImageBuilderBackend,
    notifications: Notifications,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An import that Image Builder refuses has one notification with the error, and is IGNORED by the next sweep."""
    task = start_import(aws, "exports/deregistered-1.0.ova")
    finish_imports_without_events(aws)

    import_vm_image = images.import_vm_image

    def deregister_and_refuse(parameters: Mapping[str, Any]) -> dict[str, str]:
        # A sweep also registers what other tests left.
        if parameters["vmImportTaskId"] != task:
            return import_vm_image(parameters)
        tasks.ec2.amis.pop(ami_of(tasks, task), None)
        code, message = "ClientException", "The AMI does not exist."
        raise ServiceError(code, message)

    monkeypatch.setattr(images, "import_vm_image", deregister_and_refuse)
    for kind in ("REJECTED", "IGNORED", "IGNORED"):
        answer = invoke(aws, {"action": "sweep"})
        assert [each["outcome"] for each in answer["results"] if each["importTaskId"] == task] == [kind]
    ((outcome, _, text),) = notifications.about(task)
    assert outcome == "REJECTED"
    assert "The AMI does not exist." in text


def test_concurrent_runs_make_one_image(aws: LocalAws, tasks: VmImportBackend, notifications: Notifications) -> None:
    """Four runs at once for one import make one image, and each fact has one notification."""
    task = start_import(aws, "exports/concurrent-1.0.ova")
    finish_imports_without_events(aws)
    function = physical_id(aws, "AWS::Lambda::Function")

    def run_concurrently(event: object) -> Counter[str]:
        clients = [aws.client("lambda") for _ in range(CONCURRENT_RUNS)]
        with ThreadPoolExecutor(CONCURRENT_RUNS) as pool:
            answers = pool.map(lambda each: each.invoke(FunctionName=function, Payload=json.dumps(event)), clients)
        found = [json.loads(answer["Payload"].read()) for answer in answers]
        assert not [each for each in found if "outcome" not in each]
        return Counter(each["outcome"] for each in found)

    outcomes = run_concurrently(ami_event(tasks, ami_of(tasks, task)))
    assert outcomes.pop("REGISTERED") == 1
    assert set(outcomes) <= {"ALREADY_REGISTERED", "IN_PROGRESS"}
    (image,) = builds(aws, "concurrent")
    image_builder.advance(ACCOUNT, aws.region)
    outcomes = run_concurrently(golden_event("image-available", resources=[image["arn"]]))
    assert outcomes["IMAGE_AVAILABLE"] >= 1
    assert set(outcomes) <= {"IMAGE_AVAILABLE", "IN_PROGRESS"}
    assert [outcome for outcome, *_ in notifications.about(task)] == ["IMAGE_AVAILABLE"]


def test_a_run_that_ends_before_it_records_its_image(
    aws: LocalAws, images: ImageBuilderBackend, notifications: Notifications, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash behind ImportVmImage, a sweep records the same image when it names its AMI: one notification."""
    task = start_import(aws, "exports/crashed-1.0.ova")
    finish_imports_without_events(aws)
    with monkeypatch.context() as crash:

        def import_and_crash(params: Mapping[str, Any]) -> dict[str, str]:
            answer = ImageBuilderBackend.import_vm_image(images, params)
            functions.shutdown()
            return answer

        crash.setattr(images, "import_vm_image", import_and_crash)
        assert "outcome" not in invoke(aws, {"importTaskId": task})
    assert len(builds(aws, "crashed")) == 1
    assert invoke(aws, {"importTaskId": task})["outcome"] == "IN_PROGRESS"
    age_records(aws, timedelta())
    assert invoke(aws, {"importTaskId": task})["outcome"] == "IN_PROGRESS"
    finish_imports_without_events(aws)
    results = invoke(aws, {"action": "sweep"})["results"]
    outcomes = [each["outcome"] for each in results if each.get("importTaskId") == task]
    assert outcomes == ["ALREADY_REGISTERED", "IMAGE_AVAILABLE"]
    aws.fire_schedules()
    assert len(builds(aws, "crashed")) == 1
    assert [outcome for outcome, *_ in notifications.about(task)] == ["IMAGE_AVAILABLE"]


def test_a_sweep_that_runs_out_of_time(aws: LocalAws) -> None:
    """A sweep stops before the timeout and says so, and the next sweep continues."""
    task = start_import(aws, "exports/unfinished-1.0.ova")
    finish_imports_without_events(aws)
    aws_lambda, name = aws.client("lambda"), physical_id(aws, "AWS::Lambda::Function")
    timeout = aws_lambda.get_function_configuration(FunctionName=name)["Timeout"]
    aws_lambda.update_function_configuration(FunctionName=name, Timeout=20)
    answer = invoke(aws, {"action": "sweep"})
    aws_lambda.update_function_configuration(FunctionName=name, Timeout=timeout)
    assert "next sweep continues" in answer["reason"]
    assert not builds(aws, "unfinished")
    answer = invoke(aws, {"action": "sweep"})
    assert "reason" not in answer
    assert task in json.dumps(answer)
    assert len(builds(aws, "unfinished")) == 1


def test_a_sweep_over_several_pages(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep registers the tasks of every page of EC2's list."""
    for number in range(5):
        start_import(aws, f"exports/paged-{number}.0.ova")
    finish_imports_without_events(aws)
    paginate = common.paginate
    monkeypatch.setattr(common, "paginate", lambda items, size, token: paginate(items, size or 2, token))
    aws.fire_schedules()
    assert len(builds(aws, "paged")) == 5


def test_a_burst_of_events(aws: LocalAws, tasks: VmImportBackend, notifications: Notifications) -> None:
    """Of 500 AMI events, five are imports: each is registered once with one notification, and no event is in a DLQ."""
    imports = [start_import(aws, f"exports/burst-{number}.0.ova") for number in range(5)]
    finish_imports_without_events(aws)
    others = [tasks.ec2.register_image(f"golden-{number}").id for number in range(495)]
    # Remove the messages of other tests.
    queue_messages(aws, "FunctionDlq")
    for image_id in [*(ami_of(tasks, task) for task in imports), *others]:
        events.deliver(ami_event(tasks, image_id))
    assert functions.run_queued() == 500
    runs = Counter(answer_of(run)["outcome"] for run in functions.invocations()[-500:])
    assert runs == {"REGISTERED": 5, "IGNORED": 495}
    assert len(builds(aws, "burst")) == 5
    assert queue_messages(aws, "FunctionDlq") == []
    finish_imports_without_events(aws)
    aws.fire_schedules()
    assert [len(notifications.about(task)) for task in imports] == [1] * 5
