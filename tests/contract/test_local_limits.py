"""The local DynamoDB, EC2, SNS and Systems Manager refuse what AWS refuses and moto accepts."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import ACCOUNT, REGION, client
from tests.contract.test_local_image_builder import error_of

HALF = "é" * 65_536
"""Half of the bytes of a message, and a quarter of its characters."""
OUTCOME = {"outcome": {"DataType": "String", "StringValue": "FAILED"}}
"""An attribute of 19 bytes."""
ARN = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter"

pytestmark = pytest.mark.usefixtures("local_aws_mode")


def publish(**message: object) -> str:
    """Publish a message to a new topic, and return its id."""
    topic = client("sns").create_topic(Name="topic")["TopicArn"]
    return str(client("sns").publish(TopicArn=topic, **message)["MessageId"])


@pytest.mark.parametrize(
    "message",
    [
        {"Message": "text", "Subject": "é" * 99},
        {"Message": HALF * 2},
        {"Message": HALF + HALF[:-10] + "x", "MessageAttributes": OUTCOME},
        {"Message": json.dumps({"default": "", "sqs": 1}), "MessageStructure": "json"},
    ],
    ids=["subject", "bytes", "bytes with attributes", "empty default"],
)
def test_messages_at_a_limit(message: dict[str, Any]) -> None:
    """SNS takes a message of 262,144 bytes with its attributes, a subject of 99 characters, and an empty default."""
    assert publish(**message)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ({"Message": "text", "Subject": "x" * 100}, "Subject"),
        ({"Message": "text", "Subject": "two\nlines"}, "Subject"),
        ({"Message": "text", "Subject": "two\N{LINE SEPARATOR}lines"}, "Subject"),
        ({"Message": "text", "Subject": "a\ttab"}, "Subject"),
        ({"Message": HALF * 2 + "x"}, "Message too long"),
        ({"Message": HALF + HALF[:-10] + "xx", "MessageAttributes": OUTCOME}, "Message too long"),
        ({"Message": "text", "MessageStructure": "json"}, "failed to parse"),
        ({"Message": '["default"]', "MessageStructure": "json"}, "failed to parse"),
        ({"Message": '{"email": "text"}', "MessageStructure": "json"}, "No default entry"),
        ({"Message": '{"default": {"text": "text"}}', "MessageStructure": "json"}, "No default entry"),
    ],
)
def test_messages_beyond_a_limit(message: dict[str, Any], problem: str) -> None:
    """SNS refuses longer subjects and messages, control characters in a subject, and forms without a default."""
    with pytest.raises(ClientError, match=problem) as error:
        publish(**message)
    assert error_of(error) == ("InvalidParameter", 400)


def test_tags_at_a_limit() -> None:
    """EC2 takes tags with 127 characters in their key and 256 in their value."""
    ec2 = client("ec2")
    ami = ec2.register_image(Name="web")["ImageId"]
    ec2.create_tags(Resources=[ami], Tags=[{"Key": "é" * 127, "Value": "é" * 256}, {"Key": "not-aws:", "Value": ""}])
    assert len(ec2.describe_tags()["Tags"]) == 2


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ({"Key": "x" * 128, "Value": ""}, "InvalidParameterValue"),
        ({"Key": "Team", "Value": "x" * 257}, "InvalidParameterValue"),
        ({"Key": "aws:Team", "Value": "web"}, "InvalidTagKey.Malformed"),
    ],
)
def test_tags_beyond_a_limit(tag: dict[str, str], code: str) -> None:
    """CreateTags refuses longer keys and values, and keys of AWS, and makes no tag."""
    ec2 = client("ec2")
    ami = ec2.register_image(Name="web")["ImageId"]
    with pytest.raises(ClientError) as error:
        ec2.create_tags(Resources=[ami], Tags=[{"Key": "Owner", "Value": "a"}, tag])
    assert error_of(error) == (code, 400)
    assert ec2.describe_tags()["Tags"] == []


@pytest.mark.parametrize(("operation", "name"), [("describe_images", "image-id"), ("describe_tags", "resource-id")])
def test_the_number_of_filters(operation: str, name: str) -> None:
    """EC2 takes 50 filters with 200 values each, and refuses more of either."""
    describe = getattr(client("ec2"), operation)
    values = [f"ami-{number:017x}" for number in range(201)]
    filters = [{"Name": name, "Values": values[:200]}, *({"Name": f"tag:{n}", "Values": ["x"]} for n in range(50))]
    assert describe(Filters=filters[:50])
    for too_many in ([{"Name": name, "Values": values}], filters):
        with pytest.raises(ClientError) as error:
            describe(Filters=too_many)
        assert error_of(error) == ("FilterLimitExceeded", 400)


@pytest.mark.parametrize(
    "parameter",
    [
        {"Description": "x" * 1024},
        {"Name": "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/name"},
        {"Name": "/a-z/A_Z/0.9"},
        {"Name": "name"},
        {"Name": " /spaces-around "},
        {"Name": "/" + "x" * (1011 - len(f"{ARN}/"))},
    ],
)
def test_parameters_at_a_limit(parameter: dict[str, str]) -> None:
    """Systems Manager takes names of 15 levels and of 1,011 characters with their ARN."""
    assert client("ssm").put_parameter(**{"Name": "/web", "Value": "x", "Type": "String", **parameter})["Version"] == 1


@pytest.mark.parametrize(
    ("parameter", "code"),
    [
        ({"Description": "x" * 1025}, "ValidationException"),
        ({"Name": "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/name"}, "HierarchyLevelLimitExceededException"),
        ({"Name": "/web server"}, "ValidationException"),
        ({"Name": "/wéb"}, "ValidationException"),
        ({"Name": "/web\n"}, "ValidationException"),
        ({"Name": f"{ARN}/web"}, "ValidationException"),
        ({"Name": "/" + "x" * (1012 - len(f"{ARN}/"))}, "ValidationException"),
    ],
)
def test_parameters_beyond_a_limit(parameter: dict[str, str], code: str) -> None:
    """PutParameter refuses deeper, longer and other names, and descriptions of more than 1,024 characters."""
    ssm = client("ssm")
    with pytest.raises(ClientError) as error:
        ssm.put_parameter(**{"Name": "/web", "Value": "x", "Type": "String", **parameter})
    assert error_of(error) == (code, 400)
    assert ssm.describe_parameters()["Parameters"] == []


@pytest.mark.parametrize(
    ("condition", "unused"),
    [
        ({"ConditionExpression": "#a IN (:a, :b)", "ExpressionAttributeNames": {"#a": "a", "#b": "b"}}, "{#b}"),
        ({"ConditionExpression": "#a IN (:a, :b)", "ExpressionAttributeNames": {"#a": "a"}}, None),
        ({"ConditionExpression": "#a = :a", "ExpressionAttributeNames": {"#a": "a"}}, "{:b}"),
        ({}, "{:a, :b}"),
    ],
)
def test_what_a_condition_does_not_use(condition: dict[str, Any], unused: str | None) -> None:
    """DeleteItem refuses names and values that its condition does not use, and deletes nothing."""
    dynamodb = client("dynamodb")
    dynamodb.create_table(
        TableName="table",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    key, values = {"id": {"S": "1"}}, {":a": {"S": "x"}, ":b": {"S": "y"}}
    dynamodb.put_item(TableName="table", Item={**key, "a": {"S": "x"}})
    request = {"TableName": "table", "Key": key, "ExpressionAttributeValues": values, **condition}
    if unused:
        with pytest.raises(ClientError, match=f"unused in expressions: keys: {unused}") as error:
            dynamodb.delete_item(**request)
        assert error_of(error) == ("ValidationException", 400)
    else:
        dynamodb.delete_item(**request)
    assert len(dynamodb.scan(TableName="table")["Items"]) == bool(unused)
