"""The local Image Builder behaves as AWS documents for imported images, and has the same limits."""

import importlib
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from local.aws import common, image_builder, vm_import
from local.aws.common import Event
from local.aws.constraints import check, message
from local.aws.switches import Switches, use
from tests.conftest import ACCOUNT, REGION, client

ARN = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image"
REQUEST: dict[str, Any] = {
    "name": "web-server",
    "semanticVersion": "1.4.2",
    "platform": "Linux",
    "vmImportTaskId": "import-ami-0123456789abcdef0",
    "clientToken": "token",
}


def start_import(**metadata: str) -> str:
    """Start the import of a disk with this metadata and return the task's id."""
    s3 = client("s3")
    s3.create_bucket(Bucket="vm-exports")
    s3.put_object(Bucket="vm-exports", Key="web.ova", Body=b"disk", Metadata=metadata)
    disk = {"UserBucket": {"S3Bucket": "vm-exports", "S3Key": "web.ova"}}
    return str(client("ec2").import_image(DiskContainers=[disk])["ImportTaskId"])


def finish_imports() -> None:
    """Advance every import until it has ended."""
    for _ in range(8):
        vm_import.advance(ACCOUNT, REGION)


def advance() -> list[Event]:
    """Update every image from its import task."""
    return image_builder.advance(ACCOUNT, REGION)


def register(task_id: str, **params: object) -> str:
    """Call ImportVmImage, by default with a new client token, and return the image's ARN."""
    with_token = {**REQUEST, "vmImportTaskId": task_id, **params}
    if "clientToken" not in params:
        del with_token["clientToken"]
    return str(client("imagebuilder").import_vm_image(**with_token)["imageArn"])


def available(**params: object) -> str:
    """Return the ARN of an image that is AVAILABLE."""
    task_id = start_import()
    finish_imports()
    arn = register(task_id, **params)
    advance()
    return arn


def get(arn: str) -> dict[str, Any]:
    """Return the image of GetImage."""
    return dict(client("imagebuilder").get_image(imageBuildVersionArn=arn)["image"])


def error_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    """Return the code and the HTTP status of an error."""
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.usefixtures("local_aws_mode")
def test_an_image_starts_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    """ImportVmImage answers with the build version ARN, and the image is PENDING during its import task."""
    monkeypatch.setattr(common, "clock", lambda: datetime(2026, 11, 23, 10, 15, tzinfo=UTC))
    optional = {
        "osVersion": "Ubuntu 22.04",
        "tags": {"team": "web"},
        "loggingConfiguration": {"logGroupName": "/aws/imagebuilder/web"},
    }
    task_id = start_import()
    request = {**REQUEST, "vmImportTaskId": task_id, **optional, "description": "Web"}
    answer = client("imagebuilder").import_vm_image(**request)
    assert answer["imageArn"] == f"{ARN}/web-server/1.4.2/1"
    assert answer["clientToken"] == "token"
    assert advance() == []
    assert get(answer["imageArn"]) == {
        "arn": answer["imageArn"],
        "type": "AMI",
        "name": "web-server",
        "version": "1.4.2/1",
        "platform": "Linux",
        "state": {"status": "PENDING"},
        "dateCreated": "2026-11-23T10:15:00.000Z",
        "outputResources": {"amis": []},
        "buildType": "IMPORT",
        **optional,
    }


@pytest.mark.usefixtures("local_aws_mode")
def test_an_image_becomes_available_with_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the task is completed, the image is AVAILABLE with the task's AMI, and there is one event."""
    monkeypatch.setattr(common, "clock", lambda: datetime(2026, 11, 23, 10, 20, 56, tzinfo=UTC))
    task_id = start_import()
    arn = register(task_id)
    for _ in range(7):
        vm_import.advance(ACCOUNT, REGION)
    assert advance() == []
    vm_import.advance(ACCOUNT, REGION)
    (event,) = advance()
    assert event == {
        "version": "0",
        "id": event["id"],
        "detail-type": "EC2 Image Builder Image State Change",
        "source": "aws.imagebuilder",
        "account": ACCOUNT,
        "time": "2026-11-23T10:20:56Z",
        "region": REGION,
        "resources": [arn],
        "detail": {"previous-state": {"status": "PENDING"}, "state": {"status": "AVAILABLE"}},
    }
    assert advance() == []
    (ami,) = client("ec2").describe_images(Owners=["self"])["Images"]
    image = get(arn)
    assert image["state"] == {"status": "AVAILABLE"}
    assert "tags" not in image
    assert image["outputResources"]["amis"] == [
        {"region": REGION, "image": ami["ImageId"], "name": task_id, "accountId": ACCOUNT}
    ]


