"""The local AWS runs a deployed function, delivers events to it, and sends what fails to queues."""

import base64
import functools
import io
import json
import os
import re
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.aws import cloudformation, events, functions

if TYPE_CHECKING:
    from pathlib import Path

    from types_boto3_cloudformation.client import CloudFormationClient
    from types_boto3_cloudformation.literals import ChangeSetTypeType
    from types_boto3_events.client import EventBridgeClient
    from types_boto3_lambda.client import LambdaClient
    from types_boto3_lambda.type_defs import InvocationResponseTypeDef
    from types_boto3_s3.client import S3Client
    from types_boto3_sqs.client import SQSClient

ACCOUNT: Final = "123456789012"
REGION: Final = "eu-central-1"
HANDLER: Final = """
import json, os, sys, threading

runs = 0

def handler(event, context):
    global runs
    runs += 1
    if "print" in event:
        print(event["print"])
    match event.get("do"):
        case "raise":
            raise ValueError("as requested")
        case "exit":
            os._exit(7)
        case "sleep":
            threading.Event().wait(60)
        case "import":
            __import__(event["module"])
        case "wait":
            # Two invocations that wait for each other's file end only if they are concurrent.
            own, other = event["files"]
            open(own, "w").close()
            while not os.path.exists(other):
                threading.Event().wait(0.01)
    return {
        "event": event, "variables": dict(os.environ), "runs": runs, "process": os.getpid(),
        "requestId": context.aws_request_id, "arn": context.invoked_function_arn, "home": sys.path[0] == os.getcwd(),
    }
"""
EVENT: Final[dict[str, object]] = {
    "version": "0",
    "id": "example-9f07-51db-246b-d8b8441bcdf0",
    "detail-type": "EC2 AMI State Change",
    "source": "aws.ec2",
    "account": ACCOUNT,
    "time": "2026-11-23T10:15:00Z",
    "region": REGION,
    "resources": [f"arn:aws:ec2:{REGION}::image/ami-0abcdef1234567890"],
    "detail": {"ImageId": "ami-0abcdef1234567890", "State": "available", "ErrorMessage": ""},
}


class Aws:
    """Clients of the local AWS, and what the tests do with them."""

    def __init__(self, endpoint_url: str) -> None:
        session = boto3.Session(region_name=REGION)
        options: dict[str, Any] = {"endpoint_url": endpoint_url, "config": Config(retries={"total_max_attempts": 1})}
        self.cloudformation: CloudFormationClient = session.client("cloudformation", **options)
        self.events: EventBridgeClient = session.client("events", **options)
        self.functions: LambdaClient = session.client("lambda", **options)
        self.s3: S3Client = session.client("s3", **options)
        self.sqs: SQSClient = session.client("sqs", **options)
        self.logs = session.client("logs", **options)

    def upload(self, key: str = "code.zip", code: str = HANDLER) -> None:
        """Upload an artefact with `code` to the bucket of the template."""
        artefact = io.BytesIO()
        with zipfile.ZipFile(artefact, "w") as archive:
            archive.writestr("app.py", code)
        self.s3.put_object(Bucket="assets", Key=key, Body=artefact.getvalue())

    def deploy(self, template: dict[str, Any]) -> None:
        """Create the stack."""
        self.cloudformation.create_stack(StackName="stack", TemplateBody=json.dumps(template))

    def apply_change_set(self, template: dict[str, Any], kind: "ChangeSetTypeType") -> None:
        """Create or update the stack with a change set."""
        change_set = self.cloudformation.create_change_set(
            StackName="stack", ChangeSetName="changes", ChangeSetType=kind, TemplateBody=json.dumps(template)
        )
        self.cloudformation.execute_change_set(ChangeSetName=change_set["Id"])

    def invoke(self, **event: object) -> "InvocationResponseTypeDef":
        """Invoke the function synchronously and return the response."""
        return self.functions.invoke(FunctionName="function", Payload=json.dumps(event), LogType="Tail")

    def answer(self, **event: object) -> Any:  # noqa: ANN401 - any JSON
        """Invoke the function and return its answer."""
        return json.load(self.invoke(**event)["Payload"])

    def messages(self, queue: str) -> list[Any]:
        """Receive the messages of a queue."""
        url = self.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        answer = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        return list(answer.get("Messages", []))


