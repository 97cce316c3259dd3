"""The local CloudWatch tells the topics of an alarm about its state."""

import json
from typing import Any

import pytest

from tests.conftest import ACCOUNT, REGION, client

ALLOWED = {
    "Effect": "Allow",
    "Principal": {"Service": "cloudwatch.amazonaws.com"},
    "Action": "sns:Publish",
    "Resource": "*",
    "Condition": {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnLike": {"aws:SourceArn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:mine-*"},
    },
}


def set_states(alarm: str, policy: dict[str, Any]) -> list[str]:
    """Set an alarm of a topic with this policy to ALARM, OK and INSUFFICIENT_DATA; return the states that arrive."""
    sns, sqs, cloudwatch = client("sns"), client("sqs"), client("cloudwatch")
    topic = sns.create_topic(Name="topic")["TopicArn"]
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps(policy))
    url = sqs.create_queue(QueueName="mailbox")["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:mailbox")
    cloudwatch.put_metric_alarm(
        AlarmName=alarm,
        Namespace="N",
        MetricName="M",
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        Period=60,
        Threshold=0,
        Statistic="Sum",
        AlarmActions=[topic],
        OKActions=[topic],
    )
    for state in ("ALARM", "OK", "INSUFFICIENT_DATA"):
        cloudwatch.set_alarm_state(AlarmName=alarm, StateValue=state, StateReason="test")
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(json.loads(each["Body"])["Message"])["NewStateValue"] for each in messages]


@pytest.mark.parametrize(("alarm", "states"), [("mine-1", ["ALARM", "OK"]), ("other", [])])
@pytest.mark.usefixtures("endpoint_url")
def test_an_alarm_reaches_its_topic(alarm: str, states: list[str]) -> None:
    """An alarm publishes the states that it has actions for, where the topic's policy allows it."""
    assert set_states(alarm, {"Version": "2012-10-17", "Statement": [ALLOWED]}) == states