@pytest.mark.parametrize("end", ["failed", "cancelled", "expired"])
@pytest.mark.usefixtures("local_aws_mode")
def test_an_image_fails_with_its_task(end: str) -> None:
    """The image of a failed, cancelled or expired task is FAILED with the task's reason, and there is one event."""
    task_id = start_import(**{"status-message": "ClientError: Unsupported kernel version 4.15.0"})
    arn = register(task_id)
    if end == "expired":
        vm_import.backends[ACCOUNT][REGION].expire(task_id)
    elif end == "cancelled":
        client("ec2").cancel_import_task(ImportTaskId=task_id)
    finish_imports()
    (event,) = advance()
    assert event["resources"] == [arn]
    assert event["detail"] == {"previous-state": {"status": "PENDING"}, "state": {"status": "FAILED"}}
    state = get(arn)["state"]
    assert state["status"] == "FAILED"
    reason = {"failed": "Unsupported kernel version", "cancelled": "cancellation", "expired": "does not exist"}[end]
    assert task_id in state["reason"]
    assert reason in state["reason"]


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"name": "x" * 1025}, "at 'name' .* length less than or equal to 1024"),
        ({"name": "x" * 129}, "at 'name' .* regular expression pattern"),
        ({"name": "ab"}, "at 'name' .* regular expression pattern"),
        ({"name": "web/server"}, "at 'name' .* regular expression pattern"),
        ({"name": " web"}, "at 'name' .* regular expression pattern"),
        ({"name": "web-server\n"}, "at 'name' .* regular expression pattern"),
        ({"name": "wéb-server"}, "at 'name' .* regular expression pattern"),
        ({"semanticVersion": "1.4"}, "at 'semanticVersion' .* regular expression pattern"),
        ({"semanticVersion": "1.4.2-rc1"}, "at 'semanticVersion' .* regular expression pattern"),
        ({"semanticVersion": "1.4.2\n"}, "at 'semanticVersion' .* regular expression pattern"),
        ({"semanticVersion": "\N{ARABIC-INDIC DIGIT ONE}.4.2"}, "at 'semanticVersion' .* regular expression pattern"),
        ({"semanticVersion": "1.4.1073741824"}, "at 'semanticVersion' .* less than or equal to 1073741823"),
        ({"platform": "linux"}, r"at 'platform' .* enum value set: \[Windows, Linux, macOS\]"),
        ({"vmImportTaskId": "x" * 1025}, "at 'vmImportTaskId' .* length less than or equal to 1024"),
        ({"clientToken": "x" * 65}, "at 'clientToken' .* length less than or equal to 64"),
        ({"description": "x" * 1025}, "at 'description' .* length less than or equal to 1024"),
        ({"loggingConfiguration": {"logGroupName": "/aws/imagebuilder/a b"}}, "logGroupName' .* pattern"),
        ({"loggingConfiguration": {"logGroupName": "/aws/imagebuilder/" + "x" * 500}}, "logGroupName' .* 512"),
        ({"loggingConfiguration": {"logGroupName": "/my/logs"}}, "logGroupName' .* begin with /aws/imagebuilder/"),
        ({"tags": {str(number): "" for number in range(51)}}, "at 'tags' .* length less than or equal to 50"),
        ({"tags": {"aws:created-by": "x"}}, "at 'tags' .* Map keys must satisfy .* pattern"),
        ({"tags": {"semi;colon": "x"}}, "at 'tags' .* Map keys must satisfy .* pattern"),
        ({"tags": {"no\N{NO-BREAK SPACE}break": "x"}}, "at 'tags' .* Map keys must satisfy .* pattern"),
        ({"tags": {"x" * 129: "x"}}, "at 'tags' .* Map keys must satisfy .* less than or equal to 128"),
        ({"tags": {"key": "x" * 257}}, "at 'tags' .* Map value must satisfy .* less than or equal to 256"),
    ],
)
@pytest.mark.usefixtures("local_aws_mode")
def test_constraints_that_only_the_service_checks(change: dict[str, Any], constraint: str) -> None:
    """A request that boto3 sends and AWS refuses is a ClientException with the parameter, and makes no image."""
    imagebuilder = client("imagebuilder")
    request = {**REQUEST, "vmImportTaskId": start_import(), **change}
    with pytest.raises(imagebuilder.exceptions.ClientException) as error:
        imagebuilder.import_vm_image(**request)
    assert error_of(error) == ("ClientException", 400)
    assert re.search(constraint, error.value.response["Error"]["Message"], re.DOTALL)
    assert imagebuilder.list_images()["imageVersionList"] == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": ""}, "at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1"),
        ({"name": None}, "Value null at 'name' failed to satisfy constraint: Member must not be null"),
        ({"description": ""}, "length greater than or equal to 1"),
        ({"osVersion": ""}, "length greater than or equal to 1"),
        ({"tags": {}}, "length greater than or equal to 1"),
        ({"tags": {"": "x"}}, "Map keys must satisfy constraint: [Member must have length greater"),
        ({"description": 7}, "must be of type string"),
        ({"tags": ["web"]}, "must be of type map"),
        ({"dryRun": True}, "Unknown parameter 'dryRun'"),
        ({"loggingConfiguration": {"group": "x"}}, "Unknown parameter 'loggingConfiguration.group'"),
    ],
)
def test_constraints_that_boto3_checks_too(change: dict[str, Any], problem: str) -> None:
    """`check` also finds what boto3 checks before it sends a request."""
    (found,) = check("imagebuilder", "ImportVmImage", {**REQUEST, **change})
    assert problem in found


