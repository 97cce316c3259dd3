"""Limits of DynamoDB, EC2, SNS and Systems Manager that moto lacks."""

import functools
import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any, Final

from moto.dynamodb.comparisons import create_condition_expression_parser
from moto.dynamodb.exceptions import MockValidationException
from moto.dynamodb.responses import DynamoHandler
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response
from moto.ec2.responses._base_response import EC2BaseResponse
from moto.sns.exceptions import InvalidParameterValue
from moto.sns.models import SNSBackend
from moto.ssm.exceptions import ValidationException
from moto.ssm.responses import SimpleSystemManagerResponse
from moto.ssm.utils import parameter_arn

from local.aws import constraints
from local.aws.common import ServiceError

# API reference, SNS `Publish`. Its errors have the code InvalidParameter; their messages are observed.
_SUBJECT_BELOW: Final = 100
_MESSAGE_MAX: Final = 262_144
_CONTROL_OR_LINE_BREAK: Final = {"Cc", "Zl", "Zp"}
"""Categories of Unicode: control characters, which most line breaks are, and the separators of lines and paragraphs."""

# API reference, EC2 `Tag`, and its list of error codes; it names none for the lengths.
_TAG_KEY_MAX: Final = 127
_TAG_VALUE_MAX: Final = 256
_RESERVED_KEY: Final = "InvalidTagKey.Malformed"
_INVALID: Final = "InvalidParameterValue"
# User guide of EC2, "Find your Amazon EC2 resources", filtering considerations; its list of error codes.
_FILTERS_MAX: Final = 50
_FILTER_VALUES_MAX: Final = 200
_TOO_MANY_FILTERS: Final = "FilterLimitExceeded"

# API reference, Systems Manager `PutParameter`: the length is that of the name with what precedes it in the ARN.
_PARAMETER_NAME: Final = re.compile(r"[a-zA-Z0-9_.\-/]+")
_PARAMETER_ARN_MAX: Final = 1011
_PARAMETER_LEVELS_MAX: Final = 15
_TOO_DEEP: Final = "HierarchyLevelLimitExceededException"


@functools.cache
def install() -> None:
    """Let moto refuse what exceeds the limits. A second call changes nothing."""
    _refuse(DynamoHandler, "delete_item", _error_of_condition)
    _refuse(EC2Response, "create_tags", _error_of_tags)
    _refuse(SNSBackend, "publish", _error_of_message)
    _refuse(SimpleSystemManagerResponse, "put_parameter", _error_of_parameter)
    read_filters = EC2BaseResponse._filters_from_querystring  # noqa: SLF001 - there is no other way

    @functools.wraps(read_filters)
    def read_some_filters(self: EC2BaseResponse) -> dict[str, str]:
        filters = read_filters(self)
        if len(filters) > _FILTERS_MAX or any(len(values) > _FILTER_VALUES_MAX for values in filters.values()):
            message = "The request uses too many filters or too many filter values."
            raise EC2ClientError(_TOO_MANY_FILTERS, message)
        return filters

    EC2BaseResponse._filters_from_querystring = read_some_filters  # type: ignore[method-assign]  # noqa: SLF001 - as above


def _refuse(owner: type, name: str, find_error: Callable[..., Exception | None]) -> None:
    """Let a method of moto raise the error that is found in what it is called with."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def checked(self: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - moto's
        if error := find_error(self, *arguments, **options):
            raise error
        return method(self, *arguments, **options)

    setattr(owner, name, checked)


def _error_of_condition(request: DynamoHandler) -> Exception | None:
    """Find values that the condition of DeleteItem does not use. moto finds such names, and both in UpdateItem.

    It is observed, and not documented.
    """
    values = request._get_expr_attr_values()  # noqa: SLF001 - there is no other way
    names = request.body.get("ExpressionAttributeNames", {})
    condition = create_condition_expression_parser(request.body.get("ConditionExpression"), names, values)
    condition.parse()
    if not (unused := values.keys() - {*condition.expr_attr_values_found}):
        return None
    problem = (
        f"Value provided in ExpressionAttributeValues unused in expressions: keys: {{{', '.join(sorted(unused))}}}"
    )
    return MockValidationException(f"1 validation error detected: {problem}")


def _error_of_tags(request: EC2Response) -> Exception | None:
    """Find what is wrong with the tags of CreateTags. Only AWS makes tags that begin with `aws:`."""
    for tag in request._get_param("Tags", []):  # noqa: SLF001 - there is no other way
        if tag["Key"].startswith("aws:"):
            return EC2ClientError(_RESERVED_KEY, "Tag keys cannot be empty or null, and cannot start with aws:.")
        if len(tag["Key"]) > _TAG_KEY_MAX:
            return EC2ClientError(_INVALID, f"Tag key exceeds the maximum length of {_TAG_KEY_MAX} characters")
        if len(tag.get("Value", "")) > _TAG_VALUE_MAX:
            return EC2ClientError(_INVALID, f"Tag value exceeds the maximum length of {_TAG_VALUE_MAX} characters")
    return None


def _error_of_message(_: SNSBackend, message: str, *_arguments: str, **options: Any) -> Exception | None:  # noqa: ANN401 - moto's
    """Find what is wrong with the subject, the size and the forms of a message."""
    subject, attributes = options.get("subject") or "", options.get("message_attributes") or {}
    if len(subject) >= _SUBJECT_BELOW or {*map(unicodedata.category, subject)} & _CONTROL_OR_LINE_BREAK:
        return InvalidParameterValue("Invalid parameter: Subject")
    # The limit is that of body and attributes together. That names and types count is documented for SQS only.
    texts = (message, *attributes, *(text for attribute in attributes.values() for text in attribute.values()))
    if sum(len(text.encode()) for text in texts) > _MESSAGE_MAX:
        return InvalidParameterValue("Invalid parameter: Message too long")
    return _error_of_forms(message) if options.get("message_structure") == "json" else None


def _error_of_forms(message: str) -> Exception | None:
    """Find whether a message with a form for each protocol is no JSON object, or has no text `default`."""
    try:
        forms = json.loads(message)
    except ValueError:
        forms = None
    if not isinstance(forms, dict):
        return InvalidParameterValue("Invalid parameter: Message Structure - JSON message body failed to parse")
    if not isinstance(forms.get("default"), str):
        return InvalidParameterValue("Invalid parameter: Message Structure - No default entry in JSON message body")
    return None


def _error_of_parameter(request: SimpleSystemManagerResponse) -> Exception | None:
    """Find what is wrong with the name of a parameter, and with all else by botocore's model."""
    params = json.loads(request.body)
    if problems := constraints.check("ssm", "PutParameter", params):
        return ValidationException(constraints.message(problems))
    # Systems Manager removes spaces before and after it.
    name = params["Name"].strip(" ")
    if not _PARAMETER_NAME.fullmatch(name):
        return ValidationException("Parameter name: it can have only letters, digits, and the symbols . - _ and /")
    if len(parameter_arn(request.current_account, request.region, name)) > _PARAMETER_ARN_MAX:
        # With which error is not documented.
        return ValidationException(f"Parameter name: it has more than {_PARAMETER_ARN_MAX} characters with its ARN")
    if len(name.removeprefix("/").split("/")) > _PARAMETER_LEVELS_MAX:
        return ServiceError(_TOO_DEEP, f"A hierarchy can have a maximum of {_PARAMETER_LEVELS_MAX} levels.")
    return None
