"""The notifications: what they say, in which form for which subscriber, and that each is sent once."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Final

from vm_image_import.clients import Clients
from vm_image_import.derive import disks
from vm_image_import.errors import InProgressError
from vm_image_import.idempotency.records import IdempotencyKey
from vm_image_import.models import ImportTask, Invocation, Outcome, OutcomeKind
from vm_image_import.remedies import Remedy, find_remedy
from vm_image_import.settings import Settings
from vm_image_import.text import chat_code, one_line

_MAX_SUBJECT: Final = 99
"""Characters of a subject, which has to be ASCII (API reference, SNS `Publish`: less than 100)."""
_MAX_LINE: Final = 2_000
"""Characters of a line. What EC2, Image Builder and tags say is untrusted, and SNS takes 256 KB in all."""
_MAX_CHAT: Final = 8_000
"""Characters of `description` (user guide of Amazon Q Developer in chat applications, custom notifications)."""
_MAX_CHAT_VALUE: Final = 800
"""Characters of a value in chat: a remedy and what is known of an import fit into one description."""

_TITLES: Final = {
    OutcomeKind.IMAGE_AVAILABLE: "Image available",
    OutcomeKind.IMAGE_FAILED: "Image failed",
    OutcomeKind.IMPORT_FAILED: "Import failed",
    OutcomeKind.REJECTED: "Import not registered",
    OutcomeKind.IMAGE_NOT_FOUND: "Image not found",
    OutcomeKind.DRY_RUN: "Observed: would be registered",
    OutcomeKind.AMI_NOT_TAGGED: "AMI not tagged",
    OutcomeKind.PARAMETER_NOT_WRITTEN: "Parameter not written",
}


@dataclass(frozen=True, slots=True)
class Notification:
    """One message to the topic. A subscription filters by the message attribute `outcome`."""

    subject: str
    text: str
    chat: Mapping[str, str]
    """Title and description. Amazon Q Developer renders both as the chat's markdown (user guide, custom notifications),
    so others' text is code in them."""
    document: Mapping[str, object]
    """The same for machines, docs/notifications.schema.json."""
    outcome: str

    def message(self) -> str:
        """Return the message with a form for each protocol (developer guide of SNS, `MessageStructure` json)."""
        document = json.dumps(self.document, ensure_ascii=False)
        chat = {
            "version": "1.0",
            "source": "custom",
            "content": {"textType": "client-markdown", **self.chat},
        }
        forms = {
            **dict.fromkeys(("default", "email"), self.text),
            **dict.fromkeys(("sqs", "lambda", "firehose"), document),
            "https": json.dumps(chat, ensure_ascii=False),
        }
        return json.dumps(forms, ensure_ascii=False)


def notification_of(outcome: Outcome, settings: Settings, invocation: Invocation) -> Notification:
    """Return the notification of an outcome."""
    title, label, remedy = _TITLES[outcome.kind], _label(outcome, settings), _remedy(outcome)
    subject = "".join(character if " " <= character <= "~" else "?" for character in f"{title}: {label}")
    facts = [(name, value) for name, value in _facts(outcome, settings, invocation) if value]

    def lines(shown: Callable[[str], str]) -> str:
        """Return the text, with what others wrote as `shown` shows it."""
        return "\n".join(
            [
                f"{title}.",
                *([shown(outcome.reason)] if outcome.reason else []),
                *_actions(outcome, shown),
                *([remedy.text, f"See {remedy.url}"] if remedy else []),
                "",
                *(f"{name}: {shown(value)}" for name, value in facts),
            ]
        )

    return Notification(
        subject[:_MAX_SUBJECT],
        lines(lambda text: one_line(text, _MAX_LINE)),
        {
            "title": f"{title}: {chat_code(label, _MAX_SUBJECT)}",
            "description": lines(lambda text: chat_code(text, _MAX_CHAT_VALUE))[:_MAX_CHAT],
        },
        _document(outcome, settings, invocation, remedy),
        outcome.kind.value,
    )


def _label(outcome: Outcome, settings: Settings) -> str:
    """Return what the owner of the VM knows it by."""
    if outcome.image_arn:
        return outcome.image_arn.rpartition("image/")[2]
    known = _vm_name(outcome.task, settings) if outcome.task else None
    return f"{known} ({outcome.import_task_id})" if known else outcome.import_task_id or ""


