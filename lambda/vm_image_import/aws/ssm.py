"""AWS Systems Manager: the parameters."""

from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from vm_image_import.aws.session import code, member, translate_errors

if TYPE_CHECKING:
    from types_boto3_ssm import SSMClient

_PARAMETER_NOT_FOUND: Final = "ParameterNotFound"


class ParameterStore:
    """The parameters of AWS Systems Manager."""

    def __init__(self, client: "SSMClient") -> None:
        self._client = client

    def find(self, name: str) -> str | None:
        """Return the value of a parameter, or None. Raises TransientError or PermanentError."""
        with translate_errors():
            try:
                answer = self._client.get_parameter(Name=name)
            except ClientError as error:
                if code(error) == _PARAMETER_NOT_FOUND:
                    return None
                raise
        return str(member(answer, "Parameter")["Value"])

    def put_ami(self, name: str, ami_id: str, description: str) -> None:
        """Write the id of an AMI, which Systems Manager checks only after it has answered.

        Raises TransientError or PermanentError.
        """
        with translate_errors():
            self._client.put_parameter(
                Name=name,
                Value=ami_id,
                Description=description,
                Type="String",
                DataType="aws:ec2:image",
                Overwrite=True,
            )
