"""Prints, as JSON, what the botocore in a folder does with the operations of the function.

No request leaves the process. It runs as a program of its own, so that no other module is imported.
"""

import json
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])

import botocore
import botocore.session
from botocore import xform_name
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.model import Shape

Json = Mapping[str, Any]

SESSION: Final = botocore.session.get_session()
SESSION.set_credentials("a", "b")
OPTIONS: Final = {"FIPS, dual stack": Config(use_fips_endpoint=True, use_dualstack_endpoint=True)}
TAG = "<tagSet><item><key>Name</key><value>web</value></item></tagSet>"
IMAGES = f"""<DescribeImagesResponse><imagesSet><item><imageId>ami-1</imageId><imageState>available</imageState>
<name>import-ami-1</name><creationDate>2026-11-23T10:15:00.000Z</creationDate><isPublic>false</isPublic>
<blockDeviceMapping><item><deviceName>/dev/sda1</deviceName><ebs><volumeSize>8</volumeSize></ebs></item>
</blockDeviceMapping>{TAG}</item></imagesSet><nextToken>t</nextToken></DescribeImagesResponse>"""
TASKS = f"""<DescribeImportImageTasksResponse><importImageTaskSet><item><importTaskId>import-ami-1</importTaskId>
<snapshotDetailSet><item><diskImageSize>1.5</diskImageSize><userBucket><s3Bucket>b</s3Bucket><s3Key>k</s3Key>
</userBucket></item></snapshotDetailSet>{TAG}</item></importImageTaskSet></DescribeImportImageTasksResponse>"""
TAGS = """<DescribeTagsResponse><tagSet><item><resourceId>ami-1</resourceId><key>Name</key><value>web</value></item>
</tagSet><nextToken>t</nextToken></DescribeTagsResponse>"""
ITEM = '{"id":{"S":"x"},"expiration":{"N":"1"},"data":{"S":"{}"}}'
KEY = {"id": {"S": "x"}}
IMAGE = "arn:aws:imagebuilder:us-east-1:123456789012:image/n/1.0.0/1"
EXAMPLES: Final[Mapping[tuple[str, str], tuple[Json, str]]] = {
    ("ec2", "DescribeImages"): ({"ImageIds": ["ami-1"], "IncludeDisabled": True}, IMAGES),
    ("ec2", "DescribeImportImageTasks"): ({"ImportTaskIds": ["import-ami-1"]}, TASKS),
    ("ec2", "DescribeTags"): ({"Filters": [{"Name": "resource-id", "Values": ["ami-1"]}]}, TAGS),
    ("ec2", "CreateTags"): (
        {"Resources": ["ami-1", "snap-1"], "Tags": [{"Key": "Name", "Value": "web"}]},
        "<CreateTagsResponse><return>true</return></CreateTagsResponse>",
    ),
    ("ssm", "GetParameter"): ({"Name": "/a/b"}, '{"Parameter":{"Name":"/a/b","Type":"String","Value":"ami-1"}}'),
    ("ssm", "GetParameterHistory"): (
        {"Name": "/a/b", "MaxResults": 50},
        '{"Parameters":[{"Name":"/a/b","Value":"ami-1","Description":"d","Version":1}],"NextToken":"t"}',
    ),
    ("ssm", "PutParameter"): (
        {"Name": "/a/b", "Value": "ami-1", "Type": "String", "DataType": "aws:ec2:image", "Overwrite": True},
        '{"Version":1,"Tier":"Standard"}',
    ),
    ("imagebuilder", "GetImage"): (
        {"imageBuildVersionArn": IMAGE},
        '{"image":{"version":"1.0.0/1","state":{"status":"AVAILABLE"},"outputResources":{"amis":[{"image":"ami-1"}]}}}',
    ),
    ("imagebuilder", "ImportVmImage"): (
        {"name": "n", "semanticVersion": "1.0.0", "platform": "Linux", "vmImportTaskId": "import-ami-1"},
        '{"requestId":"r","imageArn":"a","clientToken":"c"}',
    ),
    ("imagebuilder", "ListImageBuildVersions"): (
        {"maxResults": 100},
        '{"imageSummaryList":[{"arn":"a","buildType":"IMPORT","tags":{"k":"v"}}],"nextToken":"t"}',
    ),
    ("imagebuilder", "TagResource"): ({"resourceArn": IMAGE, "tags": {"k": "v"}}, "{}"),
    ("imagebuilder", "UntagResource"): ({"resourceArn": IMAGE, "tagKeys": ["k"]}, "{}"),
    ("dynamodb", "BatchGetItem"): (
        {"RequestItems": {"t": {"Keys": [KEY], "ConsistentRead": True}}},
        f'{{"Responses":{{"t":[{ITEM}]}},"UnprocessedKeys":{{}}}}',
    ),
    ("dynamodb", "DeleteItem"): ({"TableName": "t", "Key": KEY}, "{}"),
    ("dynamodb", "Query"): (
        {"TableName": "t", "IndexName": "open", "KeyConditionExpression": "#a = :a"},
        f'{{"Items":[{ITEM}],"Count":1}}',
    ),
    ("dynamodb", "UpdateItem"): ({"TableName": "t", "Key": KEY, "UpdateExpression": "SET #a = :a"}, "{}"),
    ("sns", "Publish"): (
        {"TopicArn": "arn", "Message": "m", "MessageAttributes": {"o": {"DataType": "String", "StringValue": "v"}}},
        "<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>",
    ),
}
ERRORS: Final = (
    *((400, "ThrottlingException"), (400, "RequestLimitExceeded"), (400, "ConditionalCheckFailedException")),
    *((400, "ProvisionedThroughputExceededException"), (400, "IdempotentParameterMismatchException")),
    *((403, "AccessDeniedException"), (429, "TooManyRequestsException"), (503, "ServiceUnavailableException")),
    *((400, "Throttling"), (500, "InternalError"), (404, "ResourceNotFoundException")),
)


