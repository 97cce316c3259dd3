"""What other users do with images and AMIs of imports, with the deployed artefact."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from local.aws import image_builder, vm_import
from local.aws.image_builder import Image
from local.aws.local_aws import ACCOUNT, LocalAws
from tests.conftest import REGION
from tests.e2e.conftest import (
    Notifications,
    age_records,
    builds,
    finish_imports,
    finish_imports_without_events,
    invoke,
    start_import,
)

pytestmark = pytest.mark.acceptance


def image_of(task: str) -> Image:
    """Return the image of an import."""
    images = image_builder.backends[ACCOUNT][REGION].images.values()
    (image,) = (each for each in images if each.params["vmImportTaskId"] == task)
    return image


def set_status(status: str) -> Callable[[str], None]:
    """Return what gives the image of an import this status."""

    def change(task: str) -> None:
        image_of(task).state = {"status": status}

    return change


def delete_image(task: str) -> None:
    """Delete the image of an import. Its AMI stays, as with Image Builder's DeleteImage."""
    del image_builder.backends[ACCOUNT][REGION].images[image_of(task).arn]


def deregister(task: str) -> None:
    """Deregister the AMI of an import."""
    backend = vm_import.backends[ACCOUNT][REGION]
    backend.ec2.deregister_image(backend.tasks[task].answer["ImageId"])


def disable(task: str) -> None:
    """Disable the AMI of an import."""
    backend = vm_import.backends[ACCOUNT][REGION]
    backend.ec2.amis[backend.tasks[task].answer["ImageId"]].state = "disabled"


@pytest.mark.parametrize(
    ("name", "act", "outcome", "text"),
    [
        ("deprecated", set_status("DEPRECATED"), "IMAGE_AVAILABLE", "deprecated"),
        ("disabled", set_status("DISABLED"), "IMAGE_AVAILABLE", "disabled"),
        ("cancelled", set_status("CANCELLED"), "IMAGE_FAILED", "cancelled"),
        ("deleted", set_status("DELETED"), None, ""),
        ("gone", delete_image, None, ""),
        ("no-ami", deregister, "IMAGE_FAILED", "was deregistered"),
        ("disabled-ami", disable, "IMAGE_FAILED", "is disabled"),
    ],
)
@pytest.mark.parametrize("is_available", [False, True], ids=["in progress", "available"])
def test_what_others_do_before_the_image_is_reported(  # noqa: PLR0913 - fixtures, and the columns of a table
    aws: LocalAws,
    notifications: Notifications,
    name: str,
    act: Callable[[str], None],
    outcome: str | None,
    text: str,
    *,
    is_available: bool,
) -> None:
    """An image or AMI that others change before the report has one notification of what it is then, or none."""
    task = start_import(aws, f"exports/{name}-{is_available}-1.0.ova")
    finish_imports_without_events(aws)
    assert invoke(aws, {"importTaskId": task})["outcome"] == "REGISTERED"
    if is_available:
        finish_imports_without_events(aws)
    act(task)
    finish_imports_without_events(aws)
    aws.fire_schedules()
    # Until then AWS may show later what it does not show now.
    age_records(aws, timedelta(hours=1))
    for _ in range(2):
        aws.fire_schedules()
    found = notifications.about(task)
    assert [kind for kind, *_ in found] == ([outcome] if outcome else [])
    assert all(text in body for *_, body in found)
    assert invoke(aws, {"importTaskId": task})["outcome"] == "ALREADY_REGISTERED"


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("then-deprecated", set_status("DEPRECATED")),
        ("then-deleted", delete_image),
        ("then-no-ami", deregister),
        ("then-disabled-ami", disable),
    ],
)
def test_what_others_do_after_the_report(
    aws: LocalAws, notifications: Notifications, name: str, act: Callable[[str], None]
) -> None:
    """An image or AMI that others change after its report is not reported again, and the import stays registered."""
    task = start_import(aws, f"exports/{name}-1.0.ova")
    finish_imports(aws)
    act(task)
    age_records(aws, timedelta(hours=1))
    for _ in range(2):
        aws.fire_schedules()
    assert [kind for kind, *_ in notifications.about(task)] == ["IMAGE_AVAILABLE"]
    assert len(builds(aws, name)) == (0 if act is delete_image else 1)


def test_a_tag_of_this_system_makes_no_image_that_of_an_import(aws: LocalAws) -> None:
    """An image of another import with the tags of this system leaves the import its own image."""
    other = start_import(aws, "exports/theirs-1.0.ova")
    finish_imports(aws)
    task = start_import(aws, "exports/ours-1.0.ova")
    image_of(other).tags["vm-image-import:task-id"] = task
    finish_imports(aws)
    aws.fire_schedules()
    assert len(builds(aws, "ours")) == 1
    assert len(builds(aws, "theirs")) == 1
