"""What people are told."""

import pytest

from vm_image_import import notices
from vm_image_import.models import Outcome, OutcomeKind

ARN = "arn:aws:imagebuilder:us-east-1:123456789012:image/web-server/1.4.2/1"
TASK = "import-ami-fg4d51t0"

# Every message that was seen or is documented, and a word of its remedy.
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
def test_a_failed_import_is_told_with_a_remedy(message: str, word: str) -> None:
    """EC2's words as they are, then what to do; for the unknown, where AWS explains."""
    notice = notices.of(Outcome(OutcomeKind.IMPORT_FAILED, TASK, reason=message))
    assert message in notice.message
    assert word in notice.message
    assert TASK in notice.message
    assert notice.outcome == "IMPORT_FAILED"


@pytest.mark.parametrize(
    ("kind", "subject", "word"),
    [
        (OutcomeKind.REGISTERED, "Image registered: web-server/1.4.2/1", "AVAILABLE by itself"),
        (OutcomeKind.IMAGE_FAILED, "Image failed: web-server/1.4.2/1", '"force": true'),
        (OutcomeKind.REJECTED, "Import not registered: web-server/1.4.2/1", "the next sweep"),
    ],
)
def test_a_notice_says_what_happened_and_what_to_do(kind: OutcomeKind, subject: str, word: str) -> None:
    """With the task, the image and the AMI to look for."""
    notice = notices.of(Outcome(kind, TASK, ARN, reason="Why.", ami_id="ami-0abcdef1234567890"))
    assert notice.subject == subject
    for part in (word, "Why.", TASK, ARN, "ami-0abcdef1234567890"):
        assert part in notice.message


def test_an_available_image_is_told_with_what_to_write() -> None:
    """Another version of that name may be higher: the line for recipes names this one, and a second one the highest."""
    message = notices.of(Outcome(OutcomeKind.IMAGE_AVAILABLE, TASK, ARN)).message
    assert f"parentImage: {ARN}\n" in message
    assert f"highest version of its name: {ARN.removesuffix('1.4.2/1')}x.x.x\n" in message


def test_a_subject_is_one_that_sns_takes() -> None:
    """Less than 100 ASCII characters, without line breaks."""
    long = notices.of(Outcome(OutcomeKind.IMAGE_AVAILABLE, TASK, f"arn:x:image/{'n' * 200}/1.0.0/1"))
    odd = notices.of(Outcome(OutcomeKind.IMPORT_FAILED, "import-ami-é\n"))
    assert len(long.subject) == 99
    assert odd.subject.isascii()
    assert "\n" not in odd.subject
