"""The AWS operations that the function uses: its bundle knows no others, and its role need not allow any."""

from collections.abc import Mapping
from typing import Final

OPERATIONS: Final[Mapping[str, frozenset[str]]] = {
    # Powertools Idempotency's, and the sweep's look at a hundred records at once.
    "dynamodb": frozenset({"BatchGetItem", "DeleteItem", "GetItem", "PutItem", "UpdateItem"}),
    "ec2": frozenset({"DescribeImages", "DescribeImportImageTasks"}),
    # ListImages only with the version scheme `increment`.
    "imagebuilder": frozenset({"GetImage", "ImportVmImage", "ListImages"}),
    "sns": frozenset({"Publish"}),
}
"""By service, both as botocore names them, which is how IAM does."""
