"""The local CloudFormation updates a stack with every option of the configuration in place."""

import json
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

import pytest
from aws_cdk import App
from aws_cdk.assertions import Template
from botocore.exceptions import ClientError

from infra.configuration import Configuration
from infra.stack import VmImageImportStack
from tests.conftest import REGION, client
from tests.infra.test_configuration import EVERYTHING, INLINE

VERSION = "/cdk-bootstrap/hnb659fds/version"
VARIABLES = ("nameTag", "versionTag", "osVersionTag", "tags", "onlyTasksTagged", "imageLogGroup", "observe")
ENCRYPTED = {"AWS::DynamoDB::Table", "AWS::Logs::LogGroup", "AWS::SNS::Topic", "AWS::SQS::Queue"}
TAGGING = ("tagAmis", "amiTagKeys")
RETENTION = ("tagAmis", "keepVersions", "deleteAfterDays")
OPTIONS = [
    {key: EVERYTHING[key] for key in VARIABLES},
    {key: EVERYTHING[key] for key in TAGGING},
    {key: EVERYTHING[key] for key in RETENTION},
    *(
        {key: value}
        for key, value in EVERYTHING.items()
        if key not in {*VARIABLES, *TAGGING, *RETENTION, "keyArn", "regions"}
    ),
    {"topicArn": "arn:aws:sns:us-east-1:123456789012:images"},
    {"architecture": "x86_64"},
    {"alarms": False},
    {"dashboard": False},
]


@pytest.fixture(autouse=True)
def _bootstrapped(endpoint_url: str) -> None:
    """Run every test with the parameter of `cdk bootstrap`."""
    assert endpoint_url
    client("ssm").put_parameter(Name=VERSION, Value="30", Type="String")


@cache
def template(option: str) -> str:
    """Return the stack's template with one option, stated in JSON."""
    stack = VmImageImportStack(App(), "Stack", configuration=Configuration.from_context(option), code=INLINE)
    return json.dumps(Template.from_stack(stack).to_json())


def create(body: str, kind: str = "UPDATE", **parameters: object) -> dict[str, Any]:
    """Create a change set as the CDK does, and return it."""
    cloudformation = client("cloudformation")
    named = {"StackName": "Stack", "ChangeSetName": "cdk-deploy-change-set"}
    cloudformation.create_change_set(
        **named, ChangeSetType=kind, TemplateBody=body, Capabilities=["CAPABILITY_IAM"], **parameters
    )
    return dict(cloudformation.describe_change_set(**named))


def deploy(body: str, kind: str = "UPDATE", **parameters: object) -> Mapping[str, Any]:
    """Create and execute a change set as the CDK does, and return the stack."""
    cloudformation = client("cloudformation")
    if kind == "UPDATE":
        cloudformation.delete_change_set(StackName="Stack", ChangeSetName="cdk-deploy-change-set")
    created = create(body, kind, **parameters)
    assert created["Status"] == "CREATE_COMPLETE"
    cloudformation.execute_change_set(StackName="Stack", ChangeSetName="cdk-deploy-change-set")
    (found,) = cloudformation.describe_stacks(StackName="Stack")["Stacks"]
    return dict(found)


def outputs(stack: Mapping[str, Any]) -> dict[str, str]:
    """Return the outputs of a stack."""
    return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}


