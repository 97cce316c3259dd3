"""The local CloudFormation answers change sets and updates as AWS documents, and says what it does not do."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws.local_aws import ACCOUNT, LocalAws

QUEUE = {"Type": "AWS::SQS::Queue"}
TABLE: dict[str, Any] = {
    "Type": "AWS::DynamoDB::Table",
    "Properties": {
        "TableName": "table",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    },
}
GROUP = {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 7}}
WRONG = {
    "Type": "AWS::Lambda::Permission",
    "Properties": {"FunctionName": "none", "Action": "lambda:InvokeFunction", "Principal": "sns.amazonaws.com"},
}


@pytest.fixture
def aws() -> Iterator[LocalAws]:
    """Give an empty local AWS."""
    with LocalAws() as aws:
        yield aws


def template(**resources: object) -> str:
    """Return a template with these resources."""
    return json.dumps({"Resources": resources})


def deploy(cloudformation: Any, name: str, kind: str, body: str) -> str:  # noqa: ANN401 - a client
    """Execute a change set and return the status of the stack."""
    created = cloudformation.create_change_set(
        StackName="stack", ChangeSetName=name, ChangeSetType=kind, TemplateBody=body
    )
    cloudformation.execute_change_set(ChangeSetName=created["Id"])
    return str(cloudformation.describe_stacks(StackName=created["StackId"])["Stacks"][0]["StackStatus"])


def test_change_sets_have_names_within_their_stack(aws: LocalAws) -> None:
    """A change set is found by its name and stack, is gone when it was executed, and is unknown elsewhere."""
    cloudformation = aws.client("cloudformation")
    assert deploy(cloudformation, "first", "CREATE", template(Queue=QUEUE)) == "CREATE_COMPLETE"
    for name, stack in (("first", "stack"), ("none", "stack")):
        with pytest.raises(cloudformation.exceptions.ChangeSetNotFoundException):
            cloudformation.describe_change_set(ChangeSetName=name, StackName=stack)
    with pytest.raises(ClientError, match="does not exist"):
        cloudformation.describe_change_set(ChangeSetName="first", StackName="other")
    cloudformation.delete_change_set(ChangeSetName="none", StackName="stack")


def test_a_change_set_without_changes_cannot_be_executed(aws: LocalAws) -> None:
    """A change set without changes has failed, and its execution is refused."""
    cloudformation = aws.client("cloudformation")
    deploy(cloudformation, "first", "CREATE", template(Queue=QUEUE))
    cloudformation.create_change_set(
        StackName="stack", ChangeSetName="same", ChangeSetType="UPDATE", TemplateBody=template(Queue=QUEUE)
    )
    found = cloudformation.describe_change_set(ChangeSetName="same", StackName="stack")
    assert (found["Status"], found["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    with pytest.raises(cloudformation.exceptions.InvalidChangeSetStatusException):
        cloudformation.execute_change_set(ChangeSetName="same", StackName="stack")


@pytest.mark.parametrize("kind", ["CREATE", "UPDATE"])
def test_a_failed_deployment_leaves_what_was_there(aws: LocalAws, kind: str) -> None:
    """A failed deployment is rolled back, and the stack's events have the reason."""
    cloudformation = aws.client("cloudformation")
    before = {}
    if kind == "UPDATE":
        deploy(cloudformation, "first", "CREATE", template(Group=GROUP))
        before = {"Group": GROUP}
    changed = {"Group": {**GROUP, "Properties": {"RetentionInDays": 30}}}
    status = deploy(cloudformation, "bad", kind, template(**changed, Queue=QUEUE, Wrong=WRONG))
    assert status == ("ROLLBACK_COMPLETE" if kind == "CREATE" else "UPDATE_ROLLBACK_COMPLETE")
    groups = aws.client("logs").describe_log_groups()["logGroups"]
    assert [group["retentionInDays"] for group in groups] == [7] * len(before)
    assert "QueueUrls" not in aws.client("sqs").list_queues()
    events = cloudformation.describe_stack_events(StackName="stack")["StackEvents"]
    assert any("function:none" in event.get("ResourceStatusReason", "") for event in events)


def test_a_refused_template_leaves_no_stack(aws: LocalAws) -> None:
    """A template with an unknown resource type is refused, and no stack is left."""
    cloudformation = aws.client("cloudformation")
    with pytest.raises(ClientError, match="AWS::Odd::Type"):
        deploy(cloudformation, "first", "CREATE", template(Odd={"Type": "AWS::Odd::Type"}))
    assert cloudformation.describe_stacks()["Stacks"] == []


