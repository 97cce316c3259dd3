"""Which module knows what."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "lambda" / "vm_image_import"
IMPURE = {"boto3", "botocore", "aws_lambda_powertools", "os", "sys", "subprocess", "socket", "random", "time"}


def imported(path: Path) -> set[str]:
    """Return what a module imports when it is loaded or run; not what only a type checker sees."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checked_only = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    found = set()
    for node in ast.walk(tree):
        if node in checked_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def module(name: str) -> Path | None:
    """Return the file of a module of this package, of whatever is imported from it."""
    while name.startswith("vm_image_import"):
        path = ROOT / "lambda" / Path(*name.split("."))
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.exists():
                return candidate
        name = name.rpartition(".")[0]
    return None


def test_the_derivation_is_pure() -> None:
    """It and all that it imports know nothing of AWS, the environment or the clock."""
    waiting, seen = list((PACKAGE / "derive").glob("*.py")), set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        names = imported(path)
        assert not {name.split(".")[0] for name in names} & IMPURE, path
        waiting += [found for name in names if (found := module(name))]
    assert PACKAGE / "settings.py" in seen


@pytest.mark.parametrize(
    ("library", "modules"),
    [
        ("boto3", set()),
        ("botocore", {"aws"}),
        ("aws_lambda_powertools", {"ledger", "payload", "telemetry"}),
        ("os", {"handler"}),
    ],
)
def test_a_library_is_known_where_it_belongs(library: str, modules: set[str]) -> None:
    """Who changes how AWS is called, or how logs are written, has one file to change."""
    knowing = {
        path.stem for path in PACKAGE.rglob("*.py") if library in {name.split(".")[0] for name in imported(path)}
    }
    assert knowing == modules
