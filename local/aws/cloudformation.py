"""CloudFormation that deploys every resource of a template, or refuses the template.

moto skips resource types that it does not support, and the stack is CREATE_COMPLETE. `install` makes such a template an
error, and adds the types that a stack with a Lambda function needs.
"""

import functools
import json
from contextlib import suppress
from typing import Any, ClassVar, Self

from moto.awslambda.exceptions import UnknownEventConfig, UnknownFunctionException, UnknownPolicyException
from moto.awslambda.models import LambdaBackend, LambdaFunction
from moto.awslambda.utils import get_backend
from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.parsing import ResourceMap
from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends
from moto.core.common_models import CloudFormationModel
from moto.kms.models import Key, KmsBackend
from moto.logs.models import LogGroup
from moto.sns.models import Subscription as MotoSubscription
from moto.sns.models import Topic, sns_backends
from moto.sqs.exceptions import QueueDoesNotExist
from moto.sqs.models import Queue, sqs_backends

from local.aws import change_sets, image_builder, updates


@functools.cache
def install() -> None:
    """Add the resource types below to moto's CloudFormation, updates, change sets, and the check for other types."""
    for known_types in (parsing.get_model_list, parsing.get_model_map, parsing.get_name_type_map):
        known_types.cache_clear()

    change_sets.install()
    updates.install()
    load, compare = ResourceMap.load, ResourceMap.build_resource_diff
    get_attribute, create_key = LogGroup.get_cfn_attribute, KmsBackend.create_key
    create_group = LogGroup.create_from_cloudformation_json

    # `load` and `compare` get the template of a stack, an update or a change set before a resource is created.
    @functools.wraps(load)
    def checked_load(self: ResourceMap) -> None:
        _check_types(self._template)
        load(self)

    @functools.wraps(compare)
    def checked_compare(
        self: ResourceMap, other_template: dict[str, Any], parameters: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        _check_types(other_template)
        return compare(self, other_template, parameters)

    @functools.wraps(get_attribute)
    def log_group_attribute(self: LogGroup, attribute_name: str) -> str:
        # The ARN of a log group ends with `:*` (user guide, "AWS::Logs::LogGroup"); moto's does not.
        return f"{get_attribute(self, attribute_name)}:*"

    def create_encrypted_group(name: str, definition: Any, *arguments: Any, **options: Any) -> LogGroup:  # noqa: ANN401 - moto's
        group = create_group(name, definition, *arguments, **options)
        updates.set_log_key(group, definition["Properties"])
        return group

    @functools.wraps(create_key)
    def create_key_with_text(self: KmsBackend, policy: Any, *arguments: Any, **options: Any) -> Key:  # noqa: ANN401 - moto's
        # moto keeps the policy of a template as an object, which DescribeKey cannot read.
        return create_key(self, json.dumps(policy) if isinstance(policy, dict) else policy, *arguments, **options)

    LogGroup.create_from_cloudformation_json = create_encrypted_group  # type: ignore[method-assign, assignment]
    KmsBackend.create_key = create_key_with_text  # type: ignore[method-assign]
    ResourceMap.load = checked_load  # type: ignore[method-assign]
    ResourceMap.build_resource_diff = checked_compare  # type: ignore[method-assign]
    LogGroup.get_cfn_attribute = log_group_attribute  # type: ignore[method-assign]


def _check_types(template: dict[str, Any]) -> None:
    types = {resource["Type"] for resource in template.get("Resources", {}).values()}
    known = parsing.get_model_map().keys() | set(parsing.NULL_MODELS)
    if unknown := sorted(each for each in types - known if not each.startswith("Custom::")):
        raise ValidationError(message=f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]")


class _Resource:
    """What the resource types below have in common.

    moto finds a resource type as a direct subclass of `CloudFormationModel`, so each is one beside this class.
    """

    type_name: ClassVar[str]

    def __init__(self, name: str, properties: dict[str, Any], account_id: str, region: str) -> None:
        self.physical_resource_id = name
        self.properties = properties
        self.account_id = account_id
        self.region = region

    def _apply(self) -> None:
        """Apply the resource's properties to moto."""

    def _revoke(self) -> None:
        """Undo `_apply`; what the resource belongs to may be deleted already."""

    @classmethod
    def cloudformation_type(cls) -> str:
        return cls.type_name

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: dict[str, Any], account_id: str, region_name: str, **_: object
    ) -> Self:
        resource = cls(resource_name, cloudformation_json["Properties"], account_id, region_name)
        resource._apply()
        return resource

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Self,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> Self:
        original_resource.delete(account_id, region_name)
        return cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)

    def delete(self, _account_id: str, _region_name: str) -> None:
        self._revoke()


class CdkMetadata(_Resource, CloudFormationModel):
    """AWS::CDK::Metadata: usage data for AWS, without effect."""

    type_name = "AWS::CDK::Metadata"


class BucketPolicy(_Resource, CloudFormationModel):
    """AWS::S3::BucketPolicy, a resource of the CDK's bootstrap stack, without effect.

    moto ignores conditions: the usual statement that denies requests without TLS would deny all requests.
    """

    type_name = "AWS::S3::BucketPolicy"


