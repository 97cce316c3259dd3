"""AWS Systems Manager: the parameters."""

from typing import TYPE_CHECKING, Final, NamedTuple

from botocore.exceptions import ClientError

from vm_image_import.aws.session import code, member, translate_errors
from vm_image_import.domain.errors import TransientError

if TYPE_CHECKING:
    from types_boto3_ssm import SSMClient

_PARAMETER_NOT_FOUND: Final = "ParameterNotFound"
_PARAMETER_EXISTS: Final = "ParameterAlreadyExists"
AMI: Final = "aws:ec2:image"
"""The data type of a parameter that has the id of an AMI (user guide, "Native parameter support for AMI IDs")."""


class Parameter(NamedTuple):
    """A parameter, as it is now."""

    value: str
    data_type: str


class ParameterStore:
    """The parameters of AWS Systems Manager."""

    def __init__(self, client: "SSMClient") -> None:
        self._client = client

    def find(self, name: str) -> Parameter | None:
        """Return a parameter, or None. Raises TransientError or PermanentError."""
        with translate_errors():
            try:
                answer = self._client.get_parameter(Name=name)
            except ClientError as error:
                if code(error) == _PARAMETER_NOT_FOUND:
                    return None
                raise
        found = member(answer, "Parameter")
        return Parameter(str(found["Value"]), str(found.get("DataType", "")))

    def find_description(self, name: str) -> str:
        """Return the description of a parameter that exists. Raises TransientError or PermanentError."""
        with translate_errors():
            # Unlike `DescribeParameters` it can be allowed for some parameters only (service authorization reference).
            # There are at most 100 versions (API reference, `ParameterMaxVersionLimitExceeded`).
            pages = self._client.get_paginator("get_parameter_history").paginate(Name=name)
            versions = [version for page in pages for version in member(page, "Parameters")]
        return str(max(versions, key=lambda version: version["Version"]).get("Description", ""))

    def put_ami(self, name: str, ami_id: str, description: str, *, overwrite: bool) -> None:
        """Write the id of an AMI, which Systems Manager checks after it has answered (API reference, `PutParameter`).

        `overwrite` says whether the parameter may exist. Raises TransientError, also where it exists and may not, or
        PermanentError.
        """
        with translate_errors():
            try:
                self._client.put_parameter(
                    Name=name,
                    Value=ami_id,
                    Description=description,
                    Type="String",
                    DataType=AMI,
                    Overwrite=overwrite,
                )
            except ClientError as error:
                if code(error) != _PARAMETER_EXISTS:
                    raise
                # Another invocation, or another user, has written it meanwhile.
                raise TransientError(str(error)) from error