def _vm_name(task: ImportTask, settings: Settings) -> str | None:
    """Return the task's name tag, or the name of its boot disk's file, or its description."""
    return task.tags.get(settings.name_tag) or disks.file_name(task.boot_disk) or task.description


def _remedy(outcome: Outcome) -> Remedy | None:
    if outcome.kind is not OutcomeKind.IMPORT_FAILED:
        return None
    task = outcome.task
    return find_remedy(outcome.reason, task.platform, task.disk_files) if task else find_remedy(outcome.reason)


def _actions(outcome: Outcome, shown: Callable[[str], str]) -> Iterator[str]:
    match outcome.kind:
        case OutcomeKind.IMAGE_AVAILABLE if not outcome.reason:
            arn = outcome.image_arn or ""
            yield f"Use it in a recipe as parentImage: {shown(arn)}"
            highest = f"{arn.rsplit('/', 2)[0]}/x.x.x"
            yield f"The highest version of its name: {shown(highest)}"
        case OutcomeKind.IMAGE_FAILED:
            yield 'Fix the cause, then invoke the function manually with "force": true.'
        case OutcomeKind.REJECTED:
            yield "Fix the import task's tags or the account. The next sweep registers the import."
        case OutcomeKind.AMI_NOT_TAGGED:
            yield "The image is registered. Fix the cause. The next sweep tags the AMI and its snapshots."
        case OutcomeKind.PARAMETER_NOT_WRITTEN:
            yield "The image is available. Fix the cause. The next sweep writes the parameter."
        case OutcomeKind.DRY_RUN:
            request = outcome.request or {}
            identity = f"{request.get('name')} {request.get('semanticVersion')}"
            yield f"It would be {shown(identity)}. Nothing was registered."
            yield 'To register it, set "observe" to false, or invoke the function manually.'


def _facts(outcome: Outcome, settings: Settings, invocation: Invocation) -> Iterator[tuple[str, str | None]]:
    if outcome.task:
        yield "VM", _vm_name(outcome.task, settings)
        yield "Source", outcome.task.boot_disk.source
        yield "Description", outcome.task.description
    yield "Import task", outcome.import_task_id
    yield "Image", outcome.image_arn
    yield "AMI", outcome.ami_id
    yield "Tagged", ", ".join(outcome.tagged)
    yield "Parameter", outcome.parameter
    yield "Account", invocation.environment.account
    yield "Region", invocation.environment.region


def _document(outcome: Outcome, settings: Settings, invocation: Invocation, remedy: Remedy | None) -> dict[str, object]:
    """Return the document of an outcome; a field that does not apply is null."""
    task = outcome.task
    request = outcome.request or {}
    name, version = request.get("name"), request.get("semanticVersion")
    if outcome.image_arn:
        name, version = outcome.image_arn.rpartition("image/")[2].split("/")[:2]
    fields: dict[str, object | None] = {
        "version": "1",
        "time": invocation.time.astimezone(UTC).isoformat(timespec="seconds"),
        "account": invocation.environment.account,
        "region": invocation.environment.region,
        "outcome": outcome.kind.value,
        "importTaskId": outcome.import_task_id,
        "vmName": _vm_name(task, settings) if task else None,
        "source": task.boot_disk.source if task else None,
        "description": task.description if task else None,
        "platform": task.platform if task else None,
        "amiId": outcome.ami_id,
        "imageArn": outcome.image_arn,
        "name": name,
        "semanticVersion": version,
        "tagged": [*outcome.tagged] or None,
        "parameter": outcome.parameter,
        "reason": outcome.reason,
        "remedy": remedy.text if remedy else None,
        "remedyUrl": remedy.url if remedy else None,
    }
    return {key: one_line(value, _MAX_LINE) if isinstance(value, str) else value for key, value in fields.items()}


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
            publish(outcome, clients, invocation)
            claim.complete(result)
            return outcome
    except InProgressError:
        # The other invocation sends it.
        return replace(outcome, is_new=False)


def publish(outcome: Outcome, clients: Clients, invocation: Invocation) -> None:
    """Send the notification of an outcome. Raises TransientError or PermanentError."""
    notification = notification_of(outcome, clients.settings, invocation)
    clients.topic.publish(notification.subject, notification.message(), notification.outcome)