@pytest.mark.parametrize(
    ("operation", "params", "problem"),
    [
        ("ListImages", {"maxResults": 0}, "value greater than or equal to 1"),
        ("ListImages", {"maxResults": 101}, "value less than or equal to 100"),
        ("ListImageBuildVersions", {"maxResults": 101}, "value less than or equal to 100"),
        ("ListImages", {"maxResults": True}, "must be of type integer"),
        ("ListImages", {"filters": [{"name": "a"}, {"name": "b c"}]}, "at 'filters.2.member.name'"),
    ],
)
def test_constraints_of_numbers_and_lists(operation: str, params: dict[str, Any], problem: str) -> None:
    """`check` finds numbers out of bounds, and violations inside a list with their position."""
    (found,) = check("imagebuilder", operation, params)
    assert problem in found


def test_one_error_for_all_violations() -> None:
    """One message has all violations of a request."""
    problems = check("imagebuilder", "ImportVmImage", {**REQUEST, "platform": "BSD", "description": ""})
    assert len(problems) == 2
    assert message(problems).startswith("2 validation errors detected: Value ")
    assert message(problems[:1]).startswith("1 validation error detected: Value ")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a-b"},
        {"name": "Windows Server 2019"},
        {"name": "x" * 128},
        {"semanticVersion": "2021.01.01"},
        {"semanticVersion": "0.0.1073741823"},
        {"semanticVersion": "00000000000001.0.0"},
        {"description": "ü" * 1024},
        {"clientToken": "x" * 64},
        {"tags": {f"vm-image-import:{number}": "" for number in range(50)}},
        {"tags": {"a key_.:/=+-@1": "x" * 256}},
        {"platform": "macOS"},
    ],
)
@pytest.mark.usefixtures("local_aws_mode")
def test_values_at_a_limit(change: dict[str, Any]) -> None:
    """Values at a limit are accepted and returned unchanged."""
    arn = register(start_import(), **change)
    image = get(arn)
    assert {name: image[name] for name in change if name in image} == {
        name: value for name, value in change.items() if name in image
    }


