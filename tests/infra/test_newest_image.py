"""The snippets of docs/newest-image.md."""

import re
import subprocess
from pathlib import Path

import pytest

from infra.configuration import Configuration
from tests.conftest import ROOT
from tests.infra.test_checks import CFN_LINT

DOCUMENT = (ROOT / "docs" / "newest-image.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """Return the first block in a language."""
    found: list[str] = re.findall(rf"```{language}\n(.+?)```", DOCUMENT, re.DOTALL)
    return found[0]


def test_the_configuration_is_accepted() -> None:
    """The configuration of the page can be deployed."""
    assert Configuration.from_context(block("json")).ami_tag_keys == ["Team"]


@pytest.mark.acceptance
def test_the_template_is_valid(tmp_path: Path) -> None:
    """cfn-lint has no finding in the template of the page."""
    template = tmp_path / "template.yaml"
    template.write_text(block("yaml"), encoding="utf-8")
    subprocess.run([CFN_LINT, "--", str(template)], check=True)
