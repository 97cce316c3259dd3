"""What moto lacks of CloudWatch, DynamoDB, SNS and Systems Manager.

Filter patterns for JSON, the notifications of alarms, writes of one item one after the other, topics and tables whose
key is disabled, filter policies where a message has no attributes, and the check of parameters that hold AMIs. Also the
limits of these services and of EC2.
"""

import contextlib
import functools
import json
import re
import threading
from typing import TYPE_CHECKING, Any, Final

from moto.cloudwatch.models import CloudWatchBackend
from moto.core.common_types import TYPE_RESPONSE
from moto.core.exceptions import JsonRESTError
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.responses import DynamoHandler
from moto.ec2.models import ec2_backends
from moto.logs.utils import EventMessageFilter, FilterPattern, UnsupportedFilterPattern
from moto.sns.models import SNSBackend, sns_backends
from moto.sns.utils import FilterPolicyMatcher
from moto.ssm.models import Parameter, SimpleSystemManagerBackend, ssm_backends

from local.aws import keys, limits, policies
from local.aws.common import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

_EQUAL: Final = re.compile(r'\{ *\$\.([\w.]+) *= *"([^"]*)" *\}')
_CLOUDWATCH: Final = "cloudwatch.amazonaws.com"
_ACCESS_DENIED: Final = "AccessDeniedException"
_tables: Final = threading.Lock()


def unchecked_parameters(account_id: str, region: str) -> list[Parameter]:
    """Return the values of parameters of the data type `aws:ec2:image` that Systems Manager has not checked yet."""
    unchecked: list[Parameter] = vars(ssm_backends[account_id][region]).setdefault("unchecked", [])
    return unchecked


def check_parameters(account_id: str, region: str) -> None:
    """Let the parameters have their new values, if these are available AMIs of the account; drop the others.

    Systems Manager checks a value after it has answered PutParameter (API reference).
    """
    unchecked, ec2 = unchecked_parameters(account_id, region), ec2_backends[account_id][region]
    usable = {ami.id for ami in [*ec2.amis.values()] if ami.state == "available" and ami.owner_id == account_id}
    for parameter in unchecked:
        if parameter.value in usable:
            ssm_backends[account_id][region]._parameters[parameter.name].append(parameter)  # noqa: SLF001 - there is no other way
    unchecked.clear()


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
    read, publish, put = EventMessageFilter.__init__, SNSBackend.publish, SimpleSystemManagerBackend.put_parameter
    matches = FilterPolicyMatcher.matches

    @functools.wraps(read)
    def read_pattern(self: EventMessageFilter, pattern: str) -> None:
        read(self, pattern)
        if pattern and isinstance(self.filter_type, UnsupportedFilterPattern):
            self.filter_type = JsonFilterPattern(pattern)

    @functools.wraps(publish)
    def publish_encrypted(self: SNSBackend, message: str, arn: str, *arguments: Any, **options: Any) -> str:  # noqa: ANN401 - moto's
        topic = self.topics.get(arn)
        if topic:
            keys.check(keys.find(self.account_id, self.region_name, topic.kms_master_key_id), {})
        return publish(self, message, arn, *arguments, **options)

    @functools.wraps(matches)
    def matches_attributes(self: FilterPolicyMatcher, attributes: dict[str, Any] | None, message: str) -> bool:
        # Without any attribute, not even `"exists": false` matches (developer guide of SNS, "Key matching").
        if self.filter_policy and self.filter_policy_scope == "MessageAttributes" and not attributes:
            return False
        return matches(self, attributes, message)

    @functools.wraps(put)
    def put_unchecked(self: SimpleSystemManagerBackend, name: str, *arguments: Any, **options: Any) -> Parameter:  # noqa: ANN401 - moto's
        parameter = put(self, name, *arguments, **options)
        if parameter.data_type == "aws:ec2:image":
            unchecked_parameters(self.account_id, self.region_name).append(self._parameters[name].pop())
            if not self._parameters[name]:
                del self._parameters[name]
        return parameter

    _answer_one_request_to_tables_at_a_time()
    _let_tables_need_their_keys()
    _let_alarms_notify()
    EventMessageFilter.__init__ = read_pattern  # type: ignore[method-assign]
    SNSBackend.publish = publish_encrypted  # type: ignore[method-assign, assignment]
    FilterPolicyMatcher.matches = matches_attributes  # type: ignore[method-assign, assignment]
    SimpleSystemManagerBackend.put_parameter = put_unchecked  # type: ignore[method-assign]
    limits.install()


