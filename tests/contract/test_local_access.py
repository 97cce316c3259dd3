"""The local AWS obeys only the programs that have an access key of its run."""

import json
from collections.abc import Mapping
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.aws.local_aws import LocalAws
from tests.conftest import REGION

ROLE = "arn:aws:iam::123456789012:role/role"
CODE = {
    "Type": "AWS::Lambda::Function",
    "Properties": {
        "Code": {"ZipFile": "def handler(event, context): open('/tmp/theirs', 'w')"},
        "Handler": "index.handler",
        "Role": ROLE,
        "Runtime": "python3.13",
    },
}
CREATE_STACK = urlencode(
    {
        "Action": "CreateStack",
        "Version": "2010-05-15",
        "StackName": "theirs",
        "TemplateBody": json.dumps({"Resources": {"Code": CODE}}),
    }
)


def authorization(access_key: str) -> str:
    """Return the header of a signed request to CloudFormation."""
    scope = f"{access_key}/20261130/{REGION}/cloudformation/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"


def create_stack(aws: LocalAws, headers: Mapping[str, str]) -> tuple[int, str, set[str]]:
    """Send the request that creates a stack; return the status, the body and the names of the headers."""
    connection = HTTPConnection(urlsplit(aws.endpoint_url).netloc, timeout=60)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    try:
        connection.request("POST", "/", CREATE_STACK, {**form, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), {name.lower() for name in answer.headers}
    finally:
        connection.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://page.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "page.example"},
        {"Host": "page.example:{port}"},
        {"Host": "localhost:{port}"},
        {"Host": "127.0.0.1"},
        {"Authorization": ""},
        {"Authorization": "Basic dGVzdGluZw=="},
        {"Authorization": authorization("testing")},
        {"Authorization": authorization("AKIAIOSFODNN7EXAMPLE")},
    ],
    ids=lambda headers: "-".join(map(str, *headers.items())),
)
def test_others_cannot_create_a_stack(empty_aws: LocalAws, headers: dict[str, str]) -> None:
    """A page of another origin, a form, a foreign host and a user without the key get 403, and no stack is created."""
    port = urlsplit(empty_aws.endpoint_url).port
    changes = {name: value.format(port=port) for name, value in headers.items()}
    request = {"Authorization": authorization(empty_aws.access_key), **changes}
    status, body, answered = create_stack(empty_aws, {name: value for name, value in request.items() if value})
    assert status == 403
    assert "The local AWS" in body or "running local AWS" in body
    assert "access-control-allow-origin" not in answered
    assert empty_aws.client("cloudformation").describe_stacks()["Stacks"] == []


def test_the_key_of_the_run_is_accepted(empty_aws: LocalAws) -> None:
    """A request with the key of the run creates the stack, and no web page may read the answer."""
    status, body, answered = create_stack(empty_aws, {"Authorization": authorization(empty_aws.access_key)})
    assert status == 200, body
    assert not [name for name in answered if name.startswith("access-control")]
    assert len(empty_aws.client("cloudformation").describe_stacks()["Stacks"]) == 1


def test_each_run_has_another_key() -> None:
    """Two runs have different keys."""
    assert LocalAws().access_key != LocalAws().access_key


def test_a_key_that_sts_issued_is_accepted(empty_aws: LocalAws) -> None:
    """The temporary key of a role, as the CDK command line uses it, is accepted until the run ends."""
    issued = empty_aws.client("sts").assume_role(RoleArn=ROLE, RoleSessionName="deployment")["Credentials"]
    status, body, _ = create_stack(empty_aws, {"Authorization": authorization(issued["AccessKeyId"])})
    assert status == 200, body


@pytest.mark.parametrize("key", ["own", "other"])
def test_presigned_urls(empty_aws: LocalAws, key: str) -> None:
    """A presigned URL needs the key of the run, too."""
    s3 = empty_aws.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="object", Body=b"content")
    signer = boto3.client(
        "s3",
        region_name=REGION,
        endpoint_url=empty_aws.endpoint_url,
        config=Config(signature_version="s3v4"),
        aws_access_key_id=empty_aws.access_key if key == "own" else "testing",
        aws_secret_access_key="testing",
    )
    url = urlsplit(signer.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "object"}))
    connection = HTTPConnection(url.netloc, timeout=60)
    connection.request("GET", f"{url.path}?{url.query}")
    answer = connection.getresponse()
    found = answer.status, answer.read() == b"content"
    connection.close()
    assert found == ((200, True) if key == "own" else (403, False))


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("cloudformation", "describe_stacks"),
        ("cloudwatch", "describe_alarms"),
        ("dynamodb", "list_tables"),
        ("ec2", "describe_images"),
        ("imagebuilder", "list_images"),
        ("lambda", "list_functions"),
        ("s3", "list_buckets"),
        ("sns", "list_topics"),
        ("sqs", "list_queues"),
        ("ssm", "describe_parameters"),
        ("sts", "get_caller_identity"),
    ],
)
def test_a_refusal_says_what_to_do(empty_aws: LocalAws, service: str, operation: str) -> None:
    """A client with the key of an earlier run gets an error that says what to do, without retries."""
    client = boto3.client(
        service,
        region_name=REGION,
        endpoint_url=empty_aws.endpoint_url,
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="testing",
    )
    with pytest.raises(ClientError, match="Paste the variables") as refused:
        getattr(client, operation)()
    assert refused.value.response["Error"]["Code"] == "AccessDenied"
    assert refused.value.response["ResponseMetadata"]["RetryAttempts"] == 0
