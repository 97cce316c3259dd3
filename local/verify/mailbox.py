"""A queue that gets what the deployment gets: the events of AWS, and what its topic sends."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from local.verify.account import Account, VerifyError
from local.verify.cleanup import Cleanup

_EVENTS: Final = {
    "source": ["aws.ec2", "aws.imagebuilder"],
    "detail-type": ["EC2 AMI State Change", "EC2 Image Builder Image State Change"],
}
_BATCHES: Final = 20
"""The most calls of one look; the next one receives the rest."""


@dataclass
class Mailbox:
    """The queue, and what it has received."""

    account: Account
    name: str
    """Of the queue, and of the rule that sends the events to it."""
    url: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    notifications: list[dict[str, Any]] = field(default_factory=list)
    """SNS's envelopes."""

    def open(self, topic: str, cleanup: Cleanup) -> None:
        """Make the queue, the rule and the subscription. Raises VerifyError where the topic cannot be subscribed."""
        sqs, events, sns = (self.account.client(service) for service in ("sqs", "events", "sns"))
        prefix = f"{self.account.region}:{self.account.id}"
        partition = topic.split(":")[1]
        arn, rule = f"arn:{partition}:sqs:{prefix}:{self.name}", f"arn:{partition}:events:{prefix}:rule/{self.name}"
        cleanup.add(f"aws sqs delete-queue: {self.name}", lambda: self._delete_queue(cleanup))
        self.url = sqs.create_queue(
            QueueName=self.name,
            Attributes={
                "Policy": json.dumps(
                    {
                        "Version": "2012-10-17",
                        "Statement": [
                            _may_send("events.amazonaws.com", arn, rule),
                            _may_send("sns.amazonaws.com", arn, topic),
                        ],
                    }
                )
            },
        )["QueueUrl"]
        cleanup.add(f"aws events delete-rule --name {self.name}", lambda: self._delete_rule(cleanup))
        events.put_rule(Name=self.name, EventPattern=json.dumps(_EVENTS))
        failed = events.put_targets(Rule=self.name, Targets=[{"Id": "mailbox", "Arn": arn}])
        if failed["FailedEntryCount"]:
            message = f"The rule {self.name} cannot have its target: {failed['FailedEntries']}"
            raise VerifyError(message)
        cleanup.add(f"aws sns unsubscribe: {arn}", lambda: self._unsubscribe(topic, arn, cleanup))
        # As the stack subscribes the address of `notificationEmail`: without a filter policy.
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def receive(self) -> None:
        """Add what has arrived."""
        sqs = self.account.client("sqs")
        for _ in range(_BATCHES):
            messages = sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", [])
            for message in messages:
                body = json.loads(message["Body"])
                (self.events if "detail-type" in body else self.notifications).append(body)
                sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
            if not messages:
                return

    def find_event(self, resource: str) -> dict[str, Any] | None:
        """Return the first event about a resource, or None."""
        return next((event for event in self.events if any(resource in each for each in event["resources"])), None)

    def outcomes(self, text: str) -> list[str]:
        """Return the outcomes of the notifications that name an import task."""
        found = [each for each in self.notifications if text in each["Message"]]
        return [each.get("MessageAttributes", {}).get("outcome", {}).get("Value", "") for each in found]

    def _delete_queue(self, cleanup: Cleanup) -> None:
        sqs = self.account.client("sqs")
        command = f"aws sqs delete-queue --queue-url {self.url or self.name}"
        cleanup.call(command, lambda: sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=self.name)["QueueUrl"]))

    def _delete_rule(self, cleanup: Cleanup) -> None:
        events, command = self.account.client("events"), f"aws events remove-targets --rule {self.name} --ids mailbox"
        cleanup.call(command, events.remove_targets, Rule=self.name, Ids=["mailbox"])
        cleanup.call(f"aws events delete-rule --name {self.name}", events.delete_rule, Name=self.name)

    def _unsubscribe(self, topic: str, queue: str, cleanup: Cleanup) -> None:
        sns = self.account.client("sns")
        pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
        own = [each["SubscriptionArn"] for page in pages for each in page["Subscriptions"] if each["Endpoint"] == queue]
        for arn in own:
            cleanup.call(f"aws sns unsubscribe --subscription-arn {arn}", sns.unsubscribe, SubscriptionArn=arn)


def _may_send(service: str, queue: str, source: str) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": source}},
    }