@pytest.mark.usefixtures("local_aws_mode")
def test_equal_names() -> None:
    """Names that differ only in case, spaces and underscores share the ARN and the build numbers."""
    task_id = start_import()
    assert register(task_id, name="Web Server") == f"{ARN}/web-server/1.4.2/1"
    assert register(task_id, name="web_server") == f"{ARN}/web-server/1.4.2/2"
    assert register(task_id, name="WEB-SERVER") == f"{ARN}/web-server/1.4.2/3"
    assert register(task_id, name="web-server", semanticVersion="1.4.3") == f"{ARN}/web-server/1.4.3/1"
    assert register(task_id, name="webserver") == f"{ARN}/webserver/1.4.2/1"
    assert get(f"{ARN}/web-server/1.4.2/1")["name"] == "Web Server"


@pytest.mark.usefixtures("local_aws_mode")
def test_client_token() -> None:
    """The same client token gets the original answer and makes no image; with other parameters it is an error."""
    imagebuilder = client("imagebuilder")
    request = {**REQUEST, "vmImportTaskId": start_import()}
    first = imagebuilder.import_vm_image(**request)
    again = imagebuilder.import_vm_image(**request)
    assert {**again, "ResponseMetadata": None} == {**first, "ResponseMetadata": None}
    assert len(imagebuilder.list_image_build_versions()["imageSummaryList"]) == 1
    with pytest.raises(imagebuilder.exceptions.IdempotentParameterMismatchException) as error:
        imagebuilder.import_vm_image(**{**request, "description": "other"})
    assert error_of(error) == ("IdempotentParameterMismatchException", 400)


@pytest.mark.parametrize("task", ["unknown", "failed"])
@pytest.mark.usefixtures("local_aws_mode")
def test_tasks_that_cannot_be_imported(task: str) -> None:
    """An unknown or failed task is an error of ImportVmImage, or an image that fails later, by a switch."""
    task_id = REQUEST["vmImportTaskId"]
    if task == "failed":
        task_id = start_import(**{"status-message": "ClientError: No valid partitions. Not a valid volume."})
        finish_imports()
    with pytest.raises(ClientError) as error:
        register(task_id)
    assert error_of(error) == ("ClientException", 400)
    with use(Switches(failed_task_fails_later=True)):
        arn = register(task_id)
    assert get(arn)["state"]["status"] == "PENDING"
    assert len(advance()) == 1
    assert get(arn)["state"]["status"] == "FAILED"


@pytest.mark.usefixtures("local_aws_mode")
def test_unknown_images() -> None:
    """The ARN of no image is not found, and what is not an ARN is invalid."""
    imagebuilder = client("imagebuilder")
    arn = f"{ARN}/web-server/1.4.2/1"
    requests: list[tuple[str, dict[str, Any]]] = [
        ("get_image", {"imageBuildVersionArn": arn}),
        ("get_image", {"imageBuildVersionArn": f"{ARN}/web-server/x.x.x"}),
        ("tag_resource", {"resourceArn": arn, "tags": {"a": "b"}}),
        ("untag_resource", {"resourceArn": arn, "tagKeys": ["a"]}),
        ("list_tags_for_resource", {"resourceArn": arn}),
    ]
    for operation, params in requests:
        with pytest.raises(imagebuilder.exceptions.ResourceNotFoundException) as error:
            getattr(imagebuilder, operation)(**params)
        assert error_of(error) == ("ResourceNotFoundException", 404)
    with pytest.raises(ClientError) as refused:
        get("web-server")
    assert error_of(refused) == ("ClientException", 400)
    with pytest.raises(ClientError) as refused:
        imagebuilder.tag_resource(resourceArn="web-server", tags={"a": "b"})
    assert error_of(refused) == ("InvalidParameterException", 400)


