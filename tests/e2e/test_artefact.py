"""The bundled artefact by itself."""

import importlib.util
import json
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.interpreter import find_function_python
from local.bench.measure import run, zip_bytes
from local.bench.stub import AMI, OTHER_AMI, Stub
from local.bench.sweeps import sweeps
from local.bench.variants import Variant

HANDLER = "vm_image_import.handler.handler"


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


def test_no_bytecode_is_stale_or_for_nothing(artefact: Path, python: str) -> None:
    """It is never compared with its source on Lambda, so it has to be right here; and none is without a source."""
    assert python
    for compiled in artefact.rglob("*.pyc"):
        source = compiled.parent.parent / f"{compiled.name.partition('.')[0]}.py"
        # PEP 552: the hash of the source that it was made from.
        assert compiled.read_bytes()[8:16] == importlib.util.source_hash(source.read_bytes()), compiled


def test_the_zip_is_small(artefact: Path) -> None:
    """5 MB is the goal; a dependency that comes back, or a model that is not pruned, is more than the room left."""
    assert zip_bytes(artefact) < 3_000_000


def test_the_start_imports_what_it_needs(artefact: Path, python: str) -> None:
    """Imports are most of a cold start. What only some runs use is not among them, nor what none uses."""
    program = f"""
import sys
sys.path.insert(0, {str(artefact)!r})
import vm_image_import.handler
print(*sys.modules)
"""
    environment = {"AWS_DEFAULT_REGION": "us-east-1", "POWERTOOLS_METRICS_NAMESPACE": "n"}
    command = [python, "-I", "-S", "-c", program]
    printed = subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout
    modules = set(printed.split())
    assert len(modules) <= 380
    assert not modules & {
        *("aws_xray_sdk", "boto3", "fastjsonschema", "html.parser", "importlib.metadata", "multiprocessing"),
        *("pydantic", "s3transfer"),
        *("aws_lambda_powertools.utilities.idempotency", "aws_lambda_powertools.utilities.validation"),
        "vm_image_import.idempotency.store",
    }


def test_a_sweep_costs_calls_by_the_page(artefact: Path, python: str) -> None:
    """Two pages of imports: what is new costs five calls each, what is to be followed four; the rest four a page."""
    counts = [(sweep.counts, sweep.calls) for sweep in sweeps(Variant("shipped", artefact, HANDLER), python, 101, 0)]
    assert counts == [
        ({"REGISTERED": 101}, 101 * 5 + 2 * 3),
        ({"IMAGE_AVAILABLE": 101}, 101 * 4 + 2 * 4),
        ({}, 2 * 4),
    ]


def test_calls_are_few(artefact: Path, python: str) -> None:
    """Every AMI in the account wakes the function: one that is no import costs one call, a registration six."""
    with Stub() as stub:
        thread = threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        shipped = Variant("shipped", artefact, HANDLER)
        other, registration = (run(shipped, stub, python, ami).calls for ami in (OTHER_AMI, AMI))
        stub.shutdown()
        thread.join()
    assert other == ("DescribeImages",)
    assert sorted(registration) == [
        *("DescribeImages", "DescribeImportImageTasks", "ImportVmImage", "Publish", "PutItem", "UpdateItem")
    ]


def test_the_artefact_is_pure_python(artefact: Path) -> None:
    """The artefact has no compiled library, so it runs on either architecture."""
    assert not [path for path in artefact.rglob("*") if path.suffix in {".so", ".pyd", ".dylib"}]
    assert len(list(artefact.rglob("*.py"))) > 100
