"""What the verification removes of its own imports."""

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from local.aws import vm_import
from local.verify.cleanup import Cleanup
from local.verify.imports import Imports
from tests.conftest import ACCOUNT, REGION, client

if TYPE_CHECKING:
    from local.verify.account import Account

STEPS = 9
"""Of an import, from `pending` to `completed`."""


def own(kind: str) -> list[dict[str, Any]]:
    """Return the AMIs, with disabled ones, or the snapshots of the imports."""
    if kind == "images":
        return list(client("ec2").describe_images(Owners=["self"], IncludeDisabled=True)["Images"])
    found = client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]
    return [each for each in found if "Auto-created snapshot for AMI" in each["Description"]]


@pytest.mark.usefixtures("local_aws_mode")
@pytest.mark.parametrize("disabled", [False, True], ids=["available", "disabled"])
def test_an_ami_is_removed_with_its_snapshots(*, disabled: bool) -> None:
    """The AMI of an import is removed with its snapshots, also where another user disabled it meanwhile."""
    client("s3").create_bucket(Bucket="exports")
    client("s3").put_object(Bucket="exports", Key="vm-1.0.ova", Body=b"disk")
    imports = Imports(cast("Account", SimpleNamespace(client=client)), "run", {})
    imports.start("exports", "vm-1.0.ova")
    for _ in range(STEPS):
        vm_import.advance(ACCOUNT, REGION)
    (image,), (_,) = own("images"), own("snapshots")
    if disabled:
        client("ec2").disable_image(ImageId=image["ImageId"])
    cleanup = Cleanup()
    imports.remove(cleanup, [], None, lambda _: None)
    assert (own("images"), own("snapshots"), cleanup.left) == ([], [], [])
