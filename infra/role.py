"""The function's role, as narrow as AWS allows. docs/permissions.md has the reason of each statement."""

from collections.abc import Mapping, Sequence
from typing import Final

from aws_cdk import Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from .acknowledgements import acknowledge, acknowledge_wildcards
from .arns import image_arns
from .configuration import Configuration
from .idempotency_table import OPEN_INDEX
from .notifications import Notifications
from .operations import ACTIONS
from .policy_size import check_size

_TAGGED: Final = ("image", "snapshot")
"""The resource types of AMIs and snapshots. Their ARNs have no account."""

_OWN_MARKS: Final[Mapping[str, Mapping[str, object]]] = {
    "StringLike": {"aws:ResourceTag/vm-image-import:task-id": "import-ami-*"},
    "ForAllValues:StringEquals": {"aws:TagKeys": ["vm-image-import:delete", "vm-image-import:superseded"]},
    # For a request without keys, the condition for all of them holds.
    "Null": {"aws:TagKeys": "false"},
}
"""Only these two tags, of images that this system has made."""


def function_role(
    scope: Construct,
    *,
    log_group: logs.ILogGroup,
    dead_letter_queue: sqs.IQueue,
    table: dynamodb.ITable,
    notifications: Notifications,
    configuration: Configuration,
) -> iam.Role:
    """Return the role. Some statements are there only where the configuration needs them.

    A customer managed key of the table is the queue's, too. Raises ConfigurationError for a policy that IAM refuses.
    """
    stack = Stack.of(scope)
    images = image_arns(stack)
    allowed = image_arns(stack, configuration.allowed_names)
    linked_role = stack.format_arn(
        service="iam",
        region="",
        resource="role",
        resource_name="aws-service-role/imagebuilder.amazonaws.com/AWSServiceRoleForImageBuilder",
    )
    # The only way to narrow an action without resource types.
    in_region = {"StringEquals": {"aws:RequestedRegion": stack.region}}
    statements = [
        iam.PolicyStatement(
            sid="WriteLogs",
            actions=["logs:CreateLogStream", "logs:PutLogEvents"],
            resources=[log_group.log_group_arn],
        ),
        iam.PolicyStatement(sid="SendToDlq", actions=["sqs:SendMessage"], resources=[dead_letter_queue.queue_arn]),
        _calls("ReadImports", "*", conditions=in_region),
        _calls("RegisterImages", *allowed),
        # On the version or on the build: it is not documented where the tags of a new image are authorized.
        _calls("TagImages", *allowed),
        _calls("TrackImages", *images),
        # Without an ARN, as the function calls it, no resource is known.
        _calls("FindImages", "*", conditions=in_region),
        _calls("UseIdempotencyTable", table.table_arn),
        _calls("FindOpenRegistrations", f"{table.table_arn}/index/{OPEN_INDEX}"),
        _calls("PublishNotifications", notifications.topic.topic_arn),
        iam.PolicyStatement(
            sid="EncryptNotifications",
            actions=["kms:Decrypt", "kms:GenerateDataKey"],
            resources=[notifications.key_arn],
            # SNS encrypts with this context on the publisher's behalf (developer guide, "Key management").
            conditions={"StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": notifications.topic.topic_arn}},
        ),
        iam.PolicyStatement(
            sid="CreateServiceLinkedRole",
            actions=["iam:CreateServiceLinkedRole"],
            resources=[linked_role],
            conditions={"StringEquals": {"iam:AWSServiceName": "imagebuilder.amazonaws.com"}},
        ),
    ]
    if key := table.encryption_key:
        statements += [
            iam.PolicyStatement(
                sid="DecryptTable",
                actions=["kms:Decrypt"],
                resources=[key.key_arn],
                # DynamoDB decrypts the table's key on behalf of whoever reads or writes (developer guide, "DynamoDB
                # encryption at rest usage notes"). With grants it does everything else itself.
                conditions={"StringEquals": {"kms:EncryptionContext:aws:dynamodb:tableName": table.table_name}},
            ),
            iam.PolicyStatement(
                sid="EncryptDlq",
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=[key.key_arn],
                # SQS encrypts on the sender's behalf (developer guide, "Key management"), and does not document with
                # which context. The end of its name is that of the partition.
                conditions={"StringLike": {"kms:ViaService": f"sqs.{stack.region}.amazonaws.com*"}},
            ),
        ]
    if configuration.tracing:
        # Without a condition: Lambda refuses a function whose role lacks the permission (observed), and with which
        # context it is evaluated is not documented.
        traces = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
        statements.append(iam.PolicyStatement(sid="WriteTraces", actions=traces, resources=["*"]))
    tagged = [stack.format_arn(service="ec2", account="", resource=type_, resource_name="*") for type_ in _TAGGED]
    if configuration.tag_amis:
        statements += [_calls("ReadTags", "*", conditions=in_region), _tag_amis(stack, configuration, tagged)]
    if configuration.keep_versions:
        statements.append(_calls("RemoveMarks", *allowed, conditions=_OWN_MARKS))
    if configuration.parameter_prefix:
        statements.append(_calls("WriteParameters", *_parameters(stack, configuration)))
    document = iam.PolicyDocument(statements=statements)
    check_size(stack, document)
    role = iam.Role(
        scope,
        "Role",
        assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        # Inline: the role is complete when the function first runs.
        inline_policies={"Permissions": document},
    )
    not_known = "Names and versions come from the imports, so no narrower resource is known beforehand."
    unnarrowed = "Describe actions and X-Ray's have no resource types. The list of builds is requested without an ARN."
    acknowledge_wildcards(role, ["*"], unnarrowed)
    acknowledge_wildcards(role, [*images, *allowed], not_known)
    acknowledge(role, {"Serverless-LambdaStarPermissions": f"See AwsSolutions-IAM5. {not_known}"})
    if configuration.tag_amis:
        owned = "The AMIs and snapshots are the imports'. The conditions name their owner and the keys of the tags."
        acknowledge_wildcards(role, tagged, owned)
    if configuration.parameter_prefix:
        acknowledge_wildcards(role, (arn for arn in _parameters(stack, configuration) if "*" in arn), not_known)
    if "*" in notifications.key_arn:
        unknown = "The key of a given topic is not known. The condition names the topic."
        acknowledge_wildcards(role, [notifications.key_arn], unknown)
    return role


