"""What moto lacks of CloudWatch Logs, SNS and Systems Manager.

Filter patterns for JSON, topics whose key is disabled, and the check of parameters that hold AMIs.
"""

import functools
import json
import re
from typing import Any, Final

from moto.ec2.models import ec2_backends
from moto.kms.models import kms_backends
from moto.logs.utils import EventMessageFilter, FilterPattern, UnsupportedFilterPattern
from moto.sns.models import SNSBackend
from moto.ssm.models import ssm_backends

from local.aws.common import ServiceError

_EQUAL: Final = re.compile(r'\{ *\$\.([\w.]+) *= *"([^"]*)" *\}')
_KEY_DISABLED: Final = "KMSDisabled"


def check_parameters(account_id: str, region: str) -> None:
    """Remove the new values of parameters of the data type `aws:ec2:image` that are no available AMI of the account.

    Systems Manager checks a value after it has answered PutParameter (API reference).
    """
    ec2 = ec2_backends[account_id][region]
    parameters = ssm_backends[account_id][region]._parameters  # noqa: SLF001 - there is no other way
    usable = {ami.id for ami in [*ec2.amis.values()] if ami.state == "available" and ami.owner_id == account_id}
    for name, versions in [*parameters.items()]:
        while versions and versions[-1].data_type == "aws:ec2:image" and versions[-1].value not in usable:
            versions.pop()
        if not versions:
            del parameters[name]


class JsonFilterPattern(FilterPattern):
    """A pattern like `{ $.level = "ERROR" }`. moto lets every message match it."""

    def __init__(self, pattern: str) -> None:
        """Read a pattern. Raises NotImplementedError for any other than a comparison of one field with text."""
        super().__init__(pattern)
        match = _EQUAL.fullmatch(pattern.strip())
        if not match:
            message = (
                f'Only filter patterns of words, or like {{ $.level = "ERROR" }}, are supported here, not {pattern}'
            )
            raise NotImplementedError(message)
        self._keys, self._value = match[1].split("."), match[2]

    def matches(self, message: str) -> bool:
        """Return whether the message is JSON whose field has the value."""
        try:
            found: Any = json.loads(message)
            for key in self._keys:
                found = found[key]
        except (ValueError, KeyError, TypeError):
            return False
        return bool(found == self._value)


@functools.cache
def install() -> None:
    """Add these to moto. A second call changes nothing."""
    read, publish = EventMessageFilter.__init__, SNSBackend.publish

    @functools.wraps(read)
    def read_pattern(self: EventMessageFilter, pattern: str) -> None:
        read(self, pattern)
        if pattern and isinstance(self.filter_type, UnsupportedFilterPattern):
            self.filter_type = JsonFilterPattern(pattern)

    @functools.wraps(publish)
    def publish_encrypted(self: SNSBackend, message: str, arn: str, *arguments: Any, **options: Any) -> str:  # noqa: ANN401 - moto's
        topic = self.topics.get(arn)
        key_id = topic.kms_master_key_id.rpartition("/")[2] if topic and topic.kms_master_key_id else ""
        key = kms_backends[self.account_id][self.region_name].keys.get(key_id)
        if key and not key.enabled:
            raise ServiceError(_KEY_DISABLED, f"{key.arn} is disabled.")
        return publish(self, message, arn, *arguments, **options)

    EventMessageFilter.__init__ = read_pattern  # type: ignore[method-assign]
    SNSBackend.publish = publish_encrypted  # type: ignore[method-assign, assignment]
