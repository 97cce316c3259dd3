"""The topic of the notifications and of the alarms."""

from collections.abc import Sequence

from aws_cdk import Aws, Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from .acknowledgements import acknowledge
from .configuration import Configuration, ConfigurationError


class Notifications(Construct):
    """An encrypted topic with its key, and the configured e-mail address as its subscriber."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        configuration: Configuration,
        topic: sns.ITopic | None = None,
        key: kms.IKey | None = None,
        new_topic_key: kms.IKey | None = None,
    ) -> None:
        """Create it. `topic` and `key` are taken where they are given, and their policies are not changed.

        `new_topic_key` is for a new topic without `key`; without either of them, the topic gets a key of its own.

        Raises ConfigurationError where `configuration` has an e-mail address for the subscription to a given topic.
        """
        super().__init__(scope, id_)
        given = topic
        if given is None and configuration.topic_arn:
            given = sns.Topic.from_topic_arn(self, "GivenTopic", configuration.topic_arn)
        if given and configuration.notification_email:
            message = "notification_email: the topic is given: leave this out and subscribe to that topic."
            raise ConfigurationError(message)
        self._is_new = given is None
        if given:
            self.topic = given
            # Which key encrypts it, if any, is not known; the role uses it for this topic only.
            self.key_arn = key.key_arn if key else _any_key(given)
        else:
            key = key or new_topic_key or self._new_key()
            self.topic = sns.Topic(self, "Topic", display_name="VM image import", enforce_ssl=True, master_key=key)
            self.key_arn = key.key_arn
        if configuration.notification_email:
            self._subscribe(configuration.notification_email)

    def allow_alarms(self, alarms: Sequence[cloudwatch.IAlarm]) -> None:
        """Allow these alarms to publish to the topic, unless it was given."""
        if self._is_new:
            arns = [alarm.alarm_arn for alarm in alarms]
            self.topic.add_to_resource_policy(
                _for_alarms("PublishAlarms", ["sns:Publish"], self.topic.topic_arn, Stack.of(self).account, arns)
            )

    def _new_key(self) -> kms.Key:
        # A customer managed key, for 1 USD a month: alarms cannot use the AWS managed one, alias/aws/sns (developer
        # guide of SNS, "Key management").
        key = kms.Key(
            self,
            "Key",
            description="Encrypts the notifications of VM image import",
            enable_key_rotation=True,
            # Nothing that it encrypts outlives the topic.
            removal_policy=RemovalPolicy.DESTROY,
            pending_window=Duration.days(7),
        )
        stack = Stack.of(self)
        # By the beginning of their names: the topic needs the key, and the alarms need the topic.
        # With the name of the stack as it is deployed: a StackSet gives it another one.
        alarms = stack.format_arn(service="cloudwatch", resource=f"alarm:{Aws.STACK_NAME}-*")
        key.add_to_resource_policy(
            _for_alarms("EncryptAlarms", ["kms:Decrypt", "kms:GenerateDataKey"], "*", stack.account, [alarms])
        )
        return key

    def _subscribe(self, email: str) -> None:
        # Without a filter policy: it would exclude alarms, whose messages have no attributes.
        subscription = self.topic.add_subscription(subscriptions.EmailSubscription(email))
        acknowledge(subscription, {"Serverless-SNSRedrivePolicy": "The log has everything that an e-mail says."})


def _any_key(topic: sns.ITopic) -> str:
    """Return the ARN for any key of a topic's account and Region."""
    return Stack.of(topic).format_arn(
        service="kms", account=topic.env.account, region=topic.env.region, resource="key", resource_name="*"
    )


def _for_alarms(
    sid: str, actions: Sequence[str], resource: str, account: str, alarms: Sequence[str]
) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        sid=sid,
        principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
        actions=[*actions],
        resources=[resource],
        conditions={"StringEquals": {"aws:SourceAccount": account}, "ArnLike": {"aws:SourceArn": alarms}},
    )
