"""How the local AWS reads policies: as IAM does, or not at all."""

import pytest

from local.aws import iam
from local.aws.iam import Need

READ = {"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::bucket/*"}
NEED = Need("s3:GetObject", "arn:aws:s3:::bucket/a/b.txt", {"aws:SourceAccount": "1", "aws:SecureTransport": "true"})


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
        ({"Effect": "Deny"}, False),
    ],
)
def test_a_statement_is_read_as_iam_does(changes: dict[str, object], allowed: bool) -> None:  # noqa: FBT001 - a column
    """Actions and keys have no case, `*` goes over slashes, and every condition has to hold."""
    assert iam.allows([{**READ, **changes}], NEED) == allowed


def test_a_denial_wins() -> None:
    """Whatever else is allowed; and what nothing is said about is not allowed."""
    assert not iam.allows([READ, {**READ, "Effect": "Deny", "Resource": "*"}], NEED)
    assert not iam.allows([], NEED)


@pytest.mark.parametrize(
    ("principal", "allowed"),
    [
        ("*", True),
        ({"Service": "a.amazonaws.com"}, True),
        ({"Service": "b.amazonaws.com"}, False),
        ({"AWS": "*"}, True),
    ],
)
def test_a_resources_policy_names_who(principal: object, *, allowed: bool) -> None:
    """Another service is not meant."""
    assert iam.allows([{**READ, "Principal": principal}], NEED, "a.amazonaws.com") == allowed


@pytest.mark.parametrize(
    "changes", [{"NotAction": "s3:*"}, {"Condition": {"IpAddress": {"aws:SourceIp": "::1"}}}, {"NotResource": "*"}]
)
def test_what_is_not_known_is_loud(changes: dict[str, object]) -> None:
    """A guess would make every proof worthless."""
    with pytest.raises(NotImplementedError):
        iam.allows([{**READ, **changes}], NEED)