@pytest.mark.usefixtures("local_aws_mode")
def test_wildcards_in_a_version() -> None:
    """An ARN with `x` nodes, or without a build, is the last build of the highest AVAILABLE version."""
    for version in ("1.9.0", "1.10.0", "1.10.0", "1.2.0"):
        available(semanticVersion=version)
    available(name="web-server-2", semanticVersion="8.0.0")
    register(start_import(), semanticVersion="9.0.0")
    for wanted, version in {"x.x.x": "1.10.0/2", "1.x.x": "1.10.0/2", "1.9.x": "1.9.0/1", "1.2.0": "1.2.0/1"}.items():
        assert get(f"{ARN}/web-server/{wanted}")["version"] == version


@pytest.mark.usefixtures("local_aws_mode")
def test_list_images() -> None:
    """ListImages has one entry for each version, without the build, and none for another owner."""
    task_id = start_import()
    for version in ("1.0.0", "1.0.0", "2.0.0"):
        register(task_id, semanticVersion=version, osVersion="Ubuntu 22.04")
    imagebuilder = client("imagebuilder")
    first, second = imagebuilder.list_images(owner="Self")["imageVersionList"]
    assert first == {
        "arn": f"{ARN}/web-server/1.0.0",
        "name": "web-server",
        "type": "AMI",
        "version": "1.0.0",
        "platform": "Linux",
        "osVersion": "Ubuntu 22.04",
        "owner": ACCOUNT,
        "dateCreated": first["dateCreated"],
        "buildType": "IMPORT",
    }
    assert second["version"] == "2.0.0"
    assert imagebuilder.list_images(owner="Amazon")["imageVersionList"] == []


@pytest.mark.parametrize(
    ("filters", "versions"),
    [
        ({"name": ["web-server"]}, ["1.0.0", "2.0.0"]),
        ({"name": ["web-server", "mail-gw"]}, ["1.0.0", "2.0.0", "3.0.0"]),
        ({"name": ["web-server"], "version": ["2.0.0"]}, ["2.0.0"]),
        ({"platform": ["Windows"]}, ["3.0.0"]),
        ({"osVersion": ["Ubuntu 22.04"]}, ["2.0.0"]),
        ({"type": ["DOCKER"]}, []),
        ({"type": ["AMI"]}, ["1.0.0", "2.0.0", "3.0.0"]),
    ],
)
@pytest.mark.usefixtures("local_aws_mode")
def test_filters(filters: dict[str, list[str]], versions: list[str]) -> None:
    """A listed image has one of the values of every filter."""
    task_id = start_import()
    register(task_id, semanticVersion="1.0.0")
    register(task_id, semanticVersion="2.0.0", osVersion="Ubuntu 22.04")
    register(task_id, semanticVersion="3.0.0", name="mail-gw", platform="Windows")
    listed = client("imagebuilder").list_images(
        filters=[{"name": name, "values": values} for name, values in filters.items()]
    )
    assert [image["version"] for image in listed["imageVersionList"]] == versions


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"filters": [{"name": "colour", "values": ["blue"]}]}, "InvalidRequestException"),
        ({"filters": [{"name": "name", "values": ["a;b"]}]}, "ClientException"),
        ({"owner": "Me"}, "ClientException"),
        ({"maxResults": 101}, "ClientException"),
        ({"nextToken": "nonsense"}, "InvalidPaginationTokenException"),
    ],
)
@pytest.mark.usefixtures("local_aws_mode")
def test_invalid_lists(request_: dict[str, Any], code: str) -> None:
    """An invalid filter, owner, size or token of ListImages is an error."""
    with pytest.raises(ClientError) as error:
        client("imagebuilder").list_images(**request_)
    assert error_of(error) == (code, 400)


