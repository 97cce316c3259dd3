"""The local AWS evaluates policies as IAM does."""

import json
from typing import Any

import pytest

from local.aws import policies
from local.aws.local_aws import LocalAws
from local.aws.policies import AuthorizationRequest

READ = {"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::bucket/*"}
REQUEST = AuthorizationRequest(
    "s3:GetObject",
    "arn:aws:s3:::bucket/a/b.txt",
    {"aws:SourceAccount": "1", "aws:SecureTransport": "true", "aws:TagKeys": ["Name", "Team"]},
)


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({}, True),
        ({"Action": ["s3:PutObject", "S3:GETOBJECT"]}, True),
        ({"Action": "s3:Put*"}, False),
        ({"Resource": "*"}, True),
        ({"Resource": ["arn:aws:s3:::other/*", "arn:aws:s3:::bucket/a/?.txt"]}, True),
        ({"Resource": "arn:aws:s3:::bucket/a"}, False),
        ({"Resource": "arn:aws:s3:::bucket/[a-z]/b.txt"}, False),
        ({"Condition": {"StringEquals": {"AWS:SOURCEACCOUNT": ["2", "1"]}}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceAccount": "?"}}}, False),
        ({"Condition": {"StringLike": {"aws:SourceAccount": "?"}}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceAccount": "1", "aws:SourceArn": "x"}}}, False),
        ({"Condition": {"Bool": {"aws:SecureTransport": "false"}}}, False),
        ({"Condition": {"ForAllValues:StringLike": {"aws:TagKeys": ["Name", "T*"]}}}, True),
        ({"Condition": {"ForAllValues:StringEquals": {"aws:TagKeys": ["Name"]}}}, False),
        ({"Condition": {"ForAllValues:StringEquals": {"aws:RequestTag/Name": "x"}}}, True),
        ({"Condition": {"StringEquals": {"aws:TagKeys": ["Name", "Team"]}}}, False),
        ({"Condition": {"Null": {"aws:TagKeys": "false", "aws:RequestTag/Name": "true"}}}, True),
        ({"Condition": {"Null": {"aws:TagKeys": "true"}}}, False),
        ({"Effect": "Deny"}, False),
    ],
)
def test_a_statement_allows_a_request(changes: dict[str, object], allowed: bool) -> None:  # noqa: FBT001 - a column
    """Actions and keys are not case-sensitive, `*` includes slashes, and every condition has to hold."""
    assert policies.allows([{**READ, **changes}], REQUEST) == allowed


def test_a_deny_wins() -> None:
    """An explicit Deny overrides an Allow, and a request without a statement is denied."""
    assert not policies.allows([READ, {**READ, "Effect": "Deny", "Resource": "*"}], REQUEST)
    assert not policies.allows([], REQUEST)


@pytest.mark.parametrize(
    ("principal", "allowed"),
    [
        ("*", True),
        ({"Service": "a.amazonaws.com"}, True),
        ({"Service": "b.amazonaws.com"}, False),
        ({"AWS": "*"}, True),
    ],
)
def test_the_principal_of_a_resource_policy(principal: object, *, allowed: bool) -> None:
    """A resource's policy allows only the services of its principal."""
    assert policies.allows([{**READ, "Principal": principal}], REQUEST, "a.amazonaws.com") == allowed


@pytest.mark.parametrize(
    "changes", [{"NotAction": "s3:*"}, {"Condition": {"IpAddress": {"aws:SourceIp": "::1"}}}, {"NotResource": "*"}]
)
def test_what_is_not_implemented_is_an_error(changes: dict[str, object]) -> None:
    """A policy element or operator that is not implemented raises NotImplementedError."""
    with pytest.raises(NotImplementedError):
        policies.allows([{**READ, **changes}], REQUEST)


def test_a_policy_is_answered_as_json(empty_aws: LocalAws) -> None:
    """GetRolePolicy answers the document as JSON, whether CloudFormation or PutRolePolicy has put it."""
    document = {"Version": "2012-10-17", "Statement": [READ]}
    policy = {"PolicyName": "policy", "PolicyDocument": document}
    role = {"RoleName": "role", "AssumeRolePolicyDocument": {"Statement": []}, "Policies": [policy]}
    client, cloudformation = empty_aws.client("iam"), empty_aws.client("cloudformation")

    def answered() -> Any:  # noqa: ANN401 - any JSON
        return client.get_role_policy(RoleName="role", PolicyName="policy")["PolicyDocument"]

    def deploy(properties: dict[str, Any]) -> dict[str, str]:
        template = {"Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": properties}}}
        return {"StackName": "stack", "TemplateBody": json.dumps(template)}

    cloudformation.create_stack(**deploy(role))
    assert answered() == document
    document["Statement"] = [{**READ, "Effect": "Deny"}]
    cloudformation.update_stack(**deploy(role))
    assert answered() == document
    document["Statement"] = [READ]
    client.put_role_policy(RoleName="role", PolicyName="policy", PolicyDocument=json.dumps(document))
    assert answered() == document
