"""IAM: authorizes what functions do by their role's policies.

moto's own enforcement evaluates every resource as `*`, ignores conditions and has one error code for all services.
"""

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from moto.core.responses import BaseResponse
from moto.dynamodb.models import dynamodb_backends
from moto.ec2.models import ec2_backends
from moto.iam.models import Role, iam_backends
from moto.sns.models import sns_backends
from werkzeug.exceptions import HTTPException

from local.aws import image_builder, keys
from local.aws.common import ServiceError, answer
from local.aws.policies import AuthorizationRequest, Statement, allows, statements_of

_DENIED: Final = {
    "dynamodb": ("AccessDeniedException", 400),
    "ec2": ("UnauthorizedOperation", 403),
    "kms": ("KMSAccessDenied", 400),
    "ssm": ("AccessDeniedException", 400),
    "sns": ("AuthorizationError", 403),
}
"""Error code and HTTP status of a denied request, by service (API references, "Common errors")."""
_IMAGE_BUILDER: Final = "imagebuilder.amazonaws.com"
_AMI_TYPE: Final = "aws:ec2:image"
_WITHOUT_RESOURCE: Final = frozenset(
    {"DescribeImages", "DescribeImportImageTasks", "DescribeTags", "ListImageBuildVersions", "ListImages"}
)
_DENIED_ELSEWHERE: Final = ("AccessDeniedException", 403)


@dataclass(frozen=True)
class Authorization:
    """A call of a role: what it needed, and the first request that was denied."""

    role: str
    requests: Sequence[AuthorizationRequest]
    denied: AuthorizationRequest | None


def role_statements(role: str) -> list[Statement]:
    """Return the statements of the inline policies of the role with this ARN, none if there is no such role."""
    _, partition, _, _, account, name = role.split(":")
    roles = iam_backends[account][partition].roles.values()
    found = next((each for each in roles if each.name == name.rpartition("/")[2]), None)
    if found is None:
        return []
    if found.managed_policies:
        message = f"{role} has managed policies, which are not implemented."
        raise NotImplementedError(message)
    return [statement for document in found.policies.values() for statement in statements_of(document)]


def authorize(role: str, requests: Iterable[AuthorizationRequest]) -> AuthorizationRequest | None:
    """Return the first request that the role's policies deny, None if they allow all; record the authorization."""
    requested, statements = tuple(requests), role_statements(role)
    denied = next(
        (request for request in requested if not (allows(statements, request) and _key_delegates(role, request))), None
    )
    _authorizations.append(Authorization(role, requested, denied))
    return denied


def _key_delegates(role: str, request: AuthorizationRequest) -> bool:
    """Return whether the policy of a requested key lets the policies of its account's roles decide."""
    service, _, _ = request.action.partition(":")
    if service != "kms":
        return True
    _, partition, _, _, account, _ = role.split(":")
    key = keys.find(account, str(request.context["aws:RequestedRegion"]), request.resource)
    return not key or keys.allows(key, f"arn:{partition}:iam::{account}:root", {}, request.action)


def authorizations() -> Sequence[Authorization]:
    """Return the authorizations since the last `clear`, oldest first."""
    return tuple(_authorizations)


def clear() -> None:
    """Remove the recorded authorizations."""
    _authorizations.clear()


_authorizations: Final[list[Authorization]] = []


@functools.cache
def install() -> None:
    """Authorize every request to moto whose session token is a role's ARN, as that of a local function is.

    It keeps every inline policy of a role as text; moto keeps CloudFormation's as objects, which GetRolePolicy prints.
    """
    put_policy = Role.put_policy
    authenticate = BaseResponse._authenticate_and_authorize_normal_action  # noqa: SLF001 - there is no other hook

    @functools.wraps(authenticate)
    def authorize_role(self: BaseResponse, resource: str = "*") -> None:
        role = self.headers.get("X-Amz-Security-Token", "")
        if ":role/" not in role:
            authenticate(self, resource)
        elif denied := authorize(role, _authorization_requests(self, role)):
            raise _AccessDenied(self, role, denied)

    @functools.wraps(put_policy)
    def put_text(self: Role, policy_name: str, policy_json: str | Mapping[str, Any]) -> None:
        put_policy(self, policy_name, policy_json if isinstance(policy_json, str) else json.dumps(policy_json))

    Role.put_policy = put_text  # type: ignore[method-assign]
    BaseResponse._authenticate_and_authorize_normal_action = authorize_role  # type: ignore[method-assign, assignment]  # noqa: SLF001 - as above


class _AccessDenied(HTTPException):
    """A denied request, in the format of the called service."""

    def __init__(self, response: BaseResponse, role: str, denied: AuthorizationRequest) -> None:
        # DynamoDB has no error code of its own for a key (knowledge center, "AccessDeniedException").
        service = "dynamodb" if response.service_name == "dynamodb" else denied.action.partition(":")[0]
        code, status = _DENIED.get(service, _DENIED_ELSEWHERE)
        _, _, _, _, account, name = role.split(":")
        message = (
            f"User: {role.replace(':iam:', ':sts:').replace(f'{account}:{name}', f'{account}:assumed-{name}/function')}"
            f" is not authorized to perform: {denied.action} on resource: {denied.resource}"
            f" because no identity-based policy allows the {denied.action} action"
        )
        _, headers, body = answer(response, ServiceError(code, message))
        response.response_headers.update(headers)
        super().__init__(body if isinstance(body, str) else body.decode())
        self.code = status