@pytest.mark.usefixtures("local_aws_mode")
def test_pages() -> None:
    """Pages have 25 entries or fewer as requested, and together every entry once."""
    task_id = start_import()
    for patch in range(27):
        register(task_id, semanticVersion=f"1.0.{patch}")
    imagebuilder = client("imagebuilder")
    everything = [f"1.0.{patch}" for patch in range(27)]
    for size, lengths in ({}, [25, 2]), ({"PageSize": 20}, [20, 7]):
        pages = list(imagebuilder.get_paginator("list_images").paginate(PaginationConfig=size))
        assert [len(page["imageVersionList"]) for page in pages] == lengths
        assert [image["version"] for page in pages for image in page["imageVersionList"]] == everything


@pytest.mark.usefixtures("local_aws_mode")
def test_list_image_build_versions() -> None:
    """ListImageBuildVersions has every build of a version, or of all, with state, tags and output resources."""
    first = available(tags={"team": "web"})
    available(semanticVersion="1.4.3")
    second = register(start_import())
    imagebuilder = client("imagebuilder")
    builds = imagebuilder.list_image_build_versions(imageVersionArn=f"{ARN}/web-server/1.4.2")["imageSummaryList"]
    assert [build["arn"] for build in builds] == [first, second]
    assert [build["version"] for build in builds] == ["1.4.2/1", "1.4.2/2"]
    assert [build["state"]["status"] for build in builds] == ["AVAILABLE", "PENDING"]
    assert [len(build["outputResources"]["amis"]) for build in builds] == [1, 0]
    assert builds[0]["tags"] == {"team": "web"}
    page = imagebuilder.list_image_build_versions(maxResults=2)
    rest = imagebuilder.list_image_build_versions(nextToken=page["nextToken"])
    assert [len(page["imageSummaryList"]), len(rest["imageSummaryList"])] == [2, 1]
    assert "nextToken" not in rest


@pytest.mark.usefixtures("local_aws_mode")
def test_a_disk_can_ask_for_trouble() -> None:
    """The metadata of a disk makes its image fail with a reason, or ImportVmImage with an error code."""
    task = start_import(**{"image-reason": "It cannot be distributed."})
    arn = register(task)
    finish_imports()
    advance()
    state = client("imagebuilder").get_image(imageBuildVersionArn=arn)["image"]["state"]
    assert state == {"status": "FAILED", "reason": "It cannot be distributed."}
    refused = start_import(**{"import-vm-image-error": "ServiceQuotaExceededException"})
    finish_imports()
    with pytest.raises(ClientError, match="ServiceQuotaExceededException"):
        register(refused)


@pytest.mark.usefixtures("local_aws_mode")
def test_a_deleted_image() -> None:
    """DeleteImage removes one build, whose AMI stays; the others keep their numbers."""
    task_id = start_import()
    finish_imports()
    first, second = register(task_id), register(task_id)
    advance()
    assert client("imagebuilder").delete_image(imageBuildVersionArn=first)["imageBuildVersionArn"] == first
    for operation in ("get_image", "delete_image"):
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            getattr(client("imagebuilder"), operation)(imageBuildVersionArn=first)
    assert get(second)["arn"] == second
    assert register(task_id).endswith("/3")
    assert len(client("ec2").describe_images(Owners=["self"])["Images"]) == 1


@pytest.mark.parametrize("status", ["PENDING", "importing", "BUILDING", "INTEGRATING"])
@pytest.mark.usefixtures("local_aws_mode")
def test_a_running_build_is_not_deleted(status: str) -> None:
    """DeleteImage refuses an image whose build is still running."""
    arn = available()
    image_builder.backends[ACCOUNT][REGION].images[arn].state = {"status": status}
    with pytest.raises(ClientError, match="is still running") as error:
        client("imagebuilder").delete_image(imageBuildVersionArn=arn)
    assert error_of(error) == ("ResourceDependencyException", 400)
    assert get(arn)["state"]["status"] == status


