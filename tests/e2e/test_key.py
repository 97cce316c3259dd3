"""A key of the user for topic, table, log and queues, with the policy that docs/permissions.md shows."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pytest
from moto.kms.models import kms_backends
from moto.sns.models import sns_backends

from local.assembly import synthesize
from local.aws import events, functions, iam, vm_import
from local.aws.local_aws import ACCOUNT, LocalAws
from tests.conftest import REGION, ROOT
from tests.e2e.conftest import (
    STEPS,
    Notifications,
    builds,
    finish_imports,
    golden_event,
    physical_id,
    queue_messages,
    replace_policy,
    start_import,
)

pytestmark = pytest.mark.acceptance

KEY_ID: Final = "1234abcd-12ab-34cd-56ef-1234567890ab"
KEY_ARN: Final = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{KEY_ID}"
_SECTION: Final = (ROOT / "docs/permissions.md").read_text(encoding="utf-8").partition("## A key of yours")[2]
POLICY: Final[Sequence[Mapping[str, Any]]] = json.loads(
    re.findall(r"```json\n(.+?)```", _SECTION, re.DOTALL)[0]
    .replace("eu-west-1", REGION)
    .replace("123456789012", ACCOUNT)
)["Statement"]
DOCUMENTED: Final = re.findall(r"^\| `(\w+)` \|", _SECTION.partition("\n## ")[0], re.MULTILINE)
USES_KEY: Final = [
    ("DecryptTable", "kms:Decrypt"),
    ("EncryptDlq", "kms:Decrypt"),
    ("EncryptDlq", "kms:GenerateDataKey"),
    ("EncryptNotifications", "kms:Decrypt"),
    ("EncryptNotifications", "kms:GenerateDataKey"),
]


def make_key(statements: Sequence[Mapping[str, Any]]) -> None:
    """Make the key with the configured ARN and these statements as its policy."""
    backend = kms_backends[ACCOUNT][REGION]
    key = backend.create_key(
        policy=json.dumps({"Version": "2012-10-17", "Statement": statements}),
        key_usage="ENCRYPT_DECRYPT",
        key_spec="SYMMETRIC_DEFAULT",
        description="",
        tags=None,
    )
    del backend.keys[key.id]
    key.id, key.arn = KEY_ID, KEY_ARN
    backend.keys[KEY_ID] = key


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    """Give a local AWS with the app deployed to it, with a key whose policy is the documented one."""
    with LocalAws() as aws:
        make_key(POLICY)
        aws.deploy(synthesize({"keyArn": KEY_ARN}), "VmImageImport")
        yield aws


@contextmanager
def disabled(aws: LocalAws) -> Iterator[None]:
    """Disable the key for a while."""
    aws.client("kms").disable_key(KeyId=KEY_ID)
    try:
        yield
    finally:
        aws.client("kms").enable_key(KeyId=KEY_ID)


@contextmanager
def without(aws: LocalAws, sid: str) -> Iterator[None]:
    """Take one statement out of the key's policy for a while."""

    def put(statements: Sequence[Mapping[str, Any]]) -> None:
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        aws.client("kms").put_key_policy(KeyId=KEY_ID, PolicyName="default", Policy=policy)

    put([each for each in POLICY if each["Sid"] != sid])
    try:
        yield
    finally:
        put(POLICY)


def an_alarm_notifies(aws: LocalAws) -> bool:
    """Return whether an alarm reaches the topic."""
    cloudwatch, (topic,) = aws.client("cloudwatch"), sns_backends[ACCOUNT][aws.region].topics.values()
    alarm, *_ = cloudwatch.describe_alarms()["MetricAlarms"]
    before = len(topic.sent_notifications)
    cloudwatch.set_alarm_state(AlarmName=alarm["AlarmName"], StateValue="ALARM", StateReason="test")
    return len(topic.sent_notifications) > before


def an_undelivered_event_is_kept(aws: LocalAws) -> bool:
    """Return whether an event that may not invoke the function is in `EventDlq`."""
    queue_messages(aws, "EventDlq")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(functions, "find", lambda _: None)
        events.deliver(golden_event("ami-available"))
    return bool(queue_messages(aws, "EventDlq"))


def a_failed_invocation_is_kept(aws: LocalAws) -> bool:
    """Return whether an event that fails three times is in `FunctionDlq`."""
    queue_messages(aws, "FunctionDlq")
    events.deliver(golden_event("ami-available", detail={"State": "available"}))
    functions.run_queued()
    return bool(queue_messages(aws, "FunctionDlq"))


def a_run_is_logged(aws: LocalAws) -> bool:
    """Return whether the log gets entries of a sweep."""
    logs, group = aws.client("logs"), physical_id(aws, "AWS::Logs::LogGroup")
    before = len(logs.filter_log_events(logGroupName=group)["events"])
    aws.fire_schedules()
    return len(logs.filter_log_events(logGroupName=group)["events"]) > before