@pytest.mark.parametrize(("policy", "left"), [({"DeletionPolicy": "Retain"}, ["table"]), ({}, [])])
def test_an_update_keeps_what_is_to_be_retained(aws: LocalAws, policy: dict[str, str], left: list[str]) -> None:
    """An update that removes a table deletes it, unless its DeletionPolicy is `Retain`."""
    cloudformation = aws.client("cloudformation")
    deploy(cloudformation, "first", "CREATE", template(Queue=QUEUE, Table={**TABLE, **policy}))
    assert deploy(cloudformation, "second", "UPDATE", template(Queue=QUEUE)) == "UPDATE_COMPLETE"
    resources = cloudformation.describe_stack_resources(StackName="stack")["StackResources"]
    assert [each["LogicalResourceId"] for each in resources] == ["Queue"]
    assert aws.client("dynamodb").list_tables()["TableNames"] == left


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("detect_stack_drift", {}),
        ("detect_stack_resource_drift", {"LogicalResourceId": "Queue"}),
        ("describe_stack_resource_drifts", {}),
    ],
)
def test_what_is_not_emulated_is_one_sentence(aws: LocalAws, operation: str, request_: dict[str, str]) -> None:
    """An operation that is not emulated is an error with one sentence, which clients do not repeat."""
    cloudformation = aws.client("cloudformation")
    name = cloudformation.meta.method_to_api_mapping[operation]
    with pytest.raises(ClientError, match=rf"The local AWS cannot do cloudformation:{name}\.$") as raised:
        getattr(cloudformation, operation)(StackName="stack", **request_)
    assert raised.value.response["ResponseMetadata"]["RetryAttempts"] == 0


def test_a_change_set_that_reverts_drift_is_refused(aws: LocalAws) -> None:
    """A change set with the deployment mode REVERT_DRIFT is refused, and is not created without it."""
    cloudformation = aws.client("cloudformation")
    deploy(cloudformation, "first", "CREATE", template(Queue=QUEUE))
    request = {"StackName": "stack", "ChangeSetName": "revert", "TemplateBody": template(Queue=QUEUE, Group=GROUP)}
    with pytest.raises(ClientError, match=r"cannot do cloudformation:CreateChangeSet like this: .* REVERT_DRIFT"):
        cloudformation.create_change_set(**request, DeploymentMode="REVERT_DRIFT")
    assert cloudformation.list_change_sets(StackName="stack")["Summaries"] == []


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ('{ $.level = "ERROR" }', ["error"]),
        ('{$.at.place="here"}', ["error"]),
        ('{ $.level = "FATAL" }', []),
        ("INFO", ["info"]),
    ],
)
def test_filter_patterns(aws: LocalAws, pattern: str, found: list[str]) -> None:
    """A filter pattern of a word or of a field of JSON selects the messages that match it."""
    assert [json.loads(message)["id"] for message in filtered(aws, pattern)] == found


def test_another_filter_pattern_is_refused(aws: LocalAws) -> None:
    """A filter pattern that is not emulated is an error and selects nothing."""
    with pytest.raises(ClientError, match="filter patterns"):
        filtered(aws, "{ $.count > 1 }")


def filtered(aws: LocalAws, pattern: str) -> list[str]:
    """Return the messages of a log group with two that match a pattern."""
    logs = aws.client("logs")
    logs.create_log_group(logGroupName="group")
    logs.create_log_stream(logGroupName="group", logStreamName="stream")
    messages = [
        json.dumps({"level": "ERROR", "at": {"place": "here"}, "id": "error"}),
        json.dumps({"level": "INFO", "id": "info"}),
    ]
    events = [{"timestamp": int(time.time() * 1000), "message": message} for message in messages]
    logs.put_log_events(logGroupName="group", logStreamName="stream", logEvents=events)
    answer = logs.filter_log_events(logGroupName="group", filterPattern=pattern)
    return [event["message"] for event in answer["events"]]


def test_a_topic_with_a_disabled_key_takes_no_messages(aws: LocalAws) -> None:
    """SNS refuses a message for a topic whose key is disabled, until it is enabled."""
    kms, sns = aws.client("kms"), aws.client("sns")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    topic = sns.create_topic(Name="topic", Attributes={"KmsMasterKeyId": key})["TopicArn"]
    kms.disable_key(KeyId=key)
    with pytest.raises(sns.exceptions.KMSDisabledException):
        sns.publish(TopicArn=topic, Message="text")
    kms.enable_key(KeyId=key)
    assert sns.publish(TopicArn=topic, Message="text")["MessageId"]