@pytest.mark.usefixtures("local_aws_mode")
def test_tags() -> None:
    """Tags can be added, replaced and removed; more than 50 and reserved keys are an error."""
    imagebuilder = client("imagebuilder")
    arn = register(start_import(), tags={"team": "web", "stage": "test"})
    imagebuilder.tag_resource(resourceArn=arn, tags={"stage": "production", "owner": "Ada"})
    imagebuilder.untag_resource(resourceArn=arn, tagKeys=["team", "missing"])
    expected = {"stage": "production", "owner": "Ada"}
    assert imagebuilder.list_tags_for_resource(resourceArn=arn)["tags"] == expected
    assert get(arn)["tags"] == expected
    with pytest.raises(imagebuilder.exceptions.InvalidParameterException):
        imagebuilder.tag_resource(resourceArn=arn, tags={str(number): "" for number in range(49)})
    with pytest.raises(imagebuilder.exceptions.InvalidParameterException):
        imagebuilder.tag_resource(resourceArn=arn, tags={"aws:x": ""})
    assert imagebuilder.list_tags_for_resource(resourceArn=arn)["tags"] == expected


@pytest.mark.usefixtures("local_aws_mode")
def test_regions_are_separate() -> None:
    """An image and an import task of one Region do not exist in another."""
    task_id = start_import()
    register(task_id)
    elsewhere = client("imagebuilder", "eu-west-1")
    assert elsewhere.list_images()["imageVersionList"] == []
    with pytest.raises(elsewhere.exceptions.ClientException):
        elsewhere.import_vm_image(**{**REQUEST, "vmImportTaskId": task_id})


def test_mock_aws_resets_it() -> None:
    """Every `mock_aws` starts without images and client tokens, and a second `install` changes nothing."""
    for _ in range(3):
        image_builder.install()
        with mock_aws():
            assert client("imagebuilder").list_images()["imageVersionList"] == []
            assert register(start_import(), clientToken="token") == f"{ARN}/web-server/1.4.2/1"


@pytest.mark.acceptance
def test_the_aws_command_line(endpoint_url: str) -> None:
    """The AWS command line imports a VM as an image, gets and tags it, and prints the error of an invalid request."""
    task_id = start_import()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "awscli", "--endpoint-url", endpoint_url, "--output", "json", "imagebuilder"]
        return subprocess.run([*command, *arguments], check=False, capture_output=True, text=True)

    request = ("--name", "Web Server", "--semantic-version", "1.4.2", "--platform", "Linux")
    imported = run("import-vm-image", *request, "--vm-import-task-id", task_id, "--tags", "team=web")
    arn = json.loads(imported.stdout)["imageArn"]
    assert arn == f"{ARN}/web-server/1.4.2/1"
    finish_imports()
    advance()
    image = json.loads(run("get-image", "--image-build-version-arn", arn).stdout)["image"]
    assert (image["state"]["status"], image["tags"]) == ("AVAILABLE", {"team": "web"})
    run("tag-resource", "--resource-arn", arn, "--tags", "stage=test")
    tags = json.loads(run("list-tags-for-resource", "--resource-arn", arn).stdout)["tags"]
    assert tags == {"team": "web", "stage": "test"}
    refused = run("import-vm-image", *request, "--vm-import-task-id", task_id, "--client-token", "x" * 65)
    assert refused.returncode != 0
    assert "(ClientException)" in refused.stderr


@pytest.mark.parametrize(
    "internal",
    [
        "moto.backend_index:backend_url_patterns",
        "moto.backends:_import_backend",
        "moto.core.base_backend:BackendDict",
        "moto.core.base_backend:BaseBackend._url_module",
        "moto.core.exceptions:ServiceException",
        "moto.core.responses:ActionResult",
        "moto.core.responses:BaseResponse._get_action",
        "moto.core.responses:BaseResponse._get_params",
        "moto.core.responses:BaseResponse.dispatch",
        "moto.core.responses:BaseResponse.get_current_account",
        "moto.core.responses:BaseResponse.parse_parameters",
        "moto.core.utils:get_service_model",
        "moto.moto_api._internal:mock_random.uuid4",
    ],
)
def test_moto_internals(internal: str) -> None:
    """Every internal of moto that the local Image Builder uses exists."""
    module, _, path = internal.partition(":")
    reduce(getattr, path.split("."), importlib.import_module(module))
