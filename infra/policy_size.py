"""The size of a role's inline policy, which IAM limits. A deployment would fail in the middle."""

import json
from typing import Any, Final

from aws_cdk import Stack
from aws_cdk import aws_iam as iam

from .configuration import ConfigurationError

_LIMIT: Final = 10_240
"""Characters of all inline policies of a role, without white space (IAM user guide, "IAM and AWS STS quotas")."""
_PSEUDO_PARAMETERS: Final = {"AWS::Partition": 3, "AWS::Region": 9, "AWS::AccountId": 12, "AWS::URLSuffix": 13}
"""The least characters of them: what may fit is not refused."""
_NAME: Final = 64
"""Characters of the name or ARN that CloudFormation gives a resource, about."""


def check_size(stack: Stack, document: iam.PolicyDocument) -> None:
    """Raise ConfigurationError for a document that is longer than the inline policies of a role can be."""
    size = len(json.dumps(_with_values(stack.resolve(document)), separators=(",", ":")))
    if size > _LIMIT:
        message = (
            f"The policy of the function's role would have about {size} characters, and IAM takes {_LIMIT}: write fewer"
            " or shorter allowedNames, amiTagKeys and tags."
        )
        raise ConfigurationError(message)


def _with_values(value: Any) -> Any:  # noqa: ANN401 - a template is JSON of any shape
    """Return a part of a template with text of about the right length for what CloudFormation puts in."""
    match value:
        case {"Fn::Join": [separator, parts]}:
            return separator.join(map(_with_values, parts))
        case {"Ref": name}:
            return "x" * _PSEUDO_PARAMETERS.get(name, _NAME)
        case {"Fn::GetAtt": _}:
            return "x" * _NAME
        case dict():
            return {key: _with_values(each) for key, each in value.items()}
        case list():
            return [*map(_with_values, value)]
    return value