def test_a_table_with_a_disabled_key_answers_nothing(aws: LocalAws) -> None:
    """DynamoDB refuses to read and write a table whose key is disabled, until it is enabled."""
    kms, dynamodb = aws.client("kms"), aws.client("dynamodb")
    key = kms.create_key()["KeyMetadata"]
    encrypted = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key["Arn"]}
    dynamodb.create_table(**TABLE["Properties"], SSESpecification=encrypted)
    kms.disable_key(KeyId=key["KeyId"])
    item = {"id": {"S": "1"}}
    with pytest.raises(ClientError, match="KMS key access denied"):
        dynamodb.put_item(TableName="table", Item=item)
    with pytest.raises(ClientError, match="KMS key access denied"):
        dynamodb.get_item(TableName="table", Key=item)
    with pytest.raises(ClientError, match="KMS key access denied"):
        dynamodb.scan(TableName="table")
    kms.enable_key(KeyId=key["KeyId"])
    assert dynamodb.scan(TableName="table")["Items"] == []


@pytest.mark.parametrize("is_allowed", [True, False])
def test_a_log_group_needs_a_key_that_the_log_service_may_use(aws: LocalAws, *, is_allowed: bool) -> None:
    """A stack with an encrypted log group needs a key whose policy allows CloudWatch Logs to use it for this group."""
    kms, cloudformation = aws.client("kms"), aws.client("cloudformation")
    key = kms.create_key()["KeyMetadata"]
    group = f"arn:aws:logs:{aws.region}:{ACCOUNT}:log-group:{'group' if is_allowed else 'other'}"
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": f"logs.{aws.region}.amazonaws.com"},
        "Action": "kms:*",
        "Resource": "*",
        "Condition": {"ArnEquals": {"kms:EncryptionContext:aws:logs:arn": group}},
    }
    kms.put_key_policy(KeyId=key["KeyId"], PolicyName="default", Policy=json.dumps({"Statement": [statement]}))
    properties = {"LogGroupName": "group", "KmsKeyId": key["Arn"]}
    body = template(Group={"Type": "AWS::Logs::LogGroup", "Properties": properties})
    status = deploy(cloudformation, "first", "CREATE", body)
    assert status == ("CREATE_COMPLETE" if is_allowed else "ROLLBACK_COMPLETE")


@pytest.mark.parametrize(
    ("scope", "policy", "attributes", "arrives"),
    [
        ({}, {"outcome": [{"exists": False}]}, {}, False),
        ({}, {"outcome": [{"exists": False}]}, {"other": "x"}, True),
        ({}, {"outcome": [{"exists": False}, "FAILED"]}, {"outcome": "FAILED"}, True),
        ({}, {"outcome": [{"exists": False}, "FAILED"]}, {"outcome": "DONE"}, False),
        ({"FilterPolicyScope": "MessageAttributes"}, {"outcome": [{"exists": False}]}, {}, False),
        ({"FilterPolicyScope": "MessageBody"}, {"outcome": [{"exists": False}]}, {}, True),
        ({}, None, {}, True),
    ],
)
def test_a_message_without_attributes_matches_no_filter_on_attributes(
    aws: LocalAws,
    scope: dict[str, str],
    policy: dict[str, object] | None,
    attributes: dict[str, str],
    arrives: bool,  # noqa: FBT001 - a case of the table
) -> None:
    """A filter policy on attributes passes no message without attributes; one on the body, and none, are as usual."""
    sns, sqs = aws.client("sns"), aws.client("sqs")
    topic = sns.create_topic(Name="topic")["TopicArn"]
    url = sqs.create_queue(QueueName="queue")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    filters = scope | ({"FilterPolicy": json.dumps(policy)} if policy else {})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=filters)
    given = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    sns.publish(TopicArn=topic, Message="{}", MessageAttributes=given)
    assert len(aws.receive_messages(url)) == arrives


def test_schedules_fire_when_they_are_due(aws: LocalAws) -> None:
    """A schedule fires every so many minutes, and a Region of its own has its own schedules."""
    rules, sqs = aws.client("events"), aws.client("sqs")
    url = sqs.create_queue(QueueName="queue")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:*", "Resource": arn}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Statement": [allow]})})
    rules.put_rule(Name="rule", ScheduleExpression="rate(5 minutes)")
    rules.put_targets(Rule="rule", Targets=[{"Id": "1", "Arn": arn}])
    for minute in range(1, 13):
        aws.fire_schedules(minute)
    assert len(aws.receive_messages(url)) == 2
