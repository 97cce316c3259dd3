"""What the notifications say."""

import pytest

from vm_image_import import notifications
from vm_image_import.models import Outcome, OutcomeKind

ARN = "arn:aws:imagebuilder:us-east-1:123456789012:image/web-server/1.4.2/1"
TASK = "import-ami-fg4d51t0"

# Status messages (observed, or documented), and a word of their remedy.
MESSAGES = [
    ("ClientError: Unsupported kernel version 4.15.0-1021-aws", "kernel that VM Import supports"),
    ("ClientError: Multiple different grub/menu.lst files found.", "one grub"),
    ("ClientError: EFI partition detected. UEFI booting is not supported in EC2.", "--boot-mode uefi"),
    ("ClientError: No valid partitions. Not a valid volume.", "partition table"),
    ("ClientError: Unknown OS / Missing OS files.", "operating system"),
    ("CLIENT_ERROR : ClientError: Unknown OS / Missing OS files.", "operating system"),
    (
        "ClientError: Disk validation failed [We do not have access to the given resource. Reason 403 Forbidden]",
        "role vmimport read the bucket",
    ),
    ("ClientError: Disk validation failed [Unsupported VMDK File Format]", "stream-optimised"),
    (
        "ClientError: Disk validation failed [OVF file parsing error: OVA with chunked disk files is not supported]",
        "without chunked",
    ),
    (
        "FirstBootFailure: the Windows instance failed to boot and establish network connectivity.",
        "DHCP",
    ),
    ("Invalid configuration - Could not read fstab", "/etc/fstab"),
    ("The service role vmimport does not exist or does not have sufficient permissions", "Create the role vmimport"),
    ("BLSC-style GRUB found, but unable to detect default kernel", "grubby"),
    ("ClientError: Something new", "vmie_troubleshooting"),
    ("", "vmie_troubleshooting"),
]


@pytest.mark.parametrize(("message", "word"), MESSAGES)
def test_a_failed_import_is_reported_with_a_remedy(message: str, word: str) -> None:
    """The notification of a failed import has EC2's status message, and its remedy or the link to AWS's page."""
    notification = notifications.notification_of(Outcome(OutcomeKind.IMPORT_FAILED, TASK, reason=message))
    assert message in notification.message
    assert word in notification.message
    assert TASK in notification.message
    assert notification.outcome == "IMPORT_FAILED"


@pytest.mark.parametrize(
    ("kind", "subject", "word"),
    [
        (OutcomeKind.REGISTERED, "Image registered: web-server/1.4.2/1", "AVAILABLE"),
        (OutcomeKind.IMAGE_FAILED, "Image failed: web-server/1.4.2/1", '"force": true'),
        (OutcomeKind.REJECTED, "Import not registered: web-server/1.4.2/1", "The next sweep"),
    ],
)
def test_a_notification_says_what_happened_and_what_to_do(kind: OutcomeKind, subject: str, word: str) -> None:
    """A notification has the reason, the action, the task, the image and the AMI."""
    notification = notifications.notification_of(
        Outcome(kind, TASK, ARN, reason="Why.", ami_id="ami-0abcdef1234567890")
    )
    assert notification.subject == subject
    for part in (word, "Why.", TASK, ARN, "ami-0abcdef1234567890"):
        assert part in notification.message


def test_an_available_image_is_reported_with_its_parent_image_lines() -> None:
    """The notification has the ARN of this version, and the ARN of the highest version of the name."""
    message = notifications.notification_of(Outcome(OutcomeKind.IMAGE_AVAILABLE, TASK, ARN)).message
    assert f"parentImage: {ARN}\n" in message
    assert f"highest version of its name: {ARN.removesuffix('1.4.2/1')}x.x.x\n" in message


def test_sns_accepts_every_subject() -> None:
    """A subject has less than 100 ASCII characters and no line break."""
    long = notifications.notification_of(Outcome(OutcomeKind.IMAGE_AVAILABLE, TASK, f"arn:x:image/{'n' * 200}/1.0.0/1"))
    odd = notifications.notification_of(Outcome(OutcomeKind.IMPORT_FAILED, "import-ami-é\n"))
    assert len(long.subject) == 99
    assert odd.subject.isascii()
    assert "\n" not in odd.subject
