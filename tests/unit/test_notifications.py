"""What the notifications say, and in which form for which subscriber."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.conftest import ROOT
from tests.unit.fakes import TASK, TASK_ID, InMemoryAws
from vm_image_import.domain.arns import BuildArn
from vm_image_import.domain.models import Disk, ImportTask
from vm_image_import.domain.outcomes import MEANINGS, Outcome, OutcomeKind
from vm_image_import.domain.remedies import find_remedy
from vm_image_import.report.notifications import Notification, notification_of

ARN = "arn:aws:imagebuilder:us-east-1:123456789012:image/web-server/1.4.2/1"
NOTIFIED = [kind for kind in OutcomeKind if MEANINGS[kind].title]
SCHEMA = json.loads((ROOT / "docs" / "notifications.schema.json").read_text(encoding="utf-8"))
FAILED = Outcome(OutcomeKind.IMPORT_FAILED, TASK_ID, reason="ClientError: Unsupported kernel version 4.15", task=TASK)


def notification(outcome: Outcome) -> Notification:
    """Return the notification of an outcome."""
    return notification_of(outcome, InMemoryAws().invocation())


def forms(outcome: Outcome) -> dict[str, Any]:
    """Return the forms of the message, by protocol."""
    found: dict[str, Any] = json.loads(notification(outcome).message())
    return found


@pytest.mark.parametrize(
    ("task", "label"),
    [
        (TASK._replace(tags={"Name": "Web server"}, description="d"), f"Web server ({TASK_ID})"),
        (TASK, f"web-server-1.4.2.ova ({TASK_ID})"),
        (TASK._replace(disks=(Disk(url="https://h.example/a/web.ova?Signature=s"),)), f"web.ova ({TASK_ID})"),
        (TASK._replace(disks=(), description="The web server"), f"The web server ({TASK_ID})"),
        (TASK._replace(disks=()), TASK_ID),
        (None, TASK_ID),
    ],
    ids=["name tag", "file", "URL", "description", "nothing", "no task"],
)
@pytest.mark.parametrize(
    ("kind", "title"),
    [(OutcomeKind.IMPORT_FAILED, "Import failed"), (OutcomeKind.REJECTED, "Import not registered")],
)
def test_the_subject_names_the_vm(task: ImportTask | None, label: str, kind: OutcomeKind, title: str) -> None:
    """The subject of a failed or rejected import has the VM's name tag, file or description, and the task's id."""
    assert notification(Outcome(kind, TASK_ID, task=task)).subject == f"{title}: {label}"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Büro-Ost", "Buro-Ost"),
        ("Сервер 2", "Server 2"),
        ("数据库" * 40, "ShuJuKu" * 40),
        ("web\nBcc: x", "web\\nBcc: x"),
    ],
    ids=["accents", "Cyrillic", "Chinese, cut", "line break"],
)
def test_the_subject_is_ascii(name: str, label: str) -> None:
    """The subject has the VM's name in ASCII: other scripts are transliterated, and a line break is escaped."""
    task = TASK._replace(tags={"Name": name})
    subject = notification(Outcome(OutcomeKind.IMPORT_FAILED, TASK_ID, task=task)).subject
    assert subject == f"Import failed: {label} ({TASK_ID})"[:99]


def test_the_text_names_the_vm() -> None:
    """The text has the VM, its source and description, the task, the account and the Region."""
    task = TASK._replace(tags={"Name": "Web server"}, description="Shop")
    text = notification(FAILED._replace(task=task)).text
    for line in (
        "VM: Web server",
        "Source: s3://b/web-server-1.4.2.ova",
        "Description: Shop",
        f"Import task: {TASK_ID}",
        "Account: 123456789012",
        "Region: us-east-1",
    ):
        assert line in text.splitlines()


def test_a_notification_has_every_fact() -> None:
    """Each fact of an outcome is on its own line of the text, and in its own field of the document."""
    outcome = Outcome(
        OutcomeKind.FOLLOW_UP_FAILED,
        TASK_ID,
        ARN,
        sources={"name": "tag Name", "semanticVersion": "file name", "platform": "task"},
        reason="Denied.",
        ami_id="ami-0abcdef1234567890",
        tagged=("ami-0abcdef1234567890", "snap-1"),
        parameter="/base/web-server",
        warnings=["It lacks ENA.", "It is old."],
        task=TASK._replace(tags={"Name": "Web server"}, description="Shop", platform="Linux"),
        said_by="Systems Manager",
        step="parameter",
    )
    assert notification(outcome).text.splitlines() == [
        "Follow-up failed.",
        "Systems Manager says: Denied.",
        "It lacks ENA.",
        "It is old.",
        "The image is registered. Fix the cause. The next sweep repeats the step: parameter.",
        "",
        "VM: Web server",
        "Source: s3://b/web-server-1.4.2.ova",
        "Description: Shop",
        f"Import task: {TASK_ID}",
        f"Image: {ARN}",
        "AMI: ami-0abcdef1234567890",
        "Sources: name from tag Name, version from file name",
        "Tagged: ami-0abcdef1234567890, snap-1",
        "Parameter: /base/web-server",
        "Account: 123456789012",
        "Region: us-east-1",
    ]
    assert notification(outcome).document == {
        "version": "1",
        "time": "2026-11-23T10:15:00+00:00",
        "account": "123456789012",
        "region": "us-east-1",
        "outcome": "FOLLOW_UP_FAILED",
        "importTaskId": TASK_ID,
        "vmName": "Web server",
        "source": "s3://b/web-server-1.4.2.ova",
        "description": "Shop",
        "platform": "Linux",
        "amiId": "ami-0abcdef1234567890",
        "imageArn": ARN,
        "name": "web-server",
        "semanticVersion": "1.4.2",
        "sources": {"name": "tag Name", "semanticVersion": "file name", "platform": "task"},
        "tagged": ["ami-0abcdef1234567890", "snap-1"],
        "parameter": "/base/web-server",
        "step": "parameter",
        "reason": "Denied.",
        "warnings": ["It lacks ENA.", "It is old."],
        "remedy": None,
        "remedyUrl": None,
    }