def _tag_amis(stack: Stack, configuration: Configuration, resources: Sequence[str]) -> iam.PolicyStatement:
    """Return the statement to tag this account's AMIs and snapshots, with the keys of `tagAmis` only."""
    keys = {"Name", "vm-image-import:*", *configuration.ami_tag_keys, *configuration.tags} - {"CreatedBy"}
    conditions: Mapping[str, Mapping[str, object]] = {
        "StringEquals": {"ec2:Owner": stack.account},
        "ForAllValues:StringLike": {"aws:TagKeys": sorted(keys)},
        # For a request without keys, the condition for all of them holds.
        "Null": {"aws:TagKeys": "false"},
    }
    return _calls("TagAmis", *resources, conditions=conditions)


def _parameters(stack: Stack, configuration: Configuration) -> Sequence[str]:
    """Return the ARNs of all parameters with the configured prefix and an allowed name."""
    path = configuration.parameter_prefix.removeprefix("/")
    return [
        stack.format_arn(service="ssm", resource="parameter", resource_name=f"{path}/{name}")
        for name in configuration.allowed_names or ["*"]
    ]


def _calls(
    sid: str, *resources: str, conditions: Mapping[str, Mapping[str, object]] | None = None
) -> iam.PolicyStatement:
    """Return the statement for the function's own calls; the other statements are for calls on its behalf."""
    return iam.PolicyStatement(sid=sid, actions=sorted(ACTIONS[sid]), resources=[*resources], conditions=conditions)
