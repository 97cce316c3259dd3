"""What a deployed template does on this machine's AWS: functions run, events arrive, failures are kept."""

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
import json, os, sys, time

runs = 0

def handler(event, context):
    global runs
    runs += 1
    if "say" in event:
        print(event["say"])
    match event.get("do"):
        case "raise":
            raise ValueError("as asked")
        case "exit":
            os._exit(7)
        case "hang":
            time.sleep(60)
        case "import":
            __import__(event["module"])
        case "meet":
            # Two invocations that wait for each other's file end only if they run at the same time.
            mine, other = event["files"]
            open(mine, "w").close()
            while not os.path.exists(other):
                time.sleep(0.01)
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
    """The local AWS and how the tests speak to it."""

    def __init__(self, endpoint_url: str) -> None:
        session = boto3.Session("test", "test", region_name=REGION)
        options: dict[str, Any] = {"endpoint_url": endpoint_url, "config": Config(retries={"total_max_attempts": 1})}
        self.cloudformation: CloudFormationClient = session.client("cloudformation", **options)
        self.events: EventBridgeClient = session.client("events", **options)
        self.functions: LambdaClient = session.client("lambda", **options)
        self.s3: S3Client = session.client("s3", **options)
        self.sqs: SQSClient = session.client("sqs", **options)
        self.logs = session.client("logs", **options)

    def upload(self, key: str = "code.zip", code: str = HANDLER) -> None:
        """Put an artefact with `code` into the bucket that the template names."""
        artefact = io.BytesIO()
        with zipfile.ZipFile(artefact, "w") as archive:
            archive.writestr("app.py", code)
        self.s3.put_object(Bucket="assets", Key=key, Body=artefact.getvalue())

    def deploy(self, template: dict[str, Any]) -> None:
        """Create the stack."""
        self.cloudformation.create_stack(StackName="stack", TemplateBody=json.dumps(template))

    def change(self, template: dict[str, Any], kind: "ChangeSetTypeType") -> None:
        """Create or update the stack by a change set."""
        change_set = self.cloudformation.create_change_set(
            StackName="stack", ChangeSetName="changes", ChangeSetType=kind, TemplateBody=json.dumps(template)
        )
        self.cloudformation.execute_change_set(ChangeSetName=change_set["Id"])

    def invoke(self, **event: object) -> "InvocationResponseTypeDef":
        """Invoke the function and wait for its answer."""
        return self.functions.invoke(FunctionName="function", Payload=json.dumps(event), LogType="Tail")

    def answer(self, **event: object) -> Any:  # noqa: ANN401 - whatever the function says
        """Invoke the function and return what it says."""
        return json.load(self.invoke(**event)["Payload"])

    def messages(self, queue: str) -> list[Any]:
        """Take the messages out of a queue."""
        url = self.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        answer = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        return list(answer.get("Messages", []))


@pytest.fixture
def aws(moto_server: str) -> Iterator[Aws]:
    """Return an AWS with nothing in it but an artefact."""
    functions.install(moto_server)
    cloudformation.install()
    aws = connect(moto_server)
    aws.s3.create_bucket(Bucket="assets", CreateBucketConfiguration={"LocationConstraint": REGION})
    aws.upload()
    yield aws
    functions.shutdown()


@functools.cache
def connect(endpoint_url: str) -> Aws:
    """Return clients, which take longer to make than most tests to run."""
    return Aws(endpoint_url)


