"""Which module imports what."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "lambda" / "vm_image_import"
LAYERS = [
    {"handler"},
    {"imports.ami_event", "imports.image_event", "imports.manual", "imports.sweep"},
    {"imports.register"},
    {"imports.existing"},
    {"imports.results"},
    {"imports.candidate"},
    {"imports.readiness", "imports.reports", "imports.retention", "imports.steps", "imports.warnings"},
    {"imports.steps.run"},
    {"imports.steps.notify", "imports.steps.parameter", "imports.steps.tag"},
    {"imports.steps.follow"},
    {"imports.steps.step"},
    {"report.notifications"},
    {"invocation"},
    {"builds", "records.version_claims"},
    {"records.store"},
    {"aws.ec2", "aws.image_builder", "aws.sns", "aws.ssm"},
    {"aws.session", "records.registration", "report.log"},
    {"deadline", "events", "report.answers"},
    {"derive"},
    {"derive.disks", "derive.formats", "derive.tags"},
    {"derive.filenames"},
    {"derive.names", "derive.versions", "derive.words"},
    {"domain.ami_warnings", "domain.outcomes", "domain.retention", "settings"},
    {"domain.models"},
    {"domain.arns", "domain.errors", "domain.remedies", "domain.text"},
    {"", "aws", "domain", "imports", "records", "report"},
]
"""From top to bottom: a module imports modules of lower layers only."""
IMPURE = {"boto3", "botocore", "aws_lambda_powertools", "os", "sys", "subprocess", "socket", "random", "time"}
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix("."): path
    for path in PACKAGE.rglob("*.py")
}
"""By the name of the module in the package."""


def imports(path: Path) -> set[str]:
    """Return the full names that a module imports at run time, at any place in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types_only = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and node not in types_only:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node not in types_only:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules(path: Path) -> set[str]:
    """Return the modules of this package that a module imports."""
    found = set()
    for name in imports(path):
        head, _, tail = name.partition(".")
        if head == "vm_image_import":
            found.add(tail if tail in FILES else tail.rpartition(".")[0])
    return found


def libraries(path: Path) -> set[str]:
    """Return the top-level names that a module imports."""
    return {name.partition(".")[0] for name in imports(path)}


def test_every_module_has_a_layer() -> None:
    """Each module is in one layer."""
    assert sorted(name for layer in LAYERS for name in layer) == sorted(FILES)


@pytest.mark.parametrize("module", sorted(FILES))
def test_a_module_imports_lower_layers_only(module: str) -> None:
    """No module imports a module of its own or of a higher layer."""
    (place,) = (number for number, layer in enumerate(LAYERS) if module in layer)
    assert modules(FILES[module]) <= set().union(*LAYERS[place + 1 :])


def test_the_derivation_is_pure() -> None:
    """The derivation, and every module that it imports, is independent of AWS, the environment and the clock."""
    waiting, seen = [name for name in FILES if name.startswith("derive")], set()
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            assert not libraries(FILES[module]) & IMPURE, module
            waiting += modules(FILES[module])
    assert "settings" in seen


@pytest.mark.parametrize(
    ("library", "users"),
    [
        ("boto3", set()),
        (
            "botocore",
            {"aws.ec2", "aws.image_builder", "aws.session", "aws.ssm", "records.store"},
        ),
        ("aws_lambda_powertools", {"events", "report.log"}),
        ("os", {"handler"}),
    ],
)
def test_a_library_is_used_where_it_belongs(library: str, users: set[str]) -> None:
    """Only the modules of AWS's services and of the table know botocore, and only two know Powertools."""
    assert {module for module, path in FILES.items() if library in libraries(path)} == users
