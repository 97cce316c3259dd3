"""How findings of the checks are acknowledged, with the reason."""

from collections.abc import Iterable, Mapping

from aws_cdk import Acknowledgment, CfnResource, Stack, Token, Validations
from aws_cdk import aws_iam as iam
from constructs import IConstruct


def acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Acknowledge the findings of cdk-nag and cfn-lint that `reasons` names, on the very resource of `construct`."""
    resource = construct.node.default_child
    if not isinstance(resource, CfnResource):
        message = f"{construct.node.path} is no resource."
        raise TypeError(message)
    for finding, reason in reasons.items():
        if finding[0] in "EWI" and finding[1:].isdecimal():
            resource.add_metadata("cfn-lint", {"config": {"ignore_checks": [finding]}})
        else:
            Validations.of(resource).acknowledge(Acknowledgment(id=finding, reason=reason))


def acknowledge_wildcards(role: iam.Role, arns: Iterable[str], reason: str) -> None:
    """Acknowledge cdk-nag's findings of the ARNs with wildcards that statements of a role have as resources."""
    stack = Stack.of(role)
    acknowledge(role, {f"AwsSolutions-IAM5[Resource::{_nag_resource(stack, arn)}]": reason for arn in arns})


def _nag_resource(stack: Stack, arn: str) -> str:
    """Return an ARN of `stack` as cdk-nag names it in a finding: with `<AWS::Region>` and the like for tokens."""
    for value, parameter in (
        (stack.partition, "AWS::Partition"),
        (stack.region, "AWS::Region"),
        (stack.account, "AWS::AccountId"),
    ):
        if Token.is_unresolved(value):
            arn = arn.replace(value, f"<{parameter}>")
    return arn
