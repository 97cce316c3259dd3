"""What the README and its reference claim."""

import json
import re
from datetime import UTC, datetime

import pytest

from infra.configuration import Configuration
from tests.conftest import ROOT
from tests.unit.test_notifications import ARN, notification
from vm_image_import import events
from vm_image_import.derive import disks
from vm_image_import.domain.models import Disk, ImportTask
from vm_image_import.domain.outcomes import Outcome, OutcomeKind
from vm_image_import.events import ManualImport

README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
NAMES = (ROOT / "docs" / "names.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\|(?:[^|]*\|)? `(?P<path>\S[^`]*\.\w+)` \| `(?P<name>[^`]+)` \| (?P<version>[^|:]+)(?:: [^|]+)? \|$",
    re.MULTILINE,
)


@pytest.mark.parametrize(
    ("path", "name", "version"), sorted({row.group("path", "name", "version") for row in ROW.finditer(NAMES)})
)
def test_a_path_is_read_as_the_table_says(path: str, name: str, version: str) -> None:
    """Every path of the table gives the name and the version of its row."""
    found = disks.read(Disk(bucket="b", key=path), datetime(2026, 11, 23, tzinfo=UTC))
    assert found == (name, None if version == "scheme" else version)


def test_the_table_is_read() -> None:
    """The table of paths has all its rows."""
    table = NAMES.partition("| rule |")[2].partition("\n\n")[0]
    assert len(ROW.findall(NAMES)) == len(table.splitlines()) - 2


def test_it_is_short() -> None:
    """The README has at most 110 lines."""
    assert len(README.splitlines()) <= 110


def test_every_document_is_linked_once() -> None:
    """The list of documents in the README has each document of the project once."""
    links = re.findall(r"\]\(([\w/-]+\.md)\)", README.partition("## Documents")[2])
    documents = {*ROOT.glob("docs/*.md"), *ROOT.glob("*.md"), *ROOT.glob("examples/*.md")} - {ROOT / "README.md"}
    assert sorted(links) == sorted(path.relative_to(ROOT).as_posix() for path in documents)


def test_the_notification_is_what_is_sent() -> None:
    """The notification in the README is what the function sends about an available image."""
    task_id, bucket = "import-ami-0123456789abcdef0", "my-bucket"
    disk = Disk(bucket=bucket, key="exports/web-server-1.4.2.ova")
    task = ImportTask(task_id, disks=(disk,), tags={"Name": "web-server", "Version": "1.4.2"})
    sources = {"name": "tag Name", "semanticVersion": "tag Version"}
    available = Outcome(OutcomeKind.IMAGE_AVAILABLE, task_id, ARN, ami_id="ami-0abcdef1234567890")
    sent = notification(available._replace(task=task, sources=sources))
    assert f"```text\nSubject: {sent.subject}\n\n{sent.text}\n```" in README


def test_the_configuration_is_accepted() -> None:
    """The configuration that the README shows can be deployed."""
    (shown,) = re.findall(r"```json\n(.+?)```", README, re.DOTALL)
    assert Configuration.from_context(shown).notification_email == "ops@example.com"


def test_the_payloads_are_tested() -> None:
    """The payloads of the reference are those of the tests, and the function accepts them."""
    shown = [json.loads(block) for block in re.findall(r"```json\n(.+?)```", REFERENCE, re.DOTALL)]
    files = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "tests" / "payloads").glob("*.json")]
    assert sorted(shown, key=str) == sorted(files, key=str)
    assert len(shown) == 3
    for payload in shown:
        assert isinstance(events.parse(payload), ManualImport)


def test_every_key_of_the_payload_is_explained() -> None:
    """The reference has the keys of the payload's schema, and no others."""
    rows = re.findall(r"^\| (`[a-z]\w+`(?:, `\w+`)*) \| [^|]+ \|$", REFERENCE, re.MULTILINE)
    assert set(re.findall(r"\w+", " ".join(rows))) == set(events.read_schema("payload")["properties"])


def test_every_make_target_exists() -> None:
    """Every make target of the README exists."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`?make (\w+)", README))
    assert targets <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    assert {"demo", "test", "setup"} <= targets