@pytest.fixture
def aws(endpoint_url: str) -> Iterator[Aws]:
    """Give a local AWS with nothing but the artefact."""
    functions.install(endpoint_url, os.environ["AWS_ACCESS_KEY_ID"])
    cloudformation.install()
    aws = connect(endpoint_url)
    aws.s3.create_bucket(Bucket="assets", CreateBucketConfiguration={"LocationConstraint": REGION})
    aws.upload()
    yield aws
    functions.shutdown()


@functools.cache
def connect(endpoint_url: str) -> Aws:
    """Return the clients. To create them takes longer than most tests."""
    return Aws(endpoint_url)


def template() -> dict[str, Any]:
    """Return a template with a function, a rule, a schedule, and the DLQs of the function and of the events."""
    eventbridge = {"Service": "events.amazonaws.com"}
    target = {
        "Id": "Target0",
        "Arn": {"Fn::GetAtt": ["Function", "Arn"]},
        "DeadLetterConfig": {"Arn": {"Fn::GetAtt": ["EventDlq", "Arn"]}},
    }
    pattern = {"source": ["aws.ec2"], "detail": {"State": ["available"]}}
    send = {
        "Effect": "Allow",
        "Action": "sqs:SendMessage",
        "Principal": eventbridge,
        "Resource": {"Fn::GetAtt": ["EventDlq", "Arn"]},
        "Condition": {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["Rule", "Arn"]}}},
    }
    write = {"Effect": "Allow", "Action": ["logs:*", "sqs:SendMessage"], "Resource": "*"}
    invoke = {"Action": "lambda:InvokeFunction", "FunctionName": {"Fn::GetAtt": ["Function", "Arn"]}}
    resources = {
        "Metadata": ("AWS::CDK::Metadata", {"Analytics": "v2"}),
        "Role": (
            "AWS::IAM::Role",
            {
                "RoleName": "role",
                "AssumeRolePolicyDocument": {"Statement": []},
                "Policies": [{"PolicyName": "policy", "PolicyDocument": {"Statement": [write]}}],
            },
        ),
        "Logs": ("AWS::Logs::LogGroup", {"LogGroupName": "group"}),
        "FunctionDlq": ("AWS::SQS::Queue", {"QueueName": "function-dlq"}),
        "EventDlq": ("AWS::SQS::Queue", {"QueueName": "event-dlq"}),
        "Policy": (
            "AWS::SQS::QueuePolicy",
            {"Queues": [{"Ref": "EventDlq"}], "PolicyDocument": {"Statement": [send]}},
        ),
        "Function": (
            "AWS::Lambda::Function",
            {
                "FunctionName": "function",
                "Code": {"S3Bucket": "assets", "S3Key": "code.zip"},
                "Handler": "app.handler",
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "Runtime": "python3.13",
                "Architectures": ["arm64"],
                "Timeout": 20,
                "Environment": {"Variables": {"GREETING": "hello"}},
                "LoggingConfig": {"LogFormat": "JSON", "LogGroup": {"Ref": "Logs"}},
            },
        ),
        "Invocations": (
            "AWS::Lambda::EventInvokeConfig",
            {
                "FunctionName": {"Ref": "Function"},
                "Qualifier": "$LATEST",
                "DestinationConfig": {"OnFailure": {"Destination": {"Fn::GetAtt": ["FunctionDlq", "Arn"]}}},
            },
        ),
        "Rule": (
            "AWS::Events::Rule",
            {"Name": "rule", "EventPattern": pattern, "State": "ENABLED", "Targets": [target]},
        ),
        "Permission": (
            "AWS::Lambda::Permission",
            {**invoke, "Principal": "events.amazonaws.com", "SourceArn": {"Fn::GetAtt": ["Rule", "Arn"]}},
        ),
        "Schedule": (
            "AWS::Events::Rule",
            {
                "Name": "schedule",
                "ScheduleExpression": "rate(15 minutes)",
                "State": "ENABLED",
                "Targets": [target],
            },
        ),
        "SchedulePermission": (
            "AWS::Lambda::Permission",
            {**invoke, "Principal": "events.amazonaws.com", "SourceArn": {"Fn::GetAtt": ["Schedule", "Arn"]}},
        ),
    }
    return {"Resources": {name: {"Type": kind, "Properties": of} for name, (kind, of) in resources.items()}}


def properties(template: dict[str, Any], resource: str) -> dict[str, Any]:
    """Return the properties of a resource; the caller may change them."""
    found: dict[str, Any] = template["Resources"][resource]["Properties"]
    return found


