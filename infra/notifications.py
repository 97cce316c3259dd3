"""The topic of the notifications and of the alarms."""

from collections.abc import Sequence

from aws_cdk import Aws, Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.checks import acknowledge
from infra.configuration import Configuration


class Notifications(Construct):
    """An encrypted topic with its key, and the configured e-mail address as its subscriber."""

    def __init__(self, scope: Construct, id_: str, *, configuration: Configuration) -> None:
        super().__init__(scope, id_)
        # A customer managed key, for 1 USD a month: alarms cannot use the AWS managed one (alias/aws/sns).
        self.key = kms.Key(
            self,
            "Key",
            description="Encrypts the notifications of VM image import",
            enable_key_rotation=True,
            # Nothing that it encrypts outlives the topic.
            removal_policy=RemovalPolicy.DESTROY,
            pending_window=Duration.days(7),
        )
        self.topic = sns.Topic(self, "Topic", display_name="VM image import", enforce_ssl=True, master_key=self.key)
        stack = Stack.of(self)
        # By the beginning of their names: the topic needs the key, and the alarms need the topic.
        # With the name of the stack as it is deployed: a StackSet gives it another one.
        alarms = stack.format_arn(service="cloudwatch", resource=f"alarm:{Aws.STACK_NAME}-*")
        self.key.add_to_resource_policy(
            _for_alarms("EncryptAlarms", ["kms:Decrypt", "kms:GenerateDataKey"], "*", stack.account, [alarms])
        )
        if configuration.notification_email:
            self._subscribe(configuration.notification_email)

    def _subscribe(self, email: str) -> None:
        # REGISTERED is followed by another notification: IMAGE_AVAILABLE or IMAGE_FAILED.
        outcomes = sns.SubscriptionFilter.string_filter(denylist=["REGISTERED"]).conditions
        # Alarms have no attribute `outcome`.
        alarms = sns.SubscriptionFilter.not_exists_filter().conditions
        subscription = self.topic.add_subscription(
            subscriptions.EmailSubscription(
                email, filter_policy={"outcome": sns.SubscriptionFilter([*alarms, *outcomes])}
            )
        )
        acknowledge(subscription, {"Serverless-SNSRedrivePolicy": "The log has everything that an e-mail says."})

    def allow_alarms(self, alarms: Sequence[cloudwatch.IAlarm]) -> None:
        """Allow these alarms to publish to the topic."""
        arns = [alarm.alarm_arn for alarm in alarms]
        self.topic.add_to_resource_policy(
            _for_alarms("PublishAlarms", ["sns:Publish"], self.topic.topic_arn, Stack.of(self).account, arns)
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
