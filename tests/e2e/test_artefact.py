"""The bundled artefact by itself."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.interpreter import find_function_python

pytestmark = pytest.mark.xdist_group("assembly")


@pytest.fixture
def artefact(assembly: Path, template: Mapping[str, Any]) -> Path:
    """Give the folder that the template's function is made from."""
    (function,) = (each for each in template["Resources"].values() if each["Type"] == "AWS::Lambda::Function")
    key = function["Properties"]["Code"]["S3Key"]
    assets = json.loads((assembly / "VmImageImport.assets.json").read_text(encoding="utf-8"))["files"]
    folder: str = assets[key.removesuffix(".zip")]["source"]["path"]
    return assembly / folder


@pytest.fixture
def python() -> str:
    """Give a Python of the function's version."""
    found = find_function_python()
    if not found:
        pytest.skip("No Python 3.13 on this machine: what needs one cannot be tested.")
    return found


def test_the_handler_needs_nothing_but_the_artefact(artefact: Path, python: str) -> None:
    """It is imported under the function's Python with neither site-packages nor the source tree on the path."""
    program = f"import sys; sys.path.insert(0, {str(artefact)!r}); from vm_image_import.handler import handler"
    subprocess.run([python, "-I", "-S", "-c", program], check=True, env={"AWS_DEFAULT_REGION": "us-east-1"})


def test_bytecode_is_there_and_not_checked_by_date(artefact: Path, python: str) -> None:
    """Lambda's files are all dated 1980: bytecode that is checked by date would be compiled anew at every start."""
    assert python
    for source in artefact.rglob("*.py"):
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        # PEP 552: bit 0 is set for bytecode checked by hash, bit 1 for one that is compared with the source.
        assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00", compiled


def test_the_artefact_has_what_the_lock_names_and_the_source(artefact: Path) -> None:
    """The schema of the payload travels with the code; tests and tools do not."""
    assert (artefact / "vm_image_import" / "payload.schema.json").exists()
    assert {"boto3", "botocore", "aws_lambda_powertools", "vm_image_import"} <= {
        path.name for path in artefact.iterdir()
    }
    assert not {"moto", "pytest", "aws_cdk", "tests", "local", "infra", "bin"} & {
        path.name for path in artefact.iterdir()
    }