def test_the_deployed_handler_runs(aws: Aws) -> None:
    """An invocation returns the answer of the artefact's handler, which has the variables of the template."""
    aws.deploy(template())
    answer = aws.answer(name="web")
    assert answer["event"] == {"name": "web"}
    assert answer["variables"]["GREETING"] == "hello"
    assert answer["arn"] == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:function"
    assert answer["home"]


def test_an_environment_stays_warm(aws: Aws) -> None:
    """Consecutive invocations run in the same process."""
    aws.deploy(template())
    first, second = aws.answer(), aws.answer()
    assert (first["runs"], second["runs"]) == (1, 2)
    assert first["requestId"] != second["requestId"]


def test_concurrent_invocations_have_separate_environments(aws: Aws, tmp_path: "Path") -> None:
    """Two concurrent invocations run in two processes at the same time."""
    aws.deploy(template())
    files = [str(tmp_path / "a"), str(tmp_path / "b")]
    with ThreadPoolExecutor() as threads:
        answers = list(threads.map(lambda order: aws.answer(do="wait", files=order), (files, files[::-1])))
    assert len({answer["process"] for answer in answers}) == 2


@pytest.mark.parametrize("module", ["moto", "boto3", "local", "_pytest"])
def test_other_packages_cannot_be_imported(aws: Aws, module: str) -> None:
    """The process cannot import a package of the virtual environment or of the source tree."""
    aws.deploy(template())
    assert aws.answer(do="import", module=module)["errorType"] == "ModuleNotFoundError"


def test_variables_of_the_machine_are_not_passed_on(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process has only the variables of Lambda and of the template, with the URL of the local AWS."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    aws.deploy(template())
    variables = aws.answer()["variables"]
    assert not {"AWS_MAX_ATTEMPTS", "HTTPS_PROXY"} & variables.keys()
    assert variables["AWS_ENDPOINT_URL"] == aws.functions.meta.endpoint_url
    assert (variables["AWS_REGION"], variables["AWS_LAMBDA_FUNCTION_NAME"]) == (REGION, "function")


def test_logs_are_complete(aws: Aws) -> None:
    """The output of an invocation is in its log tail (the last 4 KB) and complete in the log group of the template."""
    aws.deploy(template())
    output = "x" * 300_000
    tail = base64.b64decode(aws.invoke(print=output)["LogResult"]).decode()
    assert tail == "x" * 4095 + "\n"
    aws.answer(print="second")
    streams = aws.logs.describe_log_streams(logGroupName="group")["logStreams"]
    assert len(streams) == 1
    events = aws.logs.get_log_events(logGroupName="group", logStreamName=streams[0]["logStreamName"])["events"]
    assert [event["message"] for event in events] == [output, "second"]


def test_logs_have_the_format_of_the_template(aws: Aws) -> None:
    """The log has the format of LoggingConfig."""
    aws.deploy(template())
    logged = json.loads(base64.b64decode(aws.invoke(do="raise")["LogResult"]))
    assert (logged["level"], logged["errorType"]) == ("ERROR", "ValueError")


def test_a_deleted_log_group_is_not_created_again(aws: Aws) -> None:
    """An invocation after its log group is deleted is answered and does not create the log group."""
    aws.deploy(template())
    aws.logs.delete_log_group(logGroupName="group")
    assert "FunctionError" in aws.invoke(do="raise")
    assert aws.logs.describe_log_groups()["logGroups"] == []


def test_without_logging_config_logs_are_text_in_the_default_group(aws: Aws) -> None:
    """Without LoggingConfig, the log group is `/aws/lambda/NAME` and an error of several lines is one log event."""
    plain = template()
    del properties(plain, "Function")["LoggingConfig"]
    aws.deploy(plain)
    aws.invoke(do="raise")
    (event,) = aws.logs.filter_log_events(logGroupName="/aws/lambda/function")["events"]
    assert event["message"].startswith("[ERROR] ValueError: as requested\rTraceback")


def test_an_exception_is_a_function_error(aws: Aws) -> None:
    """An exception is answered with status 200 and Lambda's error format, and the process stays warm."""
    aws.deploy(template())
    response = aws.invoke(do="raise")
    assert (response["StatusCode"], response["FunctionError"]) == (200, "Unhandled")
    error = json.load(response["Payload"])
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "as requested")
    assert aws.answer()["runs"] == 2