def template() -> dict[str, Any]:
    """Return what CDK makes of a function with two rules, a queue of failed runs and one of undelivered events."""
    allowed = {"Service": "events.amazonaws.com"}
    target = {
        "Id": "Target0",
        "Arn": {"Fn::GetAtt": ["Function", "Arn"]},
        "DeadLetterConfig": {"Arn": {"Fn::GetAtt": ["Undelivered", "Arn"]}},
    }
    pattern = {"source": ["aws.ec2"], "detail": {"State": ["available"]}}
    send = {
        "Effect": "Allow",
        "Action": "sqs:SendMessage",
        "Principal": allowed,
        "Resource": {"Fn::GetAtt": ["Undelivered", "Arn"]},
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
        "Failures": ("AWS::SQS::Queue", {"QueueName": "failures"}),
        "Undelivered": ("AWS::SQS::Queue", {"QueueName": "undelivered"}),
        "Policy": (
            "AWS::SQS::QueuePolicy",
            {"Queues": [{"Ref": "Undelivered"}], "PolicyDocument": {"Statement": [send]}},
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
                "DestinationConfig": {"OnFailure": {"Destination": {"Fn::GetAtt": ["Failures", "Arn"]}}},
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
    """Return a resource's properties, to be changed."""
    found: dict[str, Any] = template["Resources"][resource]["Properties"]
    return found


def test_the_deployed_handler_answers(aws: Aws) -> None:
    """An invocation returns what the artefact's handler returns, run with the variables of the template."""
    aws.deploy(template())
    answer = aws.answer(name="web")
    assert answer["event"] == {"name": "web"}
    assert answer["variables"]["GREETING"] == "hello"
    assert answer["arn"] == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:function"
    assert answer["home"]


def test_an_environment_stays_warm(aws: Aws) -> None:
    """Invocations one after the other share a process."""
    aws.deploy(template())
    first, second = aws.answer(), aws.answer()
    assert (first["runs"], second["runs"]) == (1, 2)
    assert first["requestId"] != second["requestId"]


def test_concurrent_invocations_have_environments_of_their_own(aws: Aws, tmp_path: "Path") -> None:
    """Two invocations at once run at once, in two processes."""
    aws.deploy(template())
    files = [str(tmp_path / "a"), str(tmp_path / "b")]
    with ThreadPoolExecutor() as threads:
        answers = list(threads.map(lambda order: aws.answer(do="meet", files=order), (files, files[::-1])))
    assert len({answer["process"] for answer in answers}) == 2


@pytest.mark.parametrize("module", ["moto", "boto3", "local", "_pytest"])
def test_nothing_of_this_machine_is_importable(aws: Aws, module: str) -> None:
    """The process sees its artefact and the runtime client, neither the virtual environment nor the source tree."""
    aws.deploy(template())
    assert aws.answer(do="import", module=module)["errorType"] == "ModuleNotFoundError"


def test_no_variable_of_this_machine_is_seen(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process has Lambda's variables and the template's, and boto3 would find the local AWS by them."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    aws.deploy(template())
    variables = aws.answer()["variables"]
    assert not {"AWS_MAX_ATTEMPTS", "HTTPS_PROXY"} & variables.keys()
    assert variables["AWS_ENDPOINT_URL"] == aws.functions.meta.endpoint_url
    assert (variables["AWS_REGION"], variables["AWS_LAMBDA_FUNCTION_NAME"]) == (REGION, "function")


def test_logs_are_complete(aws: Aws) -> None:
    """What an invocation prints is in its log tail (4 KB) and, whole, in the log group of the template."""
    aws.deploy(template())
    said = "x" * 300_000
    tail = base64.b64decode(aws.invoke(say=said)["LogResult"]).decode()
    assert tail == "x" * 4095 + "\n"
    aws.answer(say="second")
    streams = aws.logs.describe_log_streams(logGroupName="group")["logStreams"]
    assert len(streams) == 1
    events = aws.logs.get_log_events(logGroupName="group", logStreamName=streams[0]["logStreamName"])["events"]
    assert [event["message"] for event in events] == [said, "second"]


def test_logs_have_the_format_of_the_template(aws: Aws) -> None:
    """The runtime logs as LoggingConfig says."""
    aws.deploy(template())
    logged = json.loads(base64.b64decode(aws.invoke(do="raise")["LogResult"]))
    assert (logged["level"], logged["errorType"]) == ("ERROR", "ValueError")


def test_a_log_group_that_was_deleted_stays_away(aws: Aws) -> None:
    """A run that ends after its stack's log group is gone does not make it again, and its answer arrives."""
    aws.deploy(template())
    aws.logs.delete_log_group(logGroupName="group")
    assert "FunctionError" in aws.invoke(do="raise")
    assert aws.logs.describe_log_groups()["logGroups"] == []


def test_without_logging_config_logs_are_text_in_the_default_group(aws: Aws) -> None:
    """Without LoggingConfig the log group is Lambda's own, and an error is one event although it has many lines."""
    plain = template()
    del properties(plain, "Function")["LoggingConfig"]
    aws.deploy(plain)
    aws.invoke(do="raise")
    (event,) = aws.logs.filter_log_events(logGroupName="/aws/lambda/function")["events"]
    assert event["message"].startswith("[ERROR] ValueError: as asked\rTraceback")


def test_an_exception_is_a_function_error(aws: Aws) -> None:
    """An exception is answered with status 200 and Lambda's description of the error; the environment lives on."""
    aws.deploy(template())
    response = aws.invoke(do="raise")
    assert (response["StatusCode"], response["FunctionError"]) == (200, "Unhandled")
    error = json.load(response["Payload"])
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "as asked")
    assert aws.answer()["runs"] == 2


def test_an_artefact_that_cannot_be_loaded_is_reported(aws: Aws) -> None:
    """A failure before the first invocation is that invocation's error."""
    broken = template()
    properties(broken, "Function")["Handler"] = "missing.handler"
    aws.deploy(broken)
    assert aws.answer()["errorType"] == "Runtime.ImportModuleError"


@pytest.mark.parametrize(
    ("do", "error_type", "message"),
    [
        ("exit", "Runtime.ExitError", "Error: Runtime exited with error: exit status 7"),
        ("hang", "Sandbox.Timedout", "Error: Task timed out after 1.00 seconds"),
    ],
)
def test_a_lost_process_is_reported_and_replaced(aws: Aws, do: str, error_type: str, message: str) -> None:
    """A crash and a timeout are function errors with what was printed before; the next invocation starts afresh."""
    impatient = template()
    properties(impatient, "Function")["Timeout"] = 1
    aws.deploy(impatient)
    response = aws.invoke(do=do, say="last words")
    assert response["FunctionError"] == "Unhandled"
    error = json.load(response["Payload"])
    assert error["errorType"] == error_type
    assert re.fullmatch(rf"RequestId: [-0-9a-f]{{36}} {message}", error["errorMessage"])
    assert base64.b64decode(response["LogResult"]) == b"last words\n"
    assert aws.answer()["runs"] == 1


def test_an_asynchronous_invocation_waits_for_its_turn(aws: Aws) -> None:
    """An asynchronous invocation is accepted at once and carried out by `run_queued`, once if it succeeds."""
    aws.deploy(template())
    response = aws.functions.invoke(FunctionName="function", InvocationType="Event", Payload=b'{"a": 1}')
    assert response["StatusCode"] == 202
    assert not functions.invocations()
    assert functions.run_queued() == 1
    assert functions.run_queued() == 0
    assert [(run.payload, run.attempt, run.result.error) for run in functions.invocations()] == [
        (b'{"a": 1}', 1, False)
    ]
    assert not aws.messages("failures")


@pytest.mark.parametrize(("retries", "tries"), [(None, 3), (1, 2), (0, 1)])
def test_a_failing_event_is_retried_and_kept(aws: Aws, retries: int | None, tries: int) -> None:
    """A failing asynchronous invocation is tried as configured, then recorded once in the on-failure destination."""
    failing = template()
    if retries is not None:
        properties(failing, "Invocations")["MaximumRetryAttempts"] = retries
    aws.deploy(failing)
    aws.functions.invoke(FunctionName="function", InvocationType="Event", Payload=b'{"do": "raise"}')
    functions.run_queued()
    runs = functions.invocations()
    assert [run.attempt for run in runs] == list(range(1, tries + 1))
    assert len({run.result.request_id for run in runs}) == 1
    (message,) = aws.messages("failures")
    record = json.loads(message["Body"])
    assert record.pop("timestamp").endswith("Z")
    assert record.pop("responsePayload")["errorType"] == "ValueError"
    assert record == {
        "version": "1.0",
        "requestContext": {
            "requestId": runs[0].result.request_id,
            "functionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:function:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": tries,
        },
        "requestPayload": {"do": "raise"},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
    }


def test_a_failing_event_goes_to_the_functions_dead_letter_queue(aws: Aws) -> None:
    """The function's DeadLetterConfig receives the event that failed, with what went wrong as attributes."""
    failing = template()
    del failing["Resources"]["Invocations"]
    properties(failing, "Function")["DeadLetterConfig"] = {"TargetArn": {"Fn::GetAtt": ["Failures", "Arn"]}}
    aws.deploy(failing)
    for payload in (b'{"do": "raise"}', b"{}"):
        aws.functions.invoke(FunctionName="function", InvocationType="Event", Payload=payload)
    functions.run_queued()
    (message,) = aws.messages("failures")
    assert message["Body"] == '{"do": "raise"}'
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    request_id = functions.invocations()[0].result.request_id
    assert attributes == {"RequestID": request_id, "ErrorCode": "200", "ErrorMessage": "as asked"}


def test_a_matching_event_reaches_the_function(aws: Aws) -> None:
    """A rule's target gets exactly the event, and a schedule gets no events."""
    aws.deploy(template())
    assert events.deliver(EVENT) == 1
    functions.run_queued()
    (run,) = functions.invocations()
    assert json.loads(run.payload) == json.loads(run.result.payload)["event"] == EVENT


def test_other_events_do_not(aws: Aws) -> None:
    """An event that the pattern does not match reaches nobody."""
    aws.deploy(template())
    assert events.deliver({**EVENT, "detail": {"State": "failed"}}) == 0
    assert events.deliver({**EVENT, "region": "us-east-1"}) == 0
    assert functions.run_queued() == 0


def test_a_disabled_rule_does_not_fire(aws: Aws) -> None:
    """Disabled rules deliver nothing, neither events nor schedules."""
    disabled = template()
    properties(disabled, "Rule")["State"] = properties(disabled, "Schedule")["State"] = "DISABLED"
    aws.deploy(disabled)
    assert events.deliver(EVENT) == 0
    assert events.fire_schedules(ACCOUNT, REGION) == 0


@pytest.mark.parametrize(
    ("shape", "payload"),
    [
        ({"Input": '{"action": "sweep"}'}, {"action": "sweep"}),
        ({"InputPath": "$.detail"}, EVENT["detail"]),
        (
            {"InputTransformer": {"InputPathsMap": {"ami": "$.detail.ImageId"}, "InputTemplate": '{"id": "<ami>"}'}},
            {"id": "ami-0abcdef1234567890"},
        ),
    ],
)
def test_a_target_shapes_its_input(aws: Aws, shape: dict[str, object], payload: object) -> None:
    """Input, InputPath and InputTransformer decide what the function gets."""
    shaped = template()
    properties(shaped, "Rule")["Targets"][0] |= shape
    aws.deploy(shaped)
    assert events.deliver(EVENT) == 1
    functions.run_queued()
    assert json.loads(functions.invocations()[0].payload) == payload


def test_a_schedule_fires_when_told(aws: Aws) -> None:
    """`fire_schedules` sends the documented event of a schedule, and only to targets of schedules."""
    aws.deploy(template())
    assert events.fire_schedules(ACCOUNT, REGION) == 1
    functions.run_queued()
    (run,) = functions.invocations()
    event = json.loads(run.payload)
    assert event["detail-type"] == "Scheduled Event"
    assert event["resources"] == [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/schedule"]


def test_a_queue_can_be_a_target(aws: Aws) -> None:
    """An SQS target gets the event if the queue's policy allows the rule."""
    direct = template()
    properties(direct, "Rule")["Targets"] = [{"Id": "Q", "Arn": {"Fn::GetAtt": ["Undelivered", "Arn"]}}]
    aws.deploy(direct)
    assert events.deliver(EVENT) == 1
    assert [json.loads(message["Body"]) for message in aws.messages("undelivered")] == [EVENT]


@pytest.mark.parametrize(
    "change",
    [
        {"SourceArn": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/other"},
        {"Principal": "s3.amazonaws.com"},
        {"Action": "lambda:GetFunction"},
        {"SourceAccount": "210987654321"},
    ],
)
def test_without_permission_the_event_is_kept(aws: Aws, change: dict[str, str]) -> None:
    """An event that may not be delivered is in the target's dead-letter queue, with the reason."""
    forbidden = template()
    properties(forbidden, "Permission").update(change)
    aws.deploy(forbidden)
    assert events.deliver(EVENT) == 0
    assert functions.run_queued() == 0
    (message,) = aws.messages("undelivered")
    assert json.loads(message["Body"]) == EVENT
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes["ERROR_CODE"] == "NO_PERMISSIONS"
    assert attributes["RULE_ARN"] == f"arn:aws:events:{REGION}:{ACCOUNT}:rule/rule"
    assert attributes["TARGET_ARN"] == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:function"


def test_without_a_function_the_event_is_kept(aws: Aws) -> None:
    """An event for a function that is gone is in the target's dead-letter queue."""
    aws.deploy(template())
    aws.functions.delete_function(FunctionName="function")
    assert events.deliver(EVENT) == 0
    (message,) = aws.messages("undelivered")
    assert message["MessageAttributes"]["ERROR_CODE"]["StringValue"] == "NO_RESOURCE"


def test_a_queue_that_forbids_it_keeps_nothing(aws: Aws) -> None:
    """Without a queue policy the undelivered event is lost, as on AWS."""
    lost = template()
    del lost["Resources"]["Permission"], lost["Resources"]["Policy"]
    aws.deploy(lost)
    assert events.deliver(EVENT) == 0
    assert not aws.messages("undelivered")


def test_an_unknown_kind_of_target_is_an_error(aws: Aws) -> None:
    """A target that cannot be served here is not passed over in silence."""
    unknown = template()
    properties(unknown, "Rule")["Targets"][0]["Arn"] = f"arn:aws:sns:{REGION}:{ACCOUNT}:topic"
    aws.deploy(unknown)
    with pytest.raises(NotImplementedError, match="arn:aws:sns:"):
        events.deliver(EVENT)


def test_a_template_with_an_unknown_type_is_refused(aws: Aws) -> None:
    """A type that moto's CloudFormation would skip is refused by name, before anything is made."""
    unknown = template()
    unknown["Resources"]["Guard"] = {"Type": "AWS::Backup::BackupPlan", "Properties": {}}
    refusal = r"Unrecognized resource types: \[AWS::Backup::BackupPlan\]"
    with pytest.raises(ClientError, match=refusal):
        aws.deploy(unknown)
    assert not aws.functions.list_functions()["Functions"]
    aws.deploy(template())
    with pytest.raises(ClientError, match=refusal):
        aws.change(unknown, "UPDATE")


def test_a_change_set_deploys_the_same(aws: Aws) -> None:
    """A change set, the CDK's way to deploy, has the effect of creating the stack, outputs and exports included."""
    with_output = {**template(), "Outputs": {"Name": {"Value": {"Ref": "Function"}, "Export": {"Name": "name"}}}}
    aws.change(with_output, "CREATE")
    (stack,) = aws.cloudformation.describe_stacks(StackName="stack")["Stacks"]
    assert [output["OutputValue"] for output in stack["Outputs"]] == ["function"]
    assert events.deliver(EVENT) == 1
    assert functions.run_queued() == 1
    assert aws.answer()["event"] == {}
    assert [export["Value"] for export in aws.cloudformation.list_exports()["Exports"]] == ["function"]
    aws.cloudformation.delete_stack(StackName="stack")
    assert not aws.cloudformation.list_exports()["Exports"]


def test_properties_that_moto_drops_are_kept(aws: Aws) -> None:
    """The function is described with the architecture and the logging of its template."""
    aws.deploy(template())
    deployed = aws.functions.get_function_configuration(FunctionName="function")
    assert deployed["Architectures"] == ["arm64"]
    assert deployed["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": "group"}


def test_an_update_reaches_the_running_function(aws: Aws) -> None:
    """A stack update with other code, variables and retries holds for the next invocation."""
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


def test_deleting_a_resource_takes_its_effect_away(aws: Aws) -> None:
    """What leaves the template leaves the function and the queue."""
    aws.deploy(template())
    smaller = template()
    del smaller["Resources"]["Invocations"], smaller["Resources"]["Policy"]
    aws.cloudformation.update_stack(StackName="stack", TemplateBody=json.dumps(smaller))
    assert not aws.functions.list_function_event_invoke_configs(FunctionName="function")["FunctionEventInvokeConfigs"]
    url = aws.sqs.get_queue_url(QueueName="undelivered")["QueueUrl"]
    assert "Attributes" not in aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])


def test_deleting_the_stack_leaves_nothing(aws: Aws) -> None:
    """After the stack is deleted there is no function and no process, and an equal stack starts afresh."""
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