def _let_alarms_notify() -> None:
    """Let SetAlarmState do what an alarm does when its state changes."""
    set_state = CloudWatchBackend.set_alarm_state

    @functools.wraps(set_state)
    def set_state_and_notify(
        self: CloudWatchBackend, alarm_name: str, reason: str, reason_data: str, state_value: str
    ) -> None:
        set_state(self, alarm_name, reason, reason_data, state_value)
        _notify(self, alarm_name, reason, state_value)

    CloudWatchBackend.set_alarm_state = set_state_and_notify  # type: ignore[method-assign]


def _notify(backend: CloudWatchBackend, name: str, reason: str, state: str) -> None:
    """Publish the new state of an alarm to its topics, where the policies of topic and key allow it.

    CloudWatch drops the others.
    """
    alarm = backend.alarms[name]
    message = {"AlarmName": name, "NewStateValue": state, "NewStateReason": reason, "AlarmArn": alarm.alarm_arn}
    context = {"aws:SourceArn": alarm.alarm_arn, "aws:SourceAccount": backend.account_id}
    sns = sns_backends[backend.account_id][backend.region_name]
    for arn in {"ALARM": alarm.alarm_actions, "OK": alarm.ok_actions}.get(state, []):
        with contextlib.suppress(ServiceError):
            request = policies.AuthorizationRequest("sns:Publish", arn, context)
            topic = sns.get_topic(arn)
            if policies.allows(policies.statements_of(topic.policy), request, _CLOUDWATCH):
                keys.check(
                    keys.find(backend.account_id, backend.region_name, topic.kms_master_key_id), context, _CLOUDWATCH
                )
                # A subject has less than 100 characters (API reference, SNS `Publish`).
                subject = f'{state}: "{name}" in {backend.region_name}'[:99]
                sns.publish(json.dumps(message), arn, subject=subject)


def _answer_one_request_to_tables_at_a_time() -> None:
    """Let no write of an item come between the condition of another one and its effect, or into a read.

    moto copies and serializes items while other requests change them.
    """
    call_action: Callable[[DynamoHandler], TYPE_RESPONSE] = DynamoHandler.call_action

    @functools.wraps(call_action)
    def call_alone(self: DynamoHandler) -> TYPE_RESPONSE:
        with _tables:
            return call_action(self)

    DynamoHandler.call_action = call_alone  # type: ignore[method-assign]


def _let_tables_need_their_keys() -> None:
    """Let the items of a table whose key is disabled be neither read nor written."""

    def encrypted(access: Any) -> Any:  # noqa: ANN401 - moto's
        @functools.wraps(access)
        def access_with_key(self: DynamoDBBackend, table_name: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - moto's
            table = self.tables.get(table_name)
            key_id = ((table and table.sse_specification) or {}).get("KMSMasterKeyId")
            key = keys.find(self.account_id, self.region_name, key_id)
            if key and not key.enabled:
                # With which error is not documented.
                raise JsonRESTError(_ACCESS_DENIED, f"KMS key access denied error: {key.arn} is disabled.")
            return access(self, table_name, *arguments, **options)

        return access_with_key

    for name in ("get_item", "put_item", "update_item", "delete_item", "query", "scan"):
        setattr(DynamoDBBackend, name, encrypted(getattr(DynamoDBBackend, name)))
