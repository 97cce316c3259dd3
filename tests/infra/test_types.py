"""Which modules of the CDK mypy reads."""

import ast
import tomllib
from collections.abc import Iterator

import pytest
from aws_cdk import Stack
from aws_cdk import aws_sns as sns

from tests.conftest import ROOT

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["overrides"]
OURS = [ROOT / "app.py", *(path for folder in ("infra", "local", "tests") for path in (ROOT / folder).rglob("*.py"))]


def imported() -> Iterator[str]:
    """Yield the modules of the CDK that our code imports, at any place in a file."""
    for path in OURS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module == "aws_cdk":
                names = ["aws_cdk", *(f"aws_cdk.{alias.name}" for alias in node.names if alias.name.islower())]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            else:
                names = []
            yield from (name for name in names if name.partition(".")[0] == "aws_cdk")


def test_mypy_reads_every_module_in_use() -> None:
    """Mypy reads the modules of the CDK that our code imports, and no others: one that it skips has no types."""
    (read,) = (each["module"] for each in SETTINGS if each["follow_imports"] == "normal")
    assert {name for name in read if not name.endswith(".*")} == {*imported()}


def test_a_wrong_argument_is_found() -> None:
    """An argument of a wrong type is an error of the CDK, and of mypy, which refuses a comment that ignores nothing."""
    with pytest.raises(RuntimeError, match="masterKey"):
        sns.Topic(Stack(), "Topic", master_key="alias/aws/sns")  # type: ignore[arg-type]
