"""IAM: what a policy allows, by action, resource and condition; functions are held to the policies of their role.

moto's own enforcement takes every resource for `*`, ignores conditions and answers with one error code for all.
"""

import functools
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse
from moto.iam.models import iam_backends
from moto.sns.models import sns_backends
from werkzeug.exceptions import HTTPException

from local.aws.image_builder import normalised

Statement = Mapping[str, Any]

_DENIALS: Final = {
    "dynamodb": ("AccessDeniedException", 400),
    "ec2": ("UnauthorizedOperation", 403),
    "kms": ("KMSAccessDenied", 400),
    "sns": ("AuthorizationError", 403),
}
"""How services answer what is not allowed: error code and HTTP status (API references, "Common errors")."""
_IMAGE_BUILDER: Final = "imagebuilder.amazonaws.com"
_OTHER_DENIAL: Final = ("AccessDeniedException", 403)


@dataclass(frozen=True)
class Need:
    """One thing that IAM is asked about: whether somebody may do this to that, under these circumstances."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """What a role did, or tried to do, and what of it was denied."""

    role: str
    needs: Sequence[Need]
    denied: Need | None


def allows(statements: Iterable[Statement], need: Need, service: str | None = None) -> bool:
    """Return whether policy statements allow a need; an explicit Deny wins.

    `service` is the service principal that asks, for a resource's policy; a role's policy has no principals. Raises
    NotImplementedError for an element or an operator that is not known here, rather than to guess.
    """
    effects = {statement["Effect"] for statement in statements if _applies(statement, need, service)}
    return effects == {"Allow"}


def _applies(statement: Statement, need: Need, service: str | None) -> bool:
    if unknown := statement.keys() - {"Sid", "Effect", "Principal", "Action", "Resource", "Condition", "FunctionName"}:
        message = f"Elements of a policy that are not known here: {sorted(unknown)}"
        raise NotImplementedError(message)
    principal = statement.get("Principal")
    services = (
        [name for names in principal.values() for name in _list(names)] if isinstance(principal, dict) else [principal]
    )
    return (
        (service is None or bool({service, "*"} & {*services}))
        # Actions have no case.
        and any(_like(need.action.lower(), action.lower()) for action in _list(statement["Action"]))
        and any(_like(need.resource, resource) for resource in _list(statement["Resource"]))
        and _holds(statement.get("Condition", {}), need.context)
    )


def _holds(conditions: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    """Return whether all conditions hold: each for one of its values. A key that is not in the context has none."""
    # Keys have no case.
    known = {key.lower(): value for key, value in context.items()}
    for operator, keys in conditions.items():
        if operator not in {"StringEquals", "StringLike", "ArnEquals", "ArnLike", "Bool"}:
            message = f"The condition operator {operator} is not known here."
            raise NotImplementedError(message)
        for key, wanted in keys.items():
            value = known.get(key.lower())
            same = str.__eq__ if operator in {"StringEquals", "Bool"} else _like
            if value is None or not any(same(value, each) for each in _list(wanted)):
                return False
    return True


def _like(value: str, pattern: str) -> bool:
    """Return whether a value matches: `*` is any text, slashes and colons too, and `?` any character."""
    return bool(_pattern(pattern).fullmatch(value))


@functools.cache
def _pattern(pattern: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(each, re.escape(each)) for each in pattern), re.DOTALL)


def _list(value: Any) -> list[Any]:  # noqa: ANN401 - policies have one string or several
    return value if isinstance(value, list) else [value]


def statements_of(role: str) -> list[Statement]:
    """Return the statements of the inline policies of the role with this ARN, none where there is no such role."""
    _, partition, _, _, account, name = role.split(":")
    roles = iam_backends[account][partition].roles.values()
    found = next((each for each in roles if each.name == name.rpartition("/")[2]), None)
    if found is None:
        return []
    if found.managed_policies:
        message = f"{role} has managed policies, which are not read here."
        raise NotImplementedError(message)
    # A deployment leaves objects here, PutRolePolicy text.
    policies: Iterable[Any] = found.policies.values()
    documents = [json.loads(policy) if isinstance(policy, str) else policy for policy in policies]
    return [statement for document in documents for statement in _list(document["Statement"])]


def permit(role: str, needs: Iterable[Need]) -> Need | None:
    """Return the first need that the role is not allowed, None where it is allowed all; either way it is recorded."""
    wanted, statements = tuple(needs), statements_of(role)
    denied = next((need for need in wanted if not allows(statements, need)), None)
    _record.append(Call(role, wanted, denied))
    return denied


def calls() -> Sequence[Call]:
    """Return what roles did since the last `forget`, oldest first."""
    return tuple(_record)


def forget() -> None:
    """Forget all calls."""
    _record.clear()


_record: Final[list[Call]] = []


@functools.cache
def install() -> None:
    """Hold every request whose session token is a role's ARN, as a local function's is, to the role's policies."""
    authorise = BaseResponse._authenticate_and_authorize_normal_action  # noqa: SLF001 - there is no other hook

    @functools.wraps(authorise)
    def held_to_role(self: BaseResponse, resource: str = "*") -> None:
        role = self.headers.get("X-Amz-Security-Token", "")
        if ":role/" not in role:
            authorise(self, resource)
        elif denied := permit(role, _needs(self, role)):
            raise _Denied(self, role, denied)

    BaseResponse._authenticate_and_authorize_normal_action = held_to_role  # type: ignore[method-assign, assignment]  # noqa: SLF001 - as above