def variables(stack: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables of the deployed function."""
    configuration = client("lambda").get_function_configuration(FunctionName=outputs(stack)["FunctionName"])
    return dict(configuration["Environment"]["Variables"])


@pytest.mark.acceptance
def test_each_option_can_be_changed_and_changed_back() -> None:
    """Each option is deployed and taken back by updates in place, after which nothing is left to change."""
    first = deploy(template("{}"), "CREATE")
    defaults = variables(first)
    for option in map(json.dumps, OPTIONS):
        # In place of the option before.
        changed = deploy(template(option))
        assert changed["StackStatus"] == "UPDATE_COMPLETE", option
        assert outputs(changed)["FunctionName"] == outputs(first)["FunctionName"]
        configuration = Configuration.from_context(option)
        assert configuration.function_environment().items() <= variables(changed).items()
        client("cloudformation").delete_change_set(StackName="Stack", ChangeSetName="cdk-deploy-change-set")
        assert "didn't contain changes" in create(template(option))["StatusReason"]
    last = variables(deploy(template("{}")))
    # A topic that was removed comes back by another name.
    assert {**last, "TOPIC_ARN": ""} == {**defaults, "TOPIC_ARN": ""}
    assert len(client("lambda").list_functions()["Functions"]) == 1


def test_a_key_is_taken_and_taken_back() -> None:
    """An update to `keyArn` encrypts topic, table, log and queues with the key in place, and one back does not."""
    key = client("kms").create_key()["KeyMetadata"]["Arn"]
    service = {
        "Effect": "Allow",
        "Principal": {"Service": f"logs.{REGION}.amazonaws.com"},
        "Action": "*",
        "Resource": "*",
    }
    client("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps({"Statement": [service]}))
    deploy(template("{}"), "CREATE")
    before, names = encryption(), resource_names()
    assert key not in str(before)
    deploy(template(json.dumps({"keyArn": key})))
    assert encryption() == [key] * len(before)
    assert resource_names() == names
    deploy(template("{}"))
    assert key not in str(encryption())


def resource_names() -> Collection[str]:
    """Return the names of what a key can encrypt."""
    found = client("cloudformation").describe_stack_resources(StackName="Stack")["StackResources"]
    return {each["PhysicalResourceId"] for each in found if each["ResourceType"] in ENCRYPTED}


def encryption() -> Sequence[str | None]:
    """Return the key of each of them, None for a key of AWS that has no name."""
    (table,) = client("dynamodb").list_tables()["TableNames"]
    (topic,) = client("sns").list_topics()["Topics"]
    (group,) = client("logs").describe_log_groups()["logGroups"]
    queues = [
        client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        for url in client("sqs").list_queues()["QueueUrls"]
    ]
    return [
        client("dynamodb").describe_table(TableName=table)["Table"].get("SSEDescription", {}).get("KMSMasterKeyArn"),
        client("sns").get_topic_attributes(TopicArn=topic["TopicArn"])["Attributes"].get("KmsMasterKeyId"),
        group.get("kmsKeyId"),
        *(queue.get("KmsMasterKeyId") for queue in queues),
    ]


def test_a_previous_parameter_is_kept() -> None:
    """A parameter of SSM, and one with a value, can be passed again as the previous value."""
    parameters = {
        "Version": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": VERSION},
        "Days": {"Type": "Number", "Default": "1"},
    }
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"MessageRetentionPeriod": {"Ref": "Days"}}}
    body = {"Parameters": parameters, "Resources": {"Queue": queue}}
    deploy(json.dumps(body), "CREATE", Parameters=[{"ParameterKey": "Days", "ParameterValue": "3600"}])
    previous = [{"ParameterKey": key, "UsePreviousValue": True} for key in parameters]
    with_another = {**body, "Resources": {"Queue": queue, "Other": queue}}
    assert deploy(json.dumps(with_another), Parameters=previous)["StackStatus"] == "UPDATE_COMPLETE"
    for url in client("sqs").list_queues()["QueueUrls"]:
        found = client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["MessageRetentionPeriod"])
        assert found["Attributes"] == {"MessageRetentionPeriod": "3600"}


def test_an_update_that_is_not_emulated_is_one_sentence() -> None:
    """An update of a type that cannot be updated is refused with what to do instead."""
    network = {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}}
    deploy(json.dumps({"Resources": {"Network": network}}), "CREATE")
    network["Properties"] = {"CidrBlock": "10.1.0.0/16"}
    with pytest.raises(ClientError, match="cannot update AWS::EC2::VPC: destroy the stack"):
        create(json.dumps({"Resources": {"Network": network}}))
