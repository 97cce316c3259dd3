"""The topic that people and machines are told on."""

from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.configuration import Configuration


class Notices(Construct):
    """An encrypted topic, and the configured e-mail address as its subscriber."""

    def __init__(self, scope: Construct, id_: str, *, configuration: Configuration) -> None:
        super().__init__(scope, id_)
        self.topic = sns.Topic(self, "Topic", display_name="VM image import", enforce_ssl=True)
        if configuration.notification_email:
            self.topic.add_subscription(
                subscriptions.EmailSubscription(
                    configuration.notification_email,
                    # A step, not an end: AVAILABLE or FAILED follows.
                    filter_policy={"outcome": sns.SubscriptionFilter.string_filter(denylist=["REGISTERED"])},
                )
            )