class _DenialError(ServiceException):
    """As `image_builder.ImageBuilderError`: of no module of moto's, so that the service that answers is looked at."""


class _Denied(HTTPException):
    """A denial, in the form that the called service gives it."""

    def __init__(self, response: BaseResponse, role: str, need: Need) -> None:
        service = need.action.partition(":")[0]
        code, status = _DENIALS.get(service, _OTHER_DENIAL)
        _, _, _, _, account, name = role.split(":")
        message = (
            f"User: {role.replace(':iam:', ':sts:').replace(f'{account}:{name}', f'{account}:assumed-{name}/function')}"
            f" is not authorized to perform: {need.action} on resource: {need.resource}"
            f" because no identity-based policy allows the {need.action} action"
        )
        with warnings.catch_warnings():
            # Services have codes that are not in their models.
            warnings.filterwarnings("ignore", message=".* does not match an error shape")
            _, headers, body = response.serialized(ActionResult(_DenialError(code, message)))
        response.response_headers.update(headers)
        super().__init__(body if isinstance(body, str) else body.decode())
        self.code = status


def _needs(response: BaseResponse, role: str) -> Iterator[Need]:
    """Yield what a request asks of IAM, according to the service authorization reference.

    Raises NotImplementedError for an operation that no function has called here so far.
    """
    _, partition, _, _, account, _ = role.split(":")
    region, service, operation = response.region, response.service_name, response._get_action()  # noqa: SLF001 - as above
    params = response._get_params()  # noqa: SLF001 - as above
    here = {"aws:RequestedRegion": region}
    prefix = f"arn:{partition}:{service}:{region}:{account}"

    def need(resource: str, action: str = f"{service}:{operation}", **context: str) -> Need:
        return Need(action, resource, {**here, **context})

    match service, operation:
        case ("ec2", "DescribeImages" | "DescribeImportImageTasks") | ("imagebuilder", "ListImages"):
            yield need("*")
        case "imagebuilder", "ImportVmImage":
            version = f"{prefix}:image/{normalised(params['name'])}/{params['semanticVersion']}"
            linked = f"role/aws-service-role/{_IMAGE_BUILDER}/AWSServiceRoleForImageBuilder"
            yield need(version)
            yield need(f"{version}/1", "imagebuilder:TagResource")
            # On the caller's behalf: it reads the import, and makes its role with an account's first image.
            yield need("*", "ec2:DescribeImages")
            yield need("*", "ec2:DescribeImportImageTasks")
            on_behalf = {"iam:AWSServiceName": _IMAGE_BUILDER}
            yield need(f"arn:{partition}:iam::{account}:{linked}", "iam:CreateServiceLinkedRole", **on_behalf)
        case "imagebuilder", "GetImage":
            yield need(params["imageBuildVersionArn"])
        case "dynamodb", "BatchGetItem":
            yield from (need(f"{prefix}:table/{table}") for table in params["RequestItems"])
        case "dynamodb", "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem":
            yield need(f"{prefix}:table/{params['TableName']}")
        case "sns", "Publish":
            topic = params["TopicArn"]
            yield need(topic)
            if key := sns_backends[account][region].get_topic(topic).kms_master_key_id:
                context = {"kms:EncryptionContext:aws:sns:topicArn": topic}
                yield from (need(key, f"kms:{action}", **context) for action in ("GenerateDataKey", "Decrypt"))
        case _:
            message = f"What {service}:{operation} asks of IAM is not known here."
            raise NotImplementedError(message)
