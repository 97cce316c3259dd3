"""The checks that every synthesis has to pass, and how findings are acknowledged."""

from collections.abc import Mapping

from aws_cdk import Acknowledgment, App, Stack, Token, Validations
from cdk_nag import AwsSolutionsChecks
from constructs import IConstruct


def check(app: App) -> None:
    """Let the synthesis of `app` fail for every finding that is not acknowledged."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app, verbose=True))


def acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Acknowledge the findings that `reasons` names, on `construct` and what is in it."""
    for finding, reason in reasons.items():
        Validations.of(construct).acknowledge(Acknowledgment(id=finding, reason=reason))


def as_reported(stack: Stack, arn: str) -> str:
    """Return an ARN of `stack` as a finding names it: with `<AWS::Region>` and the like for what is not known yet."""
    for value, parameter in (
        (stack.partition, "AWS::Partition"),
        (stack.region, "AWS::Region"),
        (stack.account, "AWS::AccountId"),
    ):
        if Token.is_unresolved(value):
            arn = arn.replace(value, f"<{parameter}>")
    return arn