@pytest.mark.parametrize("platform", ["Linux", "Windows", None])
def test_a_failed_import_is_reported_with_its_remedy(platform: str | None) -> None:
    """The text has EC2's status message, and the remedy for the platform with the page of the guide."""
    reason = "FirstBootFailure: This import request failed because the instance failed to boot."
    outcome = FAILED._replace(reason=reason, task=TASK._replace(platform=platform))
    text, document = notification(outcome).text, json.loads(forms(outcome)["sqs"])
    assert reason in text
    assert document["remedy"] in text
    assert f"See {document['remedyUrl']}" in text
    if platform:
        other = "Windows" if platform == "Linux" else "Linux"
        assert (
            document["remedy"]
            != json.loads(forms(outcome._replace(task=TASK._replace(platform=other)))["sqs"])["remedy"]
        )


def test_an_unknown_failure_has_the_page_of_the_guide() -> None:
    """A status message that the table does not have is reported with the guide's troubleshooting page."""
    text = notification(FAILED._replace(reason="ClientError: Something new")).text
    assert "https://docs.aws.amazon.com/vm-import/latest/userguide/vmimport-troubleshooting.html" in text


@pytest.mark.parametrize(
    ("kind", "subject", "word"),
    [
        (OutcomeKind.IMAGE_FAILED, "Image failed: web-server/1.4.2/1", '"force": true'),
        (OutcomeKind.REJECTED, "Import not registered: web-server/1.4.2/1", "next sweep"),
        (OutcomeKind.FOLLOW_UP_FAILED, "Follow-up failed: web-server/1.4.2/1", "next sweep"),
    ],
)
def test_a_notification_says_what_happened_and_what_to_do(kind: OutcomeKind, subject: str, word: str) -> None:
    """A notification has the reason, the action, the task, the image and the AMI."""
    found = notification(Outcome(kind, TASK_ID, ARN, reason="Why.", ami_id="ami-0abcdef1234567890"))
    assert found.subject == subject
    for part in (word, "Why.", TASK_ID, ARN, "ami-0abcdef1234567890"):
        assert part in found.text


def test_an_available_image_is_reported_with_its_parent_image_lines() -> None:
    """The notification has the ARN of this version, and the ARN of the highest version of the name."""
    text = notification(Outcome(OutcomeKind.IMAGE_AVAILABLE, TASK_ID, ARN)).text
    assert f"parentImage: {ARN}\n" in text
    assert f"highest version of its name: {ARN.removesuffix('1.4.2/1')}x.x.x\n" in text


@pytest.mark.parametrize("kind", NOTIFIED)
def test_every_protocol_has_its_form(kind: OutcomeKind) -> None:
    """E-mail gets the text, SQS, Lambda and Firehose the document of the schema, and HTTPS the schema of chat."""
    outcome = FAILED._replace(kind=kind, image_arn=ARN, ami_id="ami-0abcdef1234567890")
    found = forms(outcome)
    text = notification(outcome).text
    assert (found["default"], found["email"]) == (text, text)
    assert found["sqs"] == found["lambda"] == found["firehose"]
    document = json.loads(found["sqs"])
    assert list(Draft202012Validator(SCHEMA).iter_errors(document)) == []
    assert document.keys() == SCHEMA["properties"].keys()
    assert (document["name"], document["semanticVersion"], document["outcome"]) == ("web-server", "1.4.2", kind.value)
    chat = json.loads(found["https"])
    assert (chat["version"], chat["source"]) == ("1.0", "custom")
    assert chat["content"]["textType"] == "client-markdown"
    # Without the marks of code it is the same text, in which nothing had to be escaped.
    assert chat["content"]["description"].replace("`", "") == text
    assert chat["content"]["title"].replace("`", "") == notification(outcome).subject


ATTACK = "<!channel> <https://evil.example|Approve> [Approve](https://evil.example) *_now_* `x` & \u202e"


