"""An upgrade from the versions before 1.0, whose records have other ids: images are found by their AMIs."""

import hashlib
import json

import pytest

from local.aws.local_aws import ACCOUNT, LocalAws
from tests.e2e.conftest import (
    Notifications,
    builds,
    finish_imports,
    finish_imports_without_events,
    invoke,
    physical_id,
    start_import,
)

pytestmark = pytest.mark.acceptance


def register_as_before(aws: LocalAws, task: str, name: str) -> str:
    """Register an import, and record it, as versions before 1.0 did. Return the ARN of its image."""
    (described,) = aws.client("ec2").describe_import_image_tasks(ImportTaskIds=[task])["ImportImageTasks"]
    ami = described["ImageId"]
    arn: str = aws.client("imagebuilder").import_vm_image(
        name=name,
        semanticVersion="1.4.2",
        platform="Linux",
        vmImportTaskId=task,
        clientToken=f"{task}-before",
        tags={"vm-image-import:task-id": task, "vm-image-import:ami-id": ami},
    )["imageArn"]
    record = json.dumps({"arn": arn, "ami_id": ami, "notified": True, "tagged": True, "request_id": "before"})
    item = {
        "id": f"registered#{hashlib.md5(task.encode(), usedforsecurity=False).hexdigest()}",
        "status": "COMPLETED",
        "data": json.dumps(record),
    }
    aws.client("dynamodb").put_item(
        TableName=physical_id(aws, "AWS::DynamoDB::Table"), Item={key: {"S": value} for key, value in item.items()}
    )
    return arn


@pytest.mark.parametrize("is_available", [True, False], ids=["available", "pending"])
def test_an_image_of_the_version_before_stays_the_only_one(
    aws: LocalAws, notifications: Notifications, *, is_available: bool
) -> None:
    """An import that the version before registered gets no second image, and its image is reported once."""
    name = f"before-{is_available}".lower()
    task = start_import(aws, f"exports/{name}-1.4.2.ova")
    finish_imports_without_events(aws)
    arn = register_as_before(aws, task, name)
    if is_available:
        finish_imports_without_events(aws)
    for _ in range(3):
        aws.fire_schedules()
        finish_imports(aws)
    assert [image["arn"] for image in builds(aws, name)] == [arn]
    assert f":{ACCOUNT}:image/{name}/1.4.2/1" in arn
    assert invoke(aws, {"importTaskId": task})["outcome"] == "ALREADY_REGISTERED"
    assert [outcome for outcome, *_ in notifications.about(task)] == ["IMAGE_AVAILABLE"]
