"""What the user of an AMI should know before an instance of it is launched."""

from collections.abc import Iterator
from typing import Final

from vm_image_import.domain.models import Ami

_ENA: Final = (
    "EC2 does not show ENA as enabled for the AMI, and instance types of the AWS Nitro System need it. Install the ENA"
    " driver on an instance, stop it, write aws ec2 modify-instance-attribute --instance-id INSTANCE --ena-support, and"
    " make an AMI of it."
)
"""User guide of EC2, "Enable enhanced networking with ENA on your EC2 instances"."""
_KEPT: Final = (
    "The volumes {devices} stay, and cost, when an instance is terminated. Launch instances with"
    " --block-device-mappings {mappings}"
)
"""API reference of EC2, `EbsBlockDevice`."""
_BOOT_MODE: Final = (
    "The boot mode is legacy-bios, and instance types of {architecture} boot with UEFI only. Import the VM again with"
    " --boot-mode uefi."
)
"""User guide of EC2, "Instance launch behavior with Amazon EC2 boot modes"."""
_UEFI_ONLY: Final = "arm64"
_LEGACY: Final = "legacy-bios"


def find_ami_warnings(ami: Ami) -> Iterator[str]:
    """Yield what an AMI lacks, with what to do about it."""
    if not ami.has_ena:
        yield _ENA
    if ami.kept_devices:
        mappings = " ".join(f"'DeviceName={each},Ebs={{DeleteOnTermination=true}}'" for each in ami.kept_devices)
        yield _KEPT.format(devices=", ".join(ami.kept_devices), mappings=mappings)
    if (ami.architecture, ami.boot_mode) == (_UEFI_ONLY, _LEGACY):
        yield _BOOT_MODE.format(architecture=_UEFI_ONLY)