@pytest.mark.parametrize("kind", NOTIFIED)
def test_chat_shows_others_text_as_it_is(kind: OutcomeKind) -> None:
    """Nothing that others wrote mentions anybody, hides a link or is formatted in chat; e-mail has it unescaped."""
    task = TASK._replace(tags={"Name": ATTACK}, description=ATTACK, disks=(Disk(bucket="b", key=ATTACK),))
    request = {"name": ATTACK, "semanticVersion": ATTACK}
    sources = {"name": ATTACK}
    outcome = Outcome(kind, ATTACK, ARN, request, sources, ATTACK, ATTACK, task=task, tagged=(ATTACK,))
    content = json.loads(forms(outcome)["https"])["content"]
    for line in [content["title"], *content["description"].splitlines()]:
        # Text and code in turns. What is code ends on its line.
        outside, inside = line.split("`")[::2], line.split("`")[1::2]
        assert len(outside) == len(inside) + 1
        assert "evil.example" not in "".join(outside)
        assert not re.search(r"[<>&*_~]|\]\(", re.sub(r"https://docs\.aws\S+|kms:\S+|\bGRUB\w+", "", "".join(outside)))
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)|\]\(", "".join(inside))
        assert line.isprintable()
    text = notification(outcome).text
    assert ATTACK.removesuffix("\u202e") in text
    assert "\u202e" not in text


@pytest.mark.parametrize("count", [1, 100, 200])
@pytest.mark.parametrize("kind", [OutcomeKind.RETENTION, OutcomeKind.IMAGE_AVAILABLE])
def test_chat_leaves_out_only_warnings(kind: OutcomeKind, count: int) -> None:
    """Where chat has no room for all warnings, it has the first ones, how many are left out, and everything else."""
    warnings = [f"web-server-production/2026.1.{n}/1 (ami-{n:017x}): from 2026-11-30 on." for n in range(count)]
    outcome = Outcome(kind, image_arn=ARN, warnings=warnings)
    (found, without) = (notification(each) for each in (outcome, outcome._replace(warnings=())))
    lines = found.chat["description"].splitlines()
    others = without.chat["description"].splitlines()
    shown = lines[1 : len(lines) - len(others) + 1]
    assert [line for line in lines if line not in shown] == others
    number = count - len(shown) + 1
    left_out = [f"Lines left out: {number}. The e-mail and the JSON document have them."] if count > 1 else []
    assert shown == [*(f"`{each}`" for each in warnings[: len(shown) - len(left_out)]), *left_out]
    assert 7_850 * bool(left_out) < len(found.chat["description"]) <= 8_000
    assert [line for line in found.text.splitlines() if line in warnings] == warnings


def test_the_deletion_of_an_image_is_announced_with_the_way_to_its_arn() -> None:
    """The command that keeps an image has its ARN, up to the part with which the image's line begins."""
    label = BuildArn.parse(ARN).label
    text = notification(Outcome(OutcomeKind.RETENTION, warnings=[f"{label} (ami-1): from 2026-11-30 on."])).text
    (command,) = re.findall("To keep one: (.+)", text)
    assert "NAME/VERSION/BUILD is what its line begins with." in text
    assert f"--resource-arn {ARN} --tags " in command.replace("NAME/VERSION/BUILD", label)


@pytest.mark.parametrize(("said_by", "line"), [("EC2", "EC2 says: Why."), ("", "Why.")])
def test_foreign_words_are_labelled(said_by: str, line: str) -> None:
    """The words of a service are introduced with its name, in e-mail and in chat."""
    found = notification(FAILED._replace(reason="Why.", said_by=said_by))
    assert found.text.splitlines()[1] == line
    assert found.chat["description"].splitlines()[1] == line.replace("Why.", "`Why.`")


def test_our_own_links_work_in_chat() -> None:
    """The page of the remedy is a plain URL in chat, which the client links."""
    remedy = find_remedy(FAILED.reason, TASK.platform)
    lines = notification(FAILED).chat["description"].splitlines()
    assert f"See {remedy.url}" in lines
    assert remedy.text in lines


@pytest.mark.parametrize("character", ["\n", "\\", '"', "\u202e", "\x00", "\U0001f600", "é"])
def test_untrusted_text_is_bounded_and_on_its_line(character: str) -> None:
    """Whatever EC2 and tags say, a message is below 256 KB, its subject is accepted by SNS, and no line is forged."""
    long = character * 100_000
    task = TASK._replace(tags={"Name": long}, description=long, disks=(Disk(bucket="b", key=long),))
    for outcome in (
        FAILED._replace(reason=long, task=task),
        Outcome(OutcomeKind.IMAGE_FAILED, TASK_ID, ARN, reason=long),
    ):
        found = notification(outcome)
        assert len(found.message().encode()) < 256 * 1024
        assert len(found.subject) < 100
        assert found.subject.isascii()
        assert found.subject.isprintable()
        assert len(found.text.splitlines()) < 20
        assert len(json.loads(json.loads(found.message())["https"])["content"]["description"]) <= 8_000
    forged = FAILED._replace(reason="x\nImage: arn:forged", task=TASK._replace(tags={"Name": "y\nAMI: ami-forged"}))
    lines = notification(forged).text.splitlines()
    assert not {"Image: arn:forged", "AMI: ami-forged"} & {*lines}