def _authorization_requests(  # noqa: C901 - one case for each way
    response: BaseResponse, role: str
) -> Iterator[AuthorizationRequest]:
    """Yield what a call needs to be allowed, according to the service authorization reference.

    Raises NotImplementedError for an operation that is not listed here.
    """
    _, partition, _, _, account, _ = role.split(":")
    region, service, operation = response.region, response.service_name, response._get_action()  # noqa: SLF001 - as above
    # moto parses the parameters of some services only; those of Systems Manager are the body.
    params = json.loads(response.body) if service == "ssm" else response._get_params()  # noqa: SLF001 - as above
    prefix = f"arn:{partition}:{service}:{region}:{account}"

    def request(
        resource: str, action: str = f"{service}:{operation}", **context: str | Sequence[str]
    ) -> AuthorizationRequest:
        return AuthorizationRequest(action, resource, {"aws:RequestedRegion": region, **context})

    match service, operation:
        case _ if operation in _WITHOUT_RESOURCE:
            yield request("*")
        case "ec2", "CreateTags":
            yield from (request(arn, **context) for arn, context in _tagged(role, region, params))
        case "ssm", "GetParameter" | "GetParameterHistory" | "PutParameter":
            yield request(f"{prefix}:parameter/{params['Name'].removeprefix('/')}")
            # Systems Manager checks the value on the caller's behalf.
            yield from (request("*", "ec2:DescribeImages") for type_ in [params.get("DataType")] if type_ == _AMI_TYPE)
        case "imagebuilder", "ImportVmImage":
            version = f"{prefix}:image/{image_builder.arn_name(params['name'])}/{params['semanticVersion']}"
            linked = f"role/aws-service-role/{_IMAGE_BUILDER}/AWSServiceRoleForImageBuilder"
            yield request(version)
            # AWS does not document on which of the two it authorizes the tags: a role needs both here.
            yield from (request(arn, "imagebuilder:TagResource") for arn in (version, f"{version}/1"))
            # On behalf of the caller, Image Builder reads the import and creates its service-linked role.
            yield request("*", "ec2:DescribeImages")
            yield request("*", "ec2:DescribeImportImageTasks")
            on_behalf = {"iam:AWSServiceName": _IMAGE_BUILDER}
            yield request(f"arn:{partition}:iam::{account}:{linked}", "iam:CreateServiceLinkedRole", **on_behalf)
        case "imagebuilder", "TagResource" | "UntagResource":
            arn, keys = params["resourceArn"], [*params.get("tags", params.get("tagKeys", ()))]
            context: dict[str, str | Sequence[str]] = {"aws:TagKeys": keys, **image_tags(account, region, arn)}
            yield request(arn, f"imagebuilder:{operation}", **context)
        case "imagebuilder", "GetImage":
            yield request(params["imageBuildVersionArn"])
        case "dynamodb", "BatchGetItem" | "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem":
            tables = params.get("RequestItems") or [params["TableName"]]
            yield from (request(f"{prefix}:table/{table}") for table in tables)
            for table in tables:
                yield from (
                    request(key, "kms:Decrypt", **context) for key, context in _table_key(account, region, table)
                )
        case "dynamodb", "Query":
            table = params["TableName"]
            yield request(f"{prefix}:table/{table}/index/{params['IndexName']}")
            yield from (request(key, "kms:Decrypt", **context) for key, context in _table_key(account, region, table))
        case "sns", "Publish":
            topic = params["TopicArn"]
            yield request(topic)
            if key := sns_backends[account][region].get_topic(topic).kms_master_key_id:
                context = {"kms:EncryptionContext:aws:sns:topicArn": topic}
                yield from (request(key, f"kms:{action}", **context) for action in ("GenerateDataKey", "Decrypt"))
        case _:
            message = f"The permissions for {service}:{operation} are not implemented."
            raise NotImplementedError(message)


def _table_key(account: str, region: str, table: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the customer managed key of a table, with the context with which DynamoDB decrypts for the caller.

    (DynamoDB developer guide, "DynamoDB encryption at rest usage notes")
    """
    found = dynamodb_backends[account][region].tables.get(table)
    key = keys.find(account, region, ((found and found.sse_specification) or {}).get("KMSMasterKeyId"))
    if key:
        names = {"aws:dynamodb:tableName": table, "aws:dynamodb:subscriberId": account}
        context = {f"kms:EncryptionContext:{name}": value for name, value in names.items()}
        yield key.arn, {"kms:ViaService": f"dynamodb.{region}.amazonaws.com", **context}


def image_tags(account: str, region: str, arn: str) -> dict[str, str]:
    """Return the condition keys for the tags of an image build version."""
    image = image_builder.backends[account][region].images.get(arn)
    return {f"aws:ResourceTag/{key}": value for key, value in image.tags.items()} if image else {}


def _tagged(role: str, region: str, params: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the ARN of each AMI and snapshot of a CreateTags request, and the condition keys of the request for it.

    The ARN has no account. The owner of what does not exist is the caller.
    """
    _, partition, _, _, account, _ = role.split(":")
    tags = {tag["Key"]: tag["Value"] for tag in params["Tags"]}
    context = {"aws:TagKeys": [*tags], **{f"aws:RequestTag/{key}": value for key, value in tags.items()}}
    ec2 = ec2_backends[account][region]
    for id_ in params["Resources"]:
        type_, existing = ("image", ec2.amis) if id_.startswith("ami-") else ("snapshot", ec2.snapshots)
        owner = existing[id_].owner_id if id_ in existing else account
        yield f"arn:{partition}:ec2:{region}::{type_}/{id_}", {**context, "ec2:Owner": owner}
