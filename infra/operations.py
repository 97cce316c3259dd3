"""The AWS operations that the function uses: its role allows them, and its bundle has no others."""

from collections.abc import Mapping
from typing import Final

ACTIONS: Final[Mapping[str, frozenset[str]]] = {
    "ReadImports": frozenset({"ec2:DescribeImages", "ec2:DescribeImportImageTasks"}),
    "RegisterImages": frozenset({"imagebuilder:ImportVmImage"}),
    "TagImages": frozenset({"imagebuilder:TagResource"}),
    "TrackImages": frozenset({"imagebuilder:GetImage"}),
    "FindImages": frozenset({"imagebuilder:ListImageBuildVersions"}),
    "UseIdempotencyTable": frozenset({"dynamodb:BatchGetItem", "dynamodb:DeleteItem", "dynamodb:UpdateItem"}),
    "FindOpenRegistrations": frozenset({"dynamodb:Query"}),
    "PublishNotifications": frozenset({"sns:Publish"}),
    # Only with `tagAmis`.
    "ReadTags": frozenset({"ec2:DescribeTags"}),
    "TagAmis": frozenset({"ec2:CreateTags"}),
    # Only with `keepVersions`.
    "RemoveMarks": frozenset({"imagebuilder:UntagResource"}),
    # Only with `parameterPrefix`.
    "WriteParameters": frozenset({"ssm:GetParameter", "ssm:GetParameterHistory", "ssm:PutParameter"}),
}
"""By the statement of the role that allows them."""

_PAIRS: Final = [tuple(action.split(":")) for actions in ACTIONS.values() for action in actions]
OPERATIONS: Final[Mapping[str, frozenset[str]]] = {
    service: frozenset(operation for other, operation in _PAIRS if other == service)
    for service in sorted({service for service, _ in _PAIRS})
}
"""By service. IAM names both as botocore does."""