class Raw:
    """A body that urllib3 would give."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self._content


class Aws:
    """Answers every request of its client in the same way, and keeps what was asked."""

    def __init__(self, service: str, region: str = "us-east-1", option: str = "") -> None:
        config = Config(retries={"mode": "standard", "total_max_attempts": 3})
        if option:
            config = config.merge(OPTIONS[option])
        self.client: Any = SESSION.create_client(service, region, config=config, verify=False)
        self.client.meta.events.register("before-send", self._answer)  # type: ignore[arg-type] # its types say that no answer counts
        self.status, self.body = 200, ""
        self.headers: dict[str, str] = {}
        self.requests: list[object] = []

    def ask(self, operation: str, parameters: Json) -> object:
        """Return the answer, or the error, and the requests."""
        self.requests = []
        try:
            answer = getattr(self.client, xform_name(operation))(**parameters)
        except Exception as error:  # noqa: BLE001 - whatever it is, it has to be the same
            answer = [type(error).__name__, str(error), getattr(error, "response", None)]
        return [answer, self.requests]

    def _answer(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        headers = {name: as_text(value) for name, value in request.headers.items()}
        # What is signed for: Region and service.
        scope = headers.pop("Authorization").split("/")[2:4]
        for changing in ("X-Amz-Date", "User-Agent", "amz-sdk-invocation-id", "amz-sdk-request"):
            headers.pop(changing, None)
        self.requests.append([request.method, request.url, headers, as_text(request.body), scope])
        return AWSResponse(request.url, self.status, HTTPHeaders.from_dict(self.headers), Raw(self.body.encode()))


def as_text(value: object) -> str:
    """Return what is bytes or text, or something like it, as text."""
    return value.decode() if isinstance(value, bytes) else str(value)


def shapes(shape: Shape | None, seen: dict[str, object]) -> dict[str, object]:
    """Return a shape, as botocore reads it, and all that it reaches."""
    if shape is not None and shape.name not in seen:
        members: dict[str, Shape] = dict(getattr(shape, "members", {}))
        members |= {name: getattr(shape, name) for name in ("member", "key", "value") if hasattr(shape, name)}
        # A member has traits of its own, besides its shape's.
        traits = {name: [each.name, each.serialization, each.metadata] for name, each in members.items()}
        seen[shape.name] = [shape.type_name, shape.serialization, shape.metadata, traits]
        for member in members.values():
            shapes(member, seen)
    return seen


def wrong(parameters: Json) -> Iterator[Json]:
    """Yield parameters with each one left out, and each one of another type or empty; and one that does not exist."""
    for name in parameters:
        yield {key: value for key, value in parameters.items() if key != name}
        yield from ({**parameters, name: value} for value in (None, 7, "", {"x": [1]}, [{"x": 1}]))
    yield {"Nonsense": 1}


def operation_report(aws: Aws, service: str, operation: str) -> Json:
    """Return all that botocore does with an operation."""
    parameters, answer = EXAMPLES[service, operation]
    model = aws.client.meta.service_model.operation_model(operation)
    reached: dict[str, object] = {"": [model.http, model.idempotent_members, model.auth_type]}
    for shape in (model.input_shape, model.output_shape, *model.error_shapes):
        shapes(shape, reached)
    aws.status, aws.headers, aws.body = 200, {}, answer
    report = {
        "shapes": reached,
        "answered": aws.ask(operation, parameters),
        "refused": [aws.ask(operation, each) for each in wrong(parameters)],
    }
    failed = []
    for status, code in ERRORS:
        # Another client: the last one's retries are paid from a purse that empties.
        failing = Aws(service)
        failing.status, failing.headers, failing.body = status, {"x-amzn-errortype": code}, error_body(service, code)
        failed.append(failing.ask(operation, parameters))
    return {**report, "failed": failed}


def endpoint(service: str, region: str, option: str, operation: str) -> object:
    """Return what is asked there, or why nothing can be."""
    parameters, answer = EXAMPLES[service, operation]
    try:
        there = Aws(service, region, option)
    except BotoCoreError as error:
        return str(error)
    there.body = answer
    return there.ask(operation, parameters)


def error_body(service: str, code: str) -> str:
    """Return an error as the service's protocol writes it."""
    error = f"<Error><Code>{code}</Code><Message>w</Message></Error>"
    xml = {"ec2": f"<Response><Errors>{error}</Errors></Response>", "sns": f"<ErrorResponse>{error}</ErrorResponse>"}
    return xml.get(service) or json.dumps({"__type": f"x#{code}", "message": "w"})


def report(operations: Mapping[str, list[str]], regions: list[str]) -> Json:
    """Return all that botocore does with these operations, by service, and with these Regions."""
    found: dict[str, Any] = {"from": str(Path(botocore.__file__).parent.parent), "known": {}, "endpoints": {}}
    for service, names in operations.items():
        aws = Aws(service)
        model = aws.client.meta.service_model
        found["known"][service] = list(model.operation_names)
        found[service] = [model.metadata, {name: aws.client.can_paginate(xform_name(name)) for name in names}]
        for operation in names:
            found[f"{service}:{operation}"] = operation_report(aws, service, operation)
        for region in regions:
            for option in ("", *OPTIONS):
                key = json.dumps([service, region, option])
                found["endpoints"][key] = endpoint(service, region, option, names[0])
    return found


if __name__ == "__main__":
    # No waiting between attempts, and the same client tokens in every run.
    time.sleep = lambda _: None
    uuid.uuid4 = lambda: uuid.UUID(int=0)
    json.dump(report(**json.load(sys.stdin)), sys.stdout, default=str)