def test_an_artefact_that_cannot_be_loaded_is_reported(aws: Aws) -> None:
    """An error during init is the answer of the first invocation."""
    broken = template()
    properties(broken, "Function")["Handler"] = "missing.handler"
    aws.deploy(broken)
    assert aws.answer()["errorType"] == "Runtime.ImportModuleError"


@pytest.mark.parametrize(
    ("do", "error_type", "message"),
    [
        ("exit", "Runtime.ExitError", "Error: Runtime exited with error: exit status 7"),
        ("sleep", "Sandbox.Timedout", "Error: Task timed out after 1.00 seconds"),
    ],
)
def test_a_crash_and_a_timeout_are_reported(aws: Aws, do: str, error_type: str, message: str) -> None:
    """A crash and a timeout are function errors with the output before, and the next invocation has another process."""
    short = template()
    properties(short, "Function")["Timeout"] = 1
    aws.deploy(short)
    response = aws.invoke(do=do, print="before")
    assert response["FunctionError"] == "Unhandled"
    error = json.load(response["Payload"])
    assert error["errorType"] == error_type
    assert re.fullmatch(rf"RequestId: [-0-9a-f]{{36}} {message}", error["errorMessage"])
    assert base64.b64decode(response["LogResult"]) == b"before\n"
    assert aws.answer()["runs"] == 1


def test_an_asynchronous_invocation_is_queued(aws: Aws) -> None:
    """An asynchronous invocation is accepted and then run by `run_queued`, once if it succeeds."""
    aws.deploy(template())
    response = aws.functions.invoke(FunctionName="function", InvocationType="Event", Payload=b'{"a": 1}')
    assert response["StatusCode"] == 202
    assert not functions.invocations()
    assert functions.run_queued() == 1
    assert functions.run_queued() == 0
    assert [(run.payload, run.attempt, run.result.error) for run in functions.invocations()] == [
        (b'{"a": 1}', 1, False)
    ]
    assert not aws.messages("function-dlq")


@pytest.mark.parametrize(("retries", "attempts"), [(None, 3), (1, 2), (0, 1)])
def test_a_failing_event_goes_to_the_destination(aws: Aws, retries: int | None, attempts: int) -> None:
    """A failing asynchronous invocation is retried as configured, then recorded once in the on-failure destination."""
    failing = template()
    if retries is not None:
        properties(failing, "Invocations")["MaximumRetryAttempts"] = retries
    aws.deploy(failing)
    aws.functions.invoke(FunctionName="function", InvocationType="Event", Payload=b'{"do": "raise"}')
    functions.run_queued()
    runs = functions.invocations()
    assert [run.attempt for run in runs] == list(range(1, attempts + 1))
    assert len({run.result.request_id for run in runs}) == 1
    (message,) = aws.messages("function-dlq")
    record = json.loads(message["Body"])
    assert record.pop("timestamp").endswith("Z")
    assert record.pop("responsePayload")["errorType"] == "ValueError"
    assert record == {
        "version": "1.0",
        "requestContext": {
            "requestId": runs[0].result.request_id,
            "functionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:function:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": attempts,
        },
        "requestPayload": {"do": "raise"},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
    }


def test_a_failing_event_goes_to_the_functions_dead_letter_queue(aws: Aws) -> None:
    """The queue of DeadLetterConfig gets the failed event with the error in its attributes."""
    failing = template()
    del failing["Resources"]["Invocations"]
    properties(failing, "Function")["DeadLetterConfig"] = {"TargetArn": {"Fn::GetAtt": ["FunctionDlq", "Arn"]}}
    aws.deploy(failing)
    for payload in (b'{"do": "raise"}', b"{}"):
        aws.functions.invoke(FunctionName="function", InvocationType="Event", Payload=payload)
    functions.run_queued()
    (message,) = aws.messages("function-dlq")
    assert message["Body"] == '{"do": "raise"}'
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    request_id = functions.invocations()[0].result.request_id
    assert attributes == {"RequestID": request_id, "ErrorCode": "200", "ErrorMessage": "as requested"}


def test_a_matching_event_reaches_the_function(aws: Aws) -> None:
    """The target of a matching rule gets the unchanged event, once; the schedule does not."""
    aws.deploy(template())
    assert events.deliver(EVENT) == 1
    functions.run_queued()
    (run,) = functions.invocations()
    assert json.loads(run.payload) == json.loads(run.result.payload)["event"] == EVENT


