"""What docs/tools.md says to write in each tool."""

import json
import re
import shlex
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # it has no types

from infra.configuration import Configuration
from tests.conftest import ROOT
from tests.unit.derivation import derive
from tests.unit.test_derive import AMI, TASK
from tests.unit.test_settings import REQUIRED
from vm_image_import import events
from vm_image_import.derive import Derivation
from vm_image_import.domain.models import Disk, ImportTask, Overrides
from vm_image_import.events import ManualImport
from vm_image_import.settings import Settings

DOCUMENT = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
STATED = ("web-server", "1.4.2")


def blocks(language: str) -> list[str]:
    """Return the blocks of one language."""
    return re.findall(rf"```{language}\n(.+?)```", DOCUMENT, re.DOTALL)


def derived(task: ImportTask, overrides: Overrides | None = None, configured: object = None) -> Derivation:
    """Return the derivation with a configuration."""
    environment = Configuration.from_context(configured).function_environment()
    return derive(task, AMI, overrides or Overrides(), Settings.from_environment(environment | REQUIRED), token="token")


def name_and_version(derivation: Derivation) -> tuple[str, str]:
    """Return both."""
    return derivation.request.name, derivation.request.semantic_version


@pytest.mark.parametrize("command", blocks("sh"), ids=["import-image", "create-tags"])
def test_the_tags_of_the_command_line_state_both(command: str) -> None:
    """The tags in each command give the name and the version of the document."""
    tags = dict(re.findall(r"Key=(\w+),Value=([\w.-]+)", " ".join(shlex.split(command))))
    assert name_and_version(derived(TASK._replace(tags=tags))) == STATED


def test_ansible_states_both() -> None:
    """The module writes its task name into the tag `Name`, over any other value (its source, `present`)."""
    (task,) = yaml.safe_load(blocks("yaml")[0])
    module: dict[str, Any] = task["amazon.aws.ec2_import_image"]
    configured, _ = blocks("json")
    key = module["disk_containers"][0]["user_bucket"]["s3_key"]
    tags = module["tags"] | {"Name": module["task_name"]}
    import_task = TASK._replace(disks=(Disk(bucket="my-bucket", key=key),), tags=tags)
    assert name_and_version(derived(import_task, configured=configured)) == STATED
    # Without the configuration, each release would have a name of its own.
    assert name_and_version(derived(import_task)) == ("web-server-1-4-2", "1.4.2")


def test_packer_states_both() -> None:
    """The key that Packer's template makes has the name and a day."""
    (block,) = blocks("hcl")
    (template,) = re.findall(r's3_key_name += "(.+)"', block)
    # Packer formats the time of the build after Go's example, the 2nd of January 2006.
    key = re.sub(r'\{\{isotime \\"20060102\\"\}\}', "20261105", template)
    import_task = TASK._replace(disks=(Disk(bucket="my-bucket", key=key),))
    assert name_and_version(derived(import_task)) == ("web-server", "2026.11.05")


def test_the_payload_states_both() -> None:
    """The payload is accepted and overrides what is derived."""
    _, payload = blocks("json")
    manual = events.parse(json.loads(payload))
    assert isinstance(manual, ManualImport)
    assert name_and_version(derived(TASK, manual.overrides)) == STATED
