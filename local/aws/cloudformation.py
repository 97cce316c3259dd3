"""CloudFormation that deploys the whole template or says what it cannot.

moto skips resource types that it does not know and still reports CREATE_COMPLETE. After `install` such a template is
refused, and the types that a stack with a Lambda function needs, and moto lacks, exist.
"""

import functools
import json
from contextlib import suppress
from typing import Any, ClassVar, Self

from moto.awslambda import models as lambda_models
from moto.awslambda.exceptions import UnknownFunctionException
from moto.awslambda.utils import get_backend
from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import ChangeSet, cloudformation_backends
from moto.cloudformation.parsing import ResourceMap
from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends
from moto.core.common_models import CloudFormationModel
from moto.logs.models import LogGroup
from moto.sns.models import Topic, sns_backends
from moto.sqs.exceptions import QueueDoesNotExist
from moto.sqs.models import Queue, sqs_backends


@functools.cache
def install() -> None:
    """Teach moto's CloudFormation the types below, to refuse unknown ones, and what else it lacks."""
    for known_types in (parsing.get_model_list, parsing.get_model_map, parsing.get_name_type_map):
        known_types.cache_clear()

    # The first two are where a stack, an update and a change set see their template, before anything is made.
    attribute = LogGroup.get_cfn_attribute
    load, compare, apply = ResourceMap.load, ResourceMap.build_resource_diff, ChangeSet.apply

    @functools.wraps(load)
    def checked_load(self: ResourceMap) -> None:
        _refuse_unknown_types(self._template)
        load(self)

    @functools.wraps(compare)
    def checked_compare(
        self: ResourceMap, other_template: dict[str, Any], parameters: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        _refuse_unknown_types(other_template)
        return compare(self, other_template, parameters)

    @functools.wraps(apply)
    def apply_with_outputs(self: ChangeSet) -> None:
        apply(self)
        stack = self.stack
        stack.output_map = parsing.OutputMap(stack.resource_map, self.template_dict, stack.stack_id)
        exports = cloudformation_backends[stack.account_id][stack.region_name].exports
        exports.update({export.name: export for export in stack.exports})

    @functools.wraps(LogGroup.get_cfn_attribute)
    def attribute_of_log_group(self: LogGroup, attribute_name: str) -> str:
        # The ARN of a log group has its streams in it (user guide, "AWS::Logs::LogGroup"); moto's has not.
        return f"{attribute(self, attribute_name)}:*"

    LogGroup.get_cfn_attribute = attribute_of_log_group  # type: ignore[method-assign]
    ResourceMap.load = checked_load  # type: ignore[method-assign]
    ResourceMap.build_resource_diff = checked_compare  # type: ignore[method-assign]
    ChangeSet.apply = apply_with_outputs  # type: ignore[method-assign]


def _refuse_unknown_types(template: dict[str, Any]) -> None:
    types = {resource["Type"] for resource in template.get("Resources", {}).values()}
    known = parsing.get_model_map().keys() | set(parsing.NULL_MODELS)
    if unknown := sorted(each for each in types - known if not each.startswith("Custom::")):
        raise ValidationError(message=f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]")


class _Addition:
    """What the resources below have in common: a type, and how to `_apply` and `_revoke` what they say.

    A resource becomes known as a direct subclass of `CloudFormationModel`, beside this class.
    """

    type_name: ClassVar[str]

    def __init__(self, name: str, properties: dict[str, Any], account_id: str, region: str) -> None:
        self.physical_resource_id = name
        self.properties = properties
        self.account_id = account_id
        self.region = region

    def _apply(self) -> None:
        """Make moto behave as the resource says."""

    def _revoke(self) -> None:
        """Undo that; what the resource belongs to may be gone already."""

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


class CdkMetadata(_Addition, CloudFormationModel):
    """AWS::CDK::Metadata: statistics for AWS, without effect."""

    type_name = "AWS::CDK::Metadata"


class BucketPolicy(_Addition, CloudFormationModel):
    """AWS::S3::BucketPolicy, which the CDK's bootstrap stack has, without effect.

    moto ignores conditions: the usual "deny everything without TLS" would deny everything.
    """

    type_name = "AWS::S3::BucketPolicy"


class Alarm(_Addition, CloudFormationModel):
    """AWS::CloudWatch::Alarm. It can be seen, and stays in the state that SetAlarmState gives it."""

    type_name = "AWS::CloudWatch::Alarm"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Say which attributes there are."""
        return attr == "Arn"

    def get_cfn_attribute(self, _: str) -> str:
        """Return the ARN."""
        return self._backend.alarms[self.physical_resource_id].alarm_arn

    @property
    def _backend(self) -> CloudWatchBackend:
        backend: CloudWatchBackend = cloudwatch_backends[self.account_id][self.region]
        return backend

    def _apply(self) -> None:
        given = self.properties
        self._backend.put_metric_alarm(
            name=self.physical_resource_id,
            namespace=given["Namespace"],
            metric_name=given["MetricName"],
            comparison_operator=given["ComparisonOperator"],
            evaluation_periods=int(given["EvaluationPeriods"]),
            period=int(given["Period"]),
            threshold=float(given["Threshold"]),
            statistic=given["Statistic"],
            description=given.get("AlarmDescription", ""),
            dimensions=given.get("Dimensions", []),
            alarm_actions=given.get("AlarmActions", []),
            treat_missing_data=given.get("TreatMissingData"),
        )

    def _revoke(self) -> None:
        self._backend.delete_alarms([self.physical_resource_id])


class QueryDefinition(_Addition, CloudFormationModel):
    """AWS::Logs::QueryDefinition, which nothing runs here: without effect."""

    type_name = "AWS::Logs::QueryDefinition"


class EventInvokeConfig(_Addition, CloudFormationModel):
    """AWS::Lambda::EventInvokeConfig: how often an asynchronous invocation is tried and where its failure goes."""

    type_name = "AWS::Lambda::EventInvokeConfig"

    def _apply(self) -> None:
        function = self._function()
        config = {key: value for key, value in self.properties.items() if key not in {"FunctionName", "Qualifier"}}
        function.event_invoke_config = [
            lambda_models.EventInvokeConfig(function.function_arn, function.last_modified, config)
        ]

    def _revoke(self) -> None:
        with suppress(UnknownFunctionException):
            self._function().event_invoke_config = []

    def _function(self) -> lambda_models.LambdaFunction:
        return get_backend(self.account_id, self.region).get_function(self.properties["FunctionName"])


class QueuePolicy(_Addition, CloudFormationModel):
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


class TopicPolicy(_Addition, CloudFormationModel):
    """AWS::SNS::TopicPolicy: who may publish to a topic."""

    type_name = "AWS::SNS::TopicPolicy"

    def _apply(self) -> None:
        for arn in self.properties["Topics"]:
            topic: Topic = sns_backends[self.account_id][self.region].get_topic(arn)
            topic.policy = json.dumps(self.properties["PolicyDocument"])