class Alarm(_Resource, CloudFormationModel):
    """AWS::CloudWatch::Alarm. It is described; only SetAlarmState changes its state."""

    type_name = "AWS::CloudWatch::Alarm"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Return whether there is such an attribute."""
        return attr == "Arn"

    def get_cfn_attribute(self, _: str) -> str:
        """Return the ARN."""
        return self._backend.alarms[self.physical_resource_id].alarm_arn

    @property
    def _backend(self) -> CloudWatchBackend:
        backend: CloudWatchBackend = cloudwatch_backends[self.account_id][self.region]
        return backend

    def _apply(self) -> None:
        properties = self.properties
        self._backend.put_metric_alarm(
            name=self.physical_resource_id,
            namespace=properties["Namespace"],
            metric_name=properties["MetricName"],
            comparison_operator=properties["ComparisonOperator"],
            evaluation_periods=int(properties["EvaluationPeriods"]),
            period=int(properties["Period"]),
            threshold=float(properties["Threshold"]),
            statistic=properties["Statistic"],
            description=properties.get("AlarmDescription", ""),
            dimensions=properties.get("Dimensions", []),
            alarm_actions=properties.get("AlarmActions", []),
            ok_actions=properties.get("OKActions", []),
            treat_missing_data=properties.get("TreatMissingData"),
        )

    def _revoke(self) -> None:
        self._backend.delete_alarms([self.physical_resource_id])


class QueryDefinition(_Resource, CloudFormationModel):
    """AWS::Logs::QueryDefinition, a saved query, without effect."""

    type_name = "AWS::Logs::QueryDefinition"


class LifecyclePolicy(_Resource, CloudFormationModel):
    """AWS::ImageBuilder::LifecyclePolicy. `lifecycle.run` executes it."""

    type_name = "AWS::ImageBuilder::LifecyclePolicy"

    def _apply(self) -> None:
        self._policies[self.properties["Name"]] = self.properties

    def _revoke(self) -> None:
        self._policies.pop(self.properties["Name"], None)

    @property
    def _policies(self) -> dict[str, Any]:
        return image_builder.backends[self.account_id][self.region].lifecycle_policies


class EventInvokeConfig(_Resource, CloudFormationModel):
    """AWS::Lambda::EventInvokeConfig: retries and destinations of asynchronous invocations."""

    type_name = "AWS::Lambda::EventInvokeConfig"

    def _apply(self) -> None:
        config = {key: value for key, value in self.properties.items() if key not in {"FunctionName", "Qualifier"}}
        self._backend.put_function_event_invoke_config(self.properties["FunctionName"], config)

    def _revoke(self) -> None:
        with suppress(UnknownFunctionException, UnknownEventConfig):
            self._backend.delete_function_event_invoke_config(self.properties["FunctionName"])

    @property
    def _backend(self) -> LambdaBackend:
        return get_backend(self.account_id, self.region)


class QueuePolicy(_Resource, CloudFormationModel):
    """AWS::SQS::QueuePolicy: who may send to a queue."""

    type_name = "AWS::SQS::QueuePolicy"

    def _apply(self) -> None:
        self._set(json.dumps(self.properties["PolicyDocument"]))

    def _revoke(self) -> None:
        with suppress(QueueDoesNotExist):
            self._set(None)

    def _set(self, policy: str | None) -> None:
        for url in self.properties["Queues"]:
            queue: Queue = sqs_backends[self.account_id][self.region].get_queue(url.rsplit("/", 1)[-1])
            queue.policy = policy


class TopicPolicy(_Resource, CloudFormationModel):
    """AWS::SNS::TopicPolicy: who may publish to a topic."""

    type_name = "AWS::SNS::TopicPolicy"

    def _apply(self) -> None:
        for arn in self.properties["Topics"]:
            topic: Topic = sns_backends[self.account_id][self.region].get_topic(arn)
            topic.policy = json.dumps(self.properties["PolicyDocument"])


class Subscription(_Resource, CloudFormationModel):
    """AWS::SNS::Subscription. E-mail is not sent: the messages are in `LocalAws.published_messages`."""

    type_name = "AWS::SNS::Subscription"

    def _apply(self) -> None:
        properties, backend = self.properties, sns_backends[self.account_id][self.region]
        subscription: MotoSubscription = backend.subscribe(
            properties["TopicArn"], properties["Endpoint"], properties["Protocol"]
        )
        for name in ("FilterPolicy", "FilterPolicyScope", "RawMessageDelivery"):
            if name in properties:
                value = properties[name]
                text = value if isinstance(value, str) else json.dumps(value)
                backend.set_subscription_attributes(subscription.arn, name, text)
        self.physical_resource_id = subscription.arn

    def _revoke(self) -> None:
        sns_backends[self.account_id][self.region].unsubscribe(self.physical_resource_id)


class Permission(_Resource, CloudFormationModel):
    """AWS::Lambda::Permission; moto's cannot be updated or deleted."""

    type_name = "AWS::Lambda::Permission"

    def _apply(self) -> None:
        statement = json.dumps({**self.properties, "StatementId": self.physical_resource_id})
        self._function.policy.add_statement(raw=statement)

    def _revoke(self) -> None:
        with suppress(UnknownFunctionException, UnknownPolicyException):
            self._function.policy.del_statement(self.physical_resource_id)

    @property
    def _function(self) -> LambdaFunction:
        return get_backend(self.account_id, self.region).get_function(self.properties["FunctionName"])
