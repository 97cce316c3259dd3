"""The deployed stack: its resources by what they are, and its configuration."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from botocore.exceptions import ClientError

from local.verify.account import Account, VerifyError
from vm_image_import.domain.errors import InvalidSettingsError
from vm_image_import.settings import Settings

_MINUTES: Final = {"minute": 1, "hour": 60, "day": 1440}


@dataclass(frozen=True)
class Deployment:
    """One stack."""

    stack: str
    function: str
    log_group: str
    role: str
    table: str
    topic: str
    """Its ARN."""
    event_dlq: str
    """Its URL."""
    function_dlq: str
    rules: Mapping[str, str]
    """By the ids of the constructs: AmiAvailable, ImageStateChanged, Sweep."""
    alarms: Sequence[str]
    dashboard: str | None
    settings: Settings
    sweep_minutes: int


def find(account: Account, stack: str) -> Deployment:
    """Return the deployment of a stack; of the default one where `stack` is empty.

    Raises VerifyError where the stack does not exist, or is no complete deployment.
    """
    names = [stack] if stack else ["VmImageImport", f"VmImageImport-{account.region}"]
    for name in names:
        try:
            pages = account.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=name)
            found = [resource for page in pages for resource in page["StackResourceSummaries"]]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
        else:
            return _deployment(account, name, found)
    message = f"{account.region} has no stack {' or '.join(names)}: deploy it, or name it with STACK=…"
    raise VerifyError(message)


def _deployment(account: Account, stack: str, resources: Sequence[Mapping[str, str]]) -> Deployment:
    def all_of(type_: str, part: str = "") -> list[str]:
        return [
            each["PhysicalResourceId"]
            for each in resources
            if each["ResourceType"] == type_ and part in each["LogicalResourceId"] and each.get("PhysicalResourceId")
        ]

    def one(type_: str, part: str = "") -> str:
        if not (found := all_of(type_, part)):
            message = f"The stack {stack} has no {part or type_}: npx --no -- cdk deploy"
            raise VerifyError(message)
        return found[0]

    function = one("AWS::Lambda::Function", "Function")
    configuration = account.client("lambda").get_function_configuration(FunctionName=function)
    try:
        settings = Settings.from_environment(configuration.get("Environment", {}).get("Variables", {}))
    except InvalidSettingsError as error:
        message = f"The variables of {function} were changed: {error} Deploy again."
        raise VerifyError(message) from error
    rules = {part: one("AWS::Events::Rule", part) for part in ("AmiAvailable", "ImageStateChanged", "Sweep")}
    schedule = account.client("events").describe_rule(Name=rules["Sweep"])["ScheduleExpression"]
    match = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", schedule)
    return Deployment(
        stack=stack,
        function=function,
        log_group=configuration["LoggingConfig"]["LogGroup"],
        role=configuration["Role"].rpartition("/")[2],
        table=settings.table_name,
        topic=settings.topic_arn,
        event_dlq=one("AWS::SQS::Queue", "EventDlq"),
        function_dlq=one("AWS::SQS::Queue", "FunctionDlq"),
        rules=rules,
        alarms=all_of("AWS::CloudWatch::Alarm"),
        dashboard=next(iter(all_of("AWS::CloudWatch::Dashboard")), None),
        settings=settings,
        sweep_minutes=int(match[1]) * _MINUTES[match[2]] if match else 15,
    )
