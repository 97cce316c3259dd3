"""CloudFormation that deploys every resource of a template, or refuses the template.

moto skips resource types that it does not support, and the stack is CREATE_COMPLETE. `install` makes such a template an
error, adds the types that a stack with a Lambda function needs, and updates resources in place.
"""

import base64
import functools
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Final, Self, cast

from moto.awslambda.exceptions import UnknownEventConfig, UnknownFunctionException
from moto.awslambda.models import LambdaBackend, LambdaFunction
from moto.awslambda.utils import get_backend
from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.parsing import ResourceMap
from moto.cloudwatch.models import CloudWatchBackend, Dashboard, cloudwatch_backends
from moto.core.common_models import CloudFormationModel
from moto.events.models import Rule
from moto.iam.models import Role
from moto.logs.models import LogGroup
from moto.sns.exceptions import SNSNotFoundError
from moto.sns.models import SNSBackend, Topic, sns_backends
from moto.sqs.exceptions import QueueDoesNotExist
from moto.sqs.models import Queue, sqs_backends

from local.aws import change_sets


@functools.cache
def install() -> None:
    """Add the resource types below to moto's CloudFormation, the check for others, updates, and change sets."""
    change_sets.install()
    for known_types in (parsing.get_model_list, parsing.get_model_map, parsing.get_name_type_map):
        known_types.cache_clear()

    load, compare, update_all = ResourceMap.load, ResourceMap.build_resource_diff, ResourceMap.update
    update, get_attribute = parsing.parse_and_update_resource, LogGroup.get_cfn_attribute

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
        difference = compare(self, other_template, parameters)
        _check_updates({other_template["Resources"][name]["Type"] for name in difference["Modify"]})
        return difference

    @functools.wraps(update_all)
    def update_and_forget(
        self: ResourceMap, template: dict[str, Any], parameters: dict[str, Any] | None = None
    ) -> None:
        removed = self._resource_json_map.keys() - template["Resources"].keys()
        # What a failed update did not make needs no removal.
        made = {name: each for name, each in self._resource_json_map.items() if name in self._parsed_resources}
        self._resource_json_map = made
        update_all(self, template, parameters)
        # What a later update adds again is a new resource.
        for name in removed:
            self._parsed_resources.pop(name, None)

    @functools.wraps(cast("Callable[..., Any]", update))
    def updated(
        logical_id: str, resource_json: dict[str, Any], resources_map: ResourceMap, account_id: str, region_name: str
    ) -> Any:  # noqa: ANN401 - the type decides
        in_place = _UPDATES.get(resource_json["Type"])
        if in_place is None:
            return update(logical_id, resource_json, resources_map, account_id, region_name)
        parsed: Any = parsing.parse_resource_and_generate_name(logical_id, resource_json, resources_map)
        resource = in_place(resources_map[logical_id], parsed[1]["Properties"], account_id, region_name)
        resource.cf_resource_type, resource.logical_resource_id = resource_json["Type"], logical_id
        return resource

    @functools.wraps(get_attribute)
    def log_group_attribute(self: LogGroup, attribute_name: str) -> str:
        # The ARN of a log group ends with `:*` (user guide, "AWS::Logs::LogGroup"); moto's does not.
        return f"{get_attribute(self, attribute_name)}:*"

    ResourceMap.load = checked_load  # type: ignore[method-assign]
    ResourceMap.build_resource_diff = checked_compare  # type: ignore[method-assign]
    ResourceMap.update = update_and_forget  # type: ignore[method-assign]
    parsing.parse_and_update_resource = updated
    LogGroup.get_cfn_attribute = log_group_attribute  # type: ignore[method-assign]


def _check_types(template: dict[str, Any]) -> None:
    types = {resource["Type"] for resource in template.get("Resources", {}).values()}
    known = parsing.get_model_map().keys() | set(parsing.NULL_MODELS)
    if unknown := sorted(each for each in types - known if not each.startswith("Custom::")):
        raise ValidationError(message=f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]")


def _check_updates(types: set[str]) -> None:
    """Refuse updates that moto does not make in place, since what refers to the resource would be lost."""
    updatable = {*_UPDATES, *(each.type_name for each in _Resource.__subclasses__())}
    if others := sorted(types - updatable):
        message = f"The local AWS does not update {', '.join(others)}: run `cdk destroy`, then `cdk deploy`."
        raise ValidationError(message=message)


def _update_rule(rule: Rule, properties: dict[str, Any], account_id: str, region: str) -> Rule:
    rule.targets.clear()
    return Rule.create_from_cloudformation_json(rule.name, {"Properties": properties}, account_id, region)


def _update_function(function: LambdaFunction, properties: dict[str, Any], *_: str) -> LambdaFunction:
    function.update_configuration({"TracingConfig": {"Mode": "PassThrough"}, **properties})
    code = properties["Code"]
    if source := code.get("ZipFile"):
        code = {"ZipFile": base64.b64encode(function._create_zipfile_from_plaintext_code(source))}  # noqa: SLF001 - moto does the same
    function.update_function_code(code)
    function.reserved_concurrency = properties.get("ReservedConcurrentExecutions")
    return function


def _update_role(role: Role, properties: dict[str, Any], *_: str) -> Role:
    for policy in [*role.policies]:
        role.delete_policy(policy)
    for policy in properties.get("Policies", []):
        role.put_policy(policy["PolicyName"], policy["PolicyDocument"])
    return role


def _update_log_group(group: LogGroup, properties: dict[str, Any], *_: str) -> LogGroup:
    group.set_retention_policy(properties.get("RetentionInDays"))
    return group


def _update_dashboard(dashboard: Dashboard, properties: dict[str, Any], account_id: str, region: str) -> Dashboard:
    return cloudwatch_backends[account_id][region].put_dashboard(dashboard.name, properties["DashboardBody"])


_UPDATES: Final[dict[str, Callable[..., Any]]] = {
    "AWS::CloudWatch::Dashboard": _update_dashboard,
    "AWS::Events::Rule": _update_rule,
    "AWS::IAM::Role": _update_role,
    "AWS::Lambda::Function": _update_function,
    "AWS::Logs::LogGroup": _update_log_group,
}
"""What moto updates wrongly, or by another resource of another name."""


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
        new_resource_name: str,  # noqa: ARG003 - moto's signature; an update keeps the name
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> Self:
        original_resource.delete(account_id, region_name)
        name = original_resource.physical_resource_id
        return cls.create_from_cloudformation_json(name, cloudformation_json, account_id, region_name)

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
    """AWS::SNS::Subscription, with its filter policy."""

    type_name = "AWS::SNS::Subscription"

    def _apply(self) -> None:
        properties = self.properties
        subscription = self._backend.subscribe(properties["TopicArn"], properties["Endpoint"], properties["Protocol"])
        self.physical_resource_id = subscription.arn
        if policy := properties.get("FilterPolicy"):
            self._backend.set_subscription_attributes(subscription.arn, "FilterPolicy", json.dumps(policy))

    def _revoke(self) -> None:
        with suppress(SNSNotFoundError):
            self._backend.unsubscribe(self.physical_resource_id)

    @property
    def _backend(self) -> SNSBackend:
        backend: SNSBackend = sns_backends[self.account_id][self.region]
        return backend