def test_other_events_do_not_reach_the_function(aws: Aws) -> None:
    """An event that no pattern matches, or of another Region, has no target."""
    aws.deploy(template())
    assert events.deliver({**EVENT, "detail": {"State": "failed"}}) == 0
    assert events.deliver({**EVENT, "region": "us-east-1"}) == 0
    assert functions.run_queued() == 0


def test_a_disabled_rule_does_not_fire(aws: Aws) -> None:
    """A disabled rule delivers no event, and a disabled schedule does not fire."""
    disabled = template()
    properties(disabled, "Rule")["State"] = properties(disabled, "Schedule")["State"] = "DISABLED"
    aws.deploy(disabled)
    assert events.deliver(EVENT) == 0
    assert events.fire_schedules(ACCOUNT, REGION) == 0


@pytest.mark.parametrize(
    ("target_input", "payload"),
    [
        ({"Input": '{"action": "sweep"}'}, {"action": "sweep"}),
        ({"InputPath": "$.detail"}, EVENT["detail"]),
        (
            {"InputTransformer": {"InputPathsMap": {"ami": "$.detail.ImageId"}, "InputTemplate": '{"id": "<ami>"}'}},
            {"id": "ami-0abcdef1234567890"},
        ),
    ],
)
def test_input_of_a_target(aws: Aws, target_input: dict[str, object], payload: object) -> None:
    """The function gets the payload that Input, InputPath or InputTransformer makes."""
    changed = template()
    properties(changed, "Rule")["Targets"][0] |= target_input
    aws.deploy(changed)
    assert events.deliver(EVENT) == 1
    functions.run_queued()
    assert json.loads(functions.invocations()[0].payload) == payload


