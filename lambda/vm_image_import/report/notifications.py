"""The notifications: what they say, in which form for which subscriber."""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from vm_image_import.derive import disks
from vm_image_import.derive.names import transliterate
from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.models import ImportTask
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.domain.text import chat_code, one_line
from vm_image_import.invocation import Invocation
from vm_image_import.settings import Settings

if TYPE_CHECKING:
    from vm_image_import.domain.remedies import Remedy

_MAX_SUBJECT: Final = 99
"""Characters of a subject: less than 100 (API reference, SNS `Publish`). Earlier versions of it require ASCII."""
_MAX_LINE: Final = 2_000
"""Characters of a line. What EC2, Image Builder and tags say is untrusted, and a message has at most 256 KiB by
default (API reference, SNS `Publish`)."""
_MAX_CHAT: Final = 8_000
"""Characters of `description` (user guide of Amazon Q Developer in chat applications, custom notifications)."""
_MAX_CHAT_VALUE: Final = 800
"""Characters of a value in chat: a remedy and what is known of an import fit into one description."""
_LEFT_OUT: Final = "Lines left out: {}. The e-mail and the JSON document have them."
_MAX_LEFT_OUT: Final = 70
"""Characters of this line, with its end."""


class Notification(NamedTuple):
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


def notification_of(outcome: Outcome, invocation: Invocation) -> Notification:
    """Return the notification of an outcome."""
    settings = invocation.settings
    title, label, remedy = outcome.meaning.title, _label(outcome, settings), _remedy(outcome)
    heading = ": ".join(filter(None, (title, label)))
    subject = transliterate(one_line(heading, _MAX_LINE))
    facts = [(name, value) for name, value in _facts(outcome, settings, invocation) if value]

    said = f"{outcome.said_by} says: " if outcome.said_by else ""

    def lines(shown: Callable[[str], str], warnings: Sequence[str]) -> str:
        """Return the text, with what others wrote as `shown` shows it."""
        return "\n".join(
            [
                f"{title}.",
                *([f"{said}{shown(outcome.reason)}"] if outcome.reason else []),
                *warnings,
                *_actions(outcome, invocation, shown),
                *([remedy.text, f"See {remedy.url}"] if remedy else []),
                "",
                *(f"{name}: {shown(value)}" for name, value in facts),
            ]
        )

    def plain(text: str) -> str:
        return one_line(text, _MAX_LINE)

    def code(text: str) -> str:
        return chat_code(text, _MAX_CHAT_VALUE)

    chat_warnings = _fit([*map(code, outcome.warnings)], _MAX_CHAT - len(lines(code, [])))
    return Notification(
        subject[:_MAX_SUBJECT],
        lines(plain, [*map(plain, outcome.warnings)]),
        {
            "title": f"{title}: {chat_code(label, _MAX_SUBJECT)}" if label else title,
            "description": lines(code, chat_warnings)[:_MAX_CHAT],
        },
        _document(outcome, settings, invocation, remedy),
        outcome.kind.value,
    )


def _fit(lines: Sequence[str], room: int) -> Sequence[str]:
    """Return the lines, of so many characters with their ends at most: the first ones, and how many are left out."""
    sizes = [*accumulate(len(f"{line}\n") for line in lines)]
    if not sizes or sizes[-1] <= room:
        return lines
    kept = bisect_right(sizes, room - _MAX_LEFT_OUT)
    return [*lines[:kept], _LEFT_OUT.format(len(lines) - kept)]


def _label(outcome: Outcome, settings: Settings) -> str:
    """Return what the owner of the VM knows it by."""
    if outcome.image_arn:
        return BuildArn.parse(outcome.image_arn).label
    known = _vm_name(outcome.task, settings) if outcome.task else None
    return f"{known} ({outcome.import_task_id})" if known else outcome.import_task_id or ""


def _vm_name(task: ImportTask, settings: Settings) -> str | None:
    """Return the task's name tag, or the name of its boot disk's file, or its description."""
    return task.tags.get(settings.name_tag) or disks.file_name(task.boot_disk) or task.description


def _remedy(outcome: Outcome) -> "Remedy | None":
    if outcome.kind is not OutcomeKind.IMPORT_FAILED:
        return None
    # Only a failed import waits for this import.
    from vm_image_import.domain.remedies import find_remedy  # noqa: PLC0415 - as said above

    task = outcome.task
    return find_remedy(outcome.reason, task.platform, task.disk_files) if task else find_remedy(outcome.reason)


def _actions(outcome: Outcome, invocation: Invocation, shown: Callable[[str], str]) -> Iterator[str]:
    if outcome.kind is OutcomeKind.IMAGE_AVAILABLE and outcome.reason:
        # It was deprecated or disabled meanwhile.
        return
    if outcome.says_what_to_do:
        return
    partition, region, account = invocation.environment
    any_arn = f"arn:{partition}:imagebuilder:{region}:{account}:image/NAME/VERSION/BUILD"
    values = {name: shown(str(value)) for name, value in {**outcome.fields, "any_arn": any_arn}.items()}
    yield from (action.format_map(values) for action in outcome.meaning.actions)


def _facts(outcome: Outcome, settings: Settings, invocation: Invocation) -> Iterator[tuple[str, str | None]]:
    if outcome.task:
        yield "VM", _vm_name(outcome.task, settings)
        yield "Source", outcome.task.boot_disk.source
        yield "Description", outcome.task.description
    yield "Import task", outcome.import_task_id
    yield "Image", outcome.image_arn
    yield "AMI", outcome.ami_id
    sources = (("name", "name"), ("version", "semanticVersion"))
    yield "Sources", ", ".join(f"{part} from {outcome.sources[key]}" for part, key in sources if key in outcome.sources)
    yield "Tagged", ", ".join(outcome.tagged)
    yield "Parameter", outcome.parameter
    yield "Account", invocation.environment.account
    yield "Region", invocation.environment.region


def _document(
    outcome: Outcome, settings: Settings, invocation: Invocation, remedy: "Remedy | None"
) -> dict[str, object]:
    """Return the document of an outcome; a field that does not apply is null."""
    task = outcome.task
    fields: dict[str, object | None] = {
        "version": "1",
        "time": invocation.time.isoformat(timespec="seconds"),
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
        "name": outcome.fields["name"],
        "semanticVersion": outcome.fields["version"],
        "sources": {**outcome.sources} or None,
        "tagged": [*outcome.tagged] or None,
        "parameter": outcome.parameter,
        "step": outcome.step,
        "reason": outcome.reason,
        "warnings": [*outcome.warnings] or None,
        "remedy": remedy.text if remedy else None,
        "remedyUrl": remedy.url if remedy else None,
    }
    return {key: one_line(value, _MAX_LINE) if isinstance(value, str) else value for key, value in fields.items()}


def publish(outcome: Outcome, invocation: Invocation) -> None:
    """Send the notification of an outcome. Raises TransientError or PermanentError."""
    notification = notification_of(outcome, invocation)
    invocation.clients.topic.publish(notification.subject, notification.message(), notification.outcome)
