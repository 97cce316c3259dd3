"""What an AMI lacks, as its notification says it."""

from typing import Any

import pytest

from tests.unit.fakes import AMI, AVAILABLE, TASK, InMemoryAws
from vm_image_import.aws.ec2 import parse_ami
from vm_image_import.domain.ami_warnings import find_ami_warnings


def described(**fields: Any) -> list[str]:  # noqa: ANN401 - any field of the answer
    """Return the warnings of an AMI that lacks nothing but what these fields of DescribeImages say."""
    complete: Any = {
        "ImageId": "ami-1",
        "State": "available",
        "EnaSupport": True,
        "Architecture": "x86_64",
        "BootMode": "legacy-bios",
        "BlockDeviceMappings": [disk("/dev/sda1", deleted=True)],
    }
    given = {key: value for key, value in {**complete, **fields}.items() if value is not None}
    return [*find_ami_warnings(parse_ami(given))]  # type: ignore[arg-type]


def disk(device: str, *, deleted: bool | None) -> dict[str, Any]:
    """Return a block device mapping. Without `deleted`, EC2 does not say what becomes of the volume."""
    ebs: dict[str, Any] = {"SnapshotId": "snap-1"}
    return {"DeviceName": device, "Ebs": ebs if deleted is None else {**ebs, "DeleteOnTermination": deleted}}


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        pytest.param({}, [], id="nothing is missing"),
        pytest.param({"EnaSupport": False}, ["--ena-support"], id="no ENA"),
        pytest.param({"EnaSupport": None}, ["--ena-support"], id="EC2 does not show ENA"),
        pytest.param(
            {"BlockDeviceMappings": [disk("/dev/sda1", deleted=False), disk("/dev/sdb", deleted=False)]},
            ["'DeviceName=/dev/sda1,Ebs={DeleteOnTermination=true}' 'DeviceName=/dev/sdb,Ebs={"],
            id="volumes stay",
        ),
        pytest.param({"BlockDeviceMappings": [disk("/dev/sda1", deleted=None)]}, [], id="unknown of volumes"),
        pytest.param(
            {"BlockDeviceMappings": [{"DeviceName": "/dev/sdc", "VirtualName": "ephemeral0"}]}, [], id="no EBS volume"
        ),
        pytest.param({"Architecture": "arm64"}, ["--boot-mode uefi"], id="no UEFI on Graviton"),
        pytest.param({"Architecture": "arm64", "BootMode": "uefi"}, [], id="UEFI on Graviton"),
        pytest.param({"Architecture": "arm64", "BootMode": None}, [], id="no boot mode on Graviton"),
        pytest.param({"EnaSupport": False, "Architecture": "arm64"}, ["--ena-support", "--boot-mode"], id="two things"),
    ],
)
def test_what_an_ami_lacks(fields: dict[str, Any], parts: list[str]) -> None:
    """Each thing that an AMI lacks has one warning with the command that fixes it, and nothing else has one."""
    warnings = described(**fields)
    assert len(warnings) == len(parts)
    for part, warning in zip(parts, warnings, strict=True):
        assert part in warning


def test_the_notification_of_an_available_image_says_what_its_ami_lacks() -> None:
    """IMAGE_AVAILABLE has the warnings of the AMI."""
    aws = InMemoryAws(TASK, AMI._replace(has_ena=False), image=AVAILABLE)
    aws.put_registration()
    (warning,) = aws.on_image_event().warnings
    (notification,) = aws.published
    assert "--ena-support" in warning
    assert warning in notification.message