def test_schedules_are_fired(aws: Aws) -> None:
    """`fire_schedules` sends the documented event of a schedule to the targets of schedules only."""
    aws.deploy(template())
    assert events.fire_schedules(ACCOUNT, REGION) == 1
    functions.run_queued()
    (run,) = functions.invocations()
    event = json.loads(run.payload)
    assert event["detail-type"] == "Scheduled Event"
    assert event["resources"] == [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/schedule"]


def test_a_queue_can_be_a_target(aws: Aws) -> None:
    """A queue gets the event if its policy allows the rule."""
    direct = template()
    properties(direct, "Rule")["Targets"] = [{"Id": "Q", "Arn": {"Fn::GetAtt": ["EventDlq", "Arn"]}}]
    aws.deploy(direct)
    assert events.deliver(EVENT) == 1
    assert [json.loads(message["Body"]) for message in aws.messages("event-dlq")] == [EVENT]


@pytest.mark.parametrize(
    "change",
    [
        {"SourceArn": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/other"},
        {"Principal": "s3.amazonaws.com"},
        {"Action": "lambda:GetFunction"},
        {"SourceAccount": "210987654321"},
    ],
)
def test_without_permission_the_event_goes_to_the_dlq(aws: Aws, change: dict[str, str]) -> None:
    """An event that EventBridge may not deliver is in the target's dead-letter queue, with the error code."""
    forbidden = template()
    properties(forbidden, "Permission").update(change)
    aws.deploy(forbidden)
    assert events.deliver(EVENT) == 0
    assert functions.run_queued() == 0
    (message,) = aws.messages("event-dlq")
    assert json.loads(message["Body"]) == EVENT
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes["ERROR_CODE"] == "NO_PERMISSIONS"
    assert attributes["RULE_ARN"] == f"arn:aws:events:{REGION}:{ACCOUNT}:rule/rule"
    assert attributes["TARGET_ARN"] == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:function"


def test_without_a_function_the_event_goes_to_the_dlq(aws: Aws) -> None:
    """An event for a deleted function is in the target's dead-letter queue, with the error code."""
    aws.deploy(template())
    aws.functions.delete_function(FunctionName="function")
    assert events.deliver(EVENT) == 0
    (message,) = aws.messages("event-dlq")
    assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_RESOURCE"


def test_a_dlq_without_permission_gets_nothing(aws: Aws) -> None:
    """An event that may be sent neither to the function nor to the dead-letter queue is lost."""
    lost = template()
    del lost["Resources"]["Permission"], lost["Resources"]["Policy"]
    aws.deploy(lost)
    assert events.deliver(EVENT) == 0
    assert not aws.messages("event-dlq")


def test_an_unknown_kind_of_target_is_an_error(aws: Aws) -> None:
    """A target of a service that is not supported raises NotImplementedError."""
    unknown = template()
    properties(unknown, "Rule")["Targets"][0]["Arn"] = f"arn:aws:sns:{REGION}:{ACCOUNT}:topic"
    aws.deploy(unknown)
    with pytest.raises(NotImplementedError, match="arn:aws:sns:"):
        events.deliver(EVENT)


def test_a_template_with_an_unknown_type_is_refused(aws: Aws) -> None:
    """A template with a type that moto skips is an error with the type, and no resource is created."""
    unknown = template()
    unknown["Resources"]["Guard"] = {"Type": "AWS::Backup::BackupPlan", "Properties": {}}
    refusal = r"Unrecognized resource types: \[AWS::Backup::BackupPlan\]"
    with pytest.raises(ClientError, match=refusal):
        aws.deploy(unknown)
    assert not aws.functions.list_functions()["Functions"]
    aws.deploy(template())
    with pytest.raises(ClientError, match=refusal):
        aws.apply_change_set(unknown, "UPDATE")


def test_a_change_set_deploys(aws: Aws) -> None:
    """A change set deploys the stack as CreateStack does, with outputs and exports."""
    with_output = {**template(), "Outputs": {"Name": {"Value": {"Ref": "Function"}, "Export": {"Name": "name"}}}}
    aws.apply_change_set(with_output, "CREATE")
    (stack,) = aws.cloudformation.describe_stacks(StackName="stack")["Stacks"]
    assert [output["OutputValue"] for output in stack["Outputs"]] == ["function"]
    assert events.deliver(EVENT) == 1
    assert functions.run_queued() == 1
    assert aws.answer()["event"] == {}
    assert [export["Value"] for export in aws.cloudformation.list_exports()["Exports"]] == ["function"]
    aws.cloudformation.delete_stack(StackName="stack")
    assert not aws.cloudformation.list_exports()["Exports"]


def test_properties_that_moto_ignores(aws: Aws) -> None:
    """The function's configuration has the architecture and the logging of the template."""
    aws.deploy(template())
    deployed = aws.functions.get_function_configuration(FunctionName="function")
    assert deployed["Architectures"] == ["arm64"]
    assert deployed["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": "group"}


def test_an_update_reaches_the_running_function(aws: Aws) -> None:
    """The next invocation after an update has the new code, variables and retries."""
    aws.deploy(template())
    aws.answer()
    aws.upload("other.zip", HANDLER.replace("runs = 0", "runs = 40"))
    other = template()
    properties(other, "Function")["Code"]["S3Key"] = "other.zip"
    properties(other, "Function")["Environment"]["Variables"]["GREETING"] = "good bye"
    properties(other, "Invocations")["MaximumRetryAttempts"] = 0
    aws.cloudformation.update_stack(StackName="stack", TemplateBody=json.dumps(other))
    answer = aws.answer()
    assert (answer["runs"], answer["variables"]["GREETING"]) == (41, "good bye")
    configured = aws.functions.get_function_event_invoke_config(FunctionName="function")
    assert configured["MaximumRetryAttempts"] == 0


def test_a_removed_resource_has_no_effect(aws: Aws) -> None:
    """Removing the invoke configuration and the queue policy from the template removes their settings."""
    aws.deploy(template())
    smaller = template()
    del smaller["Resources"]["Invocations"], smaller["Resources"]["Policy"]
    aws.cloudformation.update_stack(StackName="stack", TemplateBody=json.dumps(smaller))
    assert not aws.functions.list_function_event_invoke_configs(FunctionName="function")["FunctionEventInvokeConfigs"]
    url = aws.sqs.get_queue_url(QueueName="event-dlq")["QueueUrl"]
    assert "Attributes" not in aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])


def test_deleting_the_stack_leaves_nothing(aws: Aws) -> None:
    """After the stack is deleted, there is no function, rule or process, and the same stack can be created again."""
    aws.deploy(template())
    process = aws.answer()["process"]
    aws.cloudformation.delete_stack(StackName="stack")
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert not aws.functions.list_functions()["Functions"]
    assert not aws.events.list_rules()["Rules"]
    assert events.deliver(EVENT) == 0
    aws.deploy(template())
    assert aws.answer()["runs"] == 1
