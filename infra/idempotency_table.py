"""The DynamoDB table of the records."""

from typing import Final

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from constructs import Construct

OPEN_INDEX: Final = "open"
"""The index, and the attribute that only its items have."""


class IdempotencyTable(Construct):
    """A table with an item for each registration, and an index of those that have steps left."""

    def __init__(self, scope: Construct, id_: str, *, key: kms.IKey | None = None) -> None:
        """Create it, encrypted with `key`, or else with the AWS managed one."""
        super().__init__(scope, id_)
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING),
            # An import writes a few records: on demand they cost next to nothing, and a burst needs no planning.
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            time_to_live_attribute="expiration",
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED if key else dynamodb.TableEncryption.AWS_MANAGED,
            encryption_key=key,
            # The records outlive a stack that is deleted by mistake. docs/operations.md says how to delete the table.
            removal_policy=RemovalPolicy.RETAIN,
            deletion_protection=True,
        )
        self.table.add_global_secondary_index(
            index_name=OPEN_INDEX,
            partition_key=dynamodb.Attribute(name=OPEN_INDEX, type=dynamodb.AttributeType.STRING),
            projection_type=dynamodb.ProjectionType.KEYS_ONLY,
        )