def an_import_becomes_an_image(aws: LocalAws) -> bool:
    """Return whether an import is registered by its event, and notified."""
    notifications = Notifications(aws)
    task = start_import(aws, f"exports/key-{len(aws.images())}-1.0.ova")
    finish_imports(aws)
    return [outcome for outcome, *_ in notifications.about(task)] == ["IMAGE_AVAILABLE"]


WORKS: Final[Sequence[Callable[[LocalAws], bool]]] = [
    an_alarm_notifies,
    an_undelivered_event_is_kept,
    a_failed_invocation_is_kept,
    a_run_is_logged,
    an_import_becomes_an_image,
]
NEEDED_BY: Final = {
    "Account": {a_failed_invocation_is_kept, an_import_becomes_an_image},
    "Alarms": {an_alarm_notifies},
    "EventDlq": {an_undelivered_event_is_kept},
    "Log": {a_run_is_logged},
}


def test_the_documented_policy_is_enough(aws: LocalAws) -> None:
    """With the documented policy of the key, everything works, and the role is denied nothing."""
    before = len(iam.authorizations())
    assert [works.__name__ for works in WORKS if not works(aws)] == []
    calls = iam.authorizations()[before:]
    assert [call.denied for call in calls if call.denied] == []
    on_key = {request.action for call in calls for request in call.requests if request.resource == KEY_ARN}
    assert on_key == {action for _, action in USES_KEY}


@pytest.mark.parametrize("sid", NEEDED_BY)
def test_each_statement_of_the_policy_is_needed(aws: LocalAws, sid: str) -> None:
    """Without a statement of the key's policy, exactly what the documentation says of it fails."""
    assert [each["Sid"] for each in POLICY] == DOCUMENTED == [*NEEDED_BY]
    with without(aws, sid):
        assert {works for works in WORKS if not works(aws)} == NEEDED_BY[sid]
    # What could not be registered meanwhile.
    finish_imports(aws)
    aws.fire_schedules()
    finish_imports(aws)


@pytest.mark.parametrize(("sid", "action"), USES_KEY)
def test_each_permission_of_the_role_is_needed(
    aws: LocalAws, role: str, policy: Sequence[Mapping[str, Any]], sid: str, action: str
) -> None:
    """Without an action on the key, the role is denied exactly this action."""
    rest = [
        {**each, "Action": [one for one in [*each["Action"]] if one != action]}
        if each["Sid"] == sid and each["Action"] != action
        else each
        for each in policy
        if (each["Sid"], each["Action"]) != (sid, action)
    ]
    before = len(iam.authorizations())
    replace_policy(aws, role, rest)
    try:
        a_failed_invocation_is_kept(aws)
        an_import_becomes_an_image(aws)
    finally:
        replace_policy(aws, role, policy)
    assert {call.denied.action for call in iam.authorizations()[before:] if call.denied} == {action}
    aws.fire_schedules()
    finish_imports(aws)


def test_an_import_while_the_key_is_disabled(aws: LocalAws, notifications: Notifications) -> None:
    """An import that ends while the key is disabled is registered and notified by sweeps once the key is enabled."""
    task = start_import(aws, "exports/disabled-1.0.ova")
    with disabled(aws):
        finish_imports(aws)
        aws.fire_schedules()
        error = functions.invocations()[-1].result.payload.decode()
        assert "KMS key access denied" in error
        assert not builds(aws, "disabled")
        assert not notifications.about(task)
    aws.fire_schedules()
    finish_imports(aws)
    (image,) = builds(aws, "disabled")
    assert image["state"]["status"] == "AVAILABLE"
    assert [outcome for outcome, *_ in notifications.about(task)] == ["IMAGE_AVAILABLE"]


def test_an_image_that_becomes_available_while_the_key_is_disabled(aws: LocalAws, notifications: Notifications) -> None:
    """The notification of an image is sent by the next sweep once the key is enabled, once."""
    task = start_import(aws, "exports/meanwhile-1.0.ova")
    for _ in range(STEPS):
        for event in vm_import.advance(ACCOUNT, aws.region):
            events.deliver(event)
        functions.run_queued()
    (image,) = builds(aws, "meanwhile")
    assert image["state"]["status"] != "AVAILABLE"
    with disabled(aws):
        finish_imports(aws)
        assert not notifications.about(task)
    for _ in range(2):
        aws.fire_schedules()
    assert [outcome for outcome, *_ in notifications.about(task)] == ["IMAGE_AVAILABLE"]
    assert len(builds(aws, "meanwhile")) == 1
