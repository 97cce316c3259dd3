"""The notifications: what they say, and that each is sent once."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from vm_image_import.clients import Clients
from vm_image_import.errors import InProgressError
from vm_image_import.idempotency.records import IdempotencyKey
from vm_image_import.models import Invocation, Outcome, OutcomeKind
from vm_image_import.text import one_line

_TROUBLESHOOTING: Final = "https://docs.aws.amazon.com/vm-import/latest/userguide/vmie_troubleshooting.html"
_SUBJECT: Final = 99
"""The most characters of a subject, which has to be ASCII (API reference, SNS `Publish`: less than 100)."""

_REMEDIES: Final = (
    (r"Unsupported kernel version", "Install a kernel that VM Import supports, make it the default, and export again."),
    (r"Multiple different grub/menu\.lst", "Leave one grub or menu.lst file on the boot disk, and export again."),
    (r"EFI partition detected|UEFI booting", "Import again with --boot-mode uefi, or convert the VM to boot by BIOS."),
    (r"No valid partitions", "Import the disk that the VM boots from, with an MBR or GPT partition table."),
    (
        r"Unknown OS|Missing OS files",
        "Import a disk with an operating system that VM Import supports, boot disk first.",
    ),
    (
        r"403 Forbidden|do not have access to the given",
        "Let the role vmimport read the bucket, the object and its key.",
    ),
    (r"Unsupported VMDK", "Export again as a stream-optimised VMDK, or as an OVA."),
    (r"chunked disk files", "Export again as an OVA without chunked disk files."),
    (
        r"FirstBootFailure",
        "Let the VM get its address by DHCP, allow Remote Desktop, remove third-party agents; export again.",
    ),
    (r"[Cc]ould not read fstab", "Correct /etc/fstab so that every device in it exists, and export again."),
    (r"service role vmimport", "Create the role vmimport with the policy of the VM Import guide, and import again."),
    (r"unable to detect default kernel", "Set the default kernel with grubby, and export again."),
)
"""What to do about EC2's messages (observed output, and its troubleshooting page)."""


_MAX_LINE: Final = 4_000
"""Characters. What EC2 and Image Builder say is text of others."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One message to the topic. A subscription filters by the message attribute `outcome`."""

    subject: str
    message: str
    outcome: str


def notification_of(outcome: Outcome) -> Notification:
    """Return the notification of an outcome."""
    resource = outcome.image_arn or outcome.import_task_id or ""
    subject = f"{_TITLES[outcome.kind]}: {resource.rpartition('image/')[2]}"
    lines = [
        f"{_TITLES[outcome.kind]}.",
        outcome.reason,
        *_advice(outcome),
        "",
        outcome.import_task_id and f"Import task: {outcome.import_task_id}",
        outcome.image_arn and f"Image: {outcome.image_arn}",
        outcome.ami_id and f"AMI: {outcome.ami_id}",
    ]
    message = "\n".join(one_line(line, _MAX_LINE) for line in lines if line is not None)
    subject = "".join(character if " " <= character <= "~" else "?" for character in subject)
    return Notification(subject[:_SUBJECT], message, outcome.kind.value)


_TITLES: Final = {
    OutcomeKind.REGISTERED: "Image registered",
    OutcomeKind.IMAGE_AVAILABLE: "Image available",
    OutcomeKind.IMAGE_FAILED: "Image failed",
    OutcomeKind.IMPORT_FAILED: "Import failed",
    OutcomeKind.REJECTED: "Import not registered",
    OutcomeKind.IMAGE_NOT_FOUND: "Image not found",
}


def _advice(outcome: Outcome) -> Iterator[str]:
    match outcome.kind:
        case OutcomeKind.IMAGE_AVAILABLE if not outcome.reason:
            arn = outcome.image_arn or ""
            yield f"Use it in a recipe as parentImage: {arn}"
            yield f"The highest version of its name: {arn.rsplit('/', 2)[0]}/x.x.x"
        case OutcomeKind.IMAGE_FAILED:
            yield 'Fix the cause, then invoke the function manually with "force": true.'
        case OutcomeKind.IMPORT_FAILED:
            yield remedy_for(outcome.reason or "")
        case OutcomeKind.REJECTED:
            yield "Fix the import task's tags or the account. The next sweep registers the import."
        case OutcomeKind.REGISTERED:
            yield "Image Builder makes it AVAILABLE. Another notification follows."


def remedy_for(status_message: str) -> str:
    """Return what to do about a failed import, from EC2's status message."""
    found = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, status_message)), None)
    return found or f"See {_TROUBLESHOOTING}"


def notify_once(key: IdempotencyKey, outcome: Outcome, clients: Clients, invocation: Invocation) -> Outcome:
    """Send the notification of an outcome, unless it was the last one of its key. Return the outcome with `is_new`.

    Outcomes of one kind with one problem are the same notification, whatever their text is. Raises TransientError or
    PermanentError where it cannot be sent or recorded.
    """
    result = f"{outcome.kind.value} {outcome.problem}".rstrip()
    store = clients.idempotency_store
    last = store.get_completed([key]).get(key) if outcome.problem else None
    if last not in {None, result}:
        store.release(key, str(last))
    try:
        with store.claim(key, invocation) as claim:
            if claim.completed is not None:
                return replace(outcome, is_new=False)
            publish(outcome, clients)
            claim.complete(result)
            return outcome
    except InProgressError:
        # The other invocation sends it.
        return replace(outcome, is_new=False)


def publish(outcome: Outcome, clients: Clients) -> None:
    """Send the notification of an outcome. Raises TransientError or PermanentError."""
    notification = notification_of(outcome)
    clients.topic.publish(notification.subject, notification.message, notification.outcome)
