"""What reaches the address of `notificationEmail`, with the deployed template and the bundled artefact."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from local.aws.local_aws import ACCOUNT, LocalAws
from tests.conftest import EMAIL, REGION
from tests.e2e.conftest import finish_imports_without_events, invoke, physical_id, start_import
from tests.unit.test_notifications import NOTIFIED
from vm_image_import.aws.sns import Topic
from vm_image_import.deadline import Deadline
from vm_image_import.domain.models import AwsEnvironment
from vm_image_import.domain.outcomes import Outcome
from vm_image_import.invocation import Clients, Invocation
from vm_image_import.report.notifications import notification_of
from vm_image_import.settings import Settings

pytestmark = pytest.mark.acceptance

Receive = Callable[[], list[tuple[str, str | None]]]


@pytest.fixture(scope="module")
def aws(configured_assembly: Path) -> Iterator[LocalAws]:
    """Give a local AWS with the app deployed to it, with an e-mail address."""
    with LocalAws() as aws:
        aws.deploy(configured_assembly, f"VmImageImport-{REGION}")
        yield aws


@pytest.fixture
def topic(aws: LocalAws) -> str:
    """Give the ARN of the topic."""
    return physical_id(aws, "AWS::SNS::Topic")


@pytest.fixture
def receive(aws: LocalAws, topic: str) -> Iterator[Receive]:
    """Give a function that returns subject and outcome of the messages since its last call.

    The local AWS sends no e-mail. A queue is subscribed as the stack subscribes the address.
    """
    sns, sqs = aws.client("sns"), aws.client("sqs")
    (subscribed,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert (subscribed["Protocol"], subscribed["Endpoint"]) == ("email", EMAIL)
    attributes = sns.get_subscription_attributes(SubscriptionArn=subscribed["SubscriptionArn"])["Attributes"]
    filters = {name: attributes[name] for name in ("FilterPolicy", "FilterPolicyScope") if name in attributes}
    url = sqs.create_queue(QueueName="mailbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    queue = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=filters)["SubscriptionArn"]

    def receive() -> list[tuple[str, str | None]]:
        return [
            (each["Subject"], each.get("MessageAttributes", {}).get("outcome", {}).get("Value"))
            for each in aws.receive_messages(url)
        ]

    yield receive
    sns.unsubscribe(SubscriptionArn=queue)
    sqs.delete_queue(QueueUrl=url)


def test_alarms_and_all_notifications_arrive(aws: LocalAws, topic: str, receive: Receive) -> None:
    """The message of an alarm, which has no attributes, and that of each published outcome arrive."""
    subject = 'ALARM: "InvocationsFailed" in US East (N. Virginia)'
    aws.client("sns").publish(TopicArn=topic, Subject=subject, Message=json.dumps({"NewStateValue": "ALARM"}))
    assert receive() == [(subject, None)]
    environment, never = AwsEnvironment("aws", REGION, ACCOUNT), Deadline(lambda: 0)
    invocation = Invocation(Clients(Settings()), environment, "request", datetime.now(UTC), never)
    for kind in NOTIFIED:
        sent = notification_of(Outcome(kind, "import-ami-0123456789abcdef0"), invocation)
        Topic(aws.client("sns"), topic).publish(sent.subject, sent.message(), sent.outcome)
        assert receive() == [(sent.subject, kind.value)]


def test_a_registration_sends_nothing_and_its_end_one_message(aws: LocalAws, receive: Receive) -> None:
    """A registration is answered and not published; the available image is one message."""
    task = start_import(aws, "exports/mailed-1.0.ova")
    finish_imports_without_events(aws)
    assert invoke(aws, {"importTaskId": task})["outcome"] == "REGISTERED"
    assert receive() == []
    finish_imports_without_events(aws)
    for _ in range(2):
        aws.fire_schedules()
    assert receive() == [("Image available: mailed/1.0.0/1", "IMAGE_AVAILABLE")]
