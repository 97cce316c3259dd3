"""The bundled artefact, without a deployment."""

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.interpreter import find_function_python
from local.bench.costs import SCENARIOS, measure, quantities
from local.bench.measure import instructions, run, zip_bytes
from local.bench.stub import AMI, OTHER_AMI, Stub, tls_stub
from local.bench.sweeps import sweeps
from local.bench.variants import Variant, build
from tests.conftest import ROOT

HANDLER = "vm_image_import.handler.handler"


@pytest.fixture
def artefact(assembly: Path, template: Mapping[str, Any]) -> Path:
    """Give the folder of the function's code in the cloud assembly."""
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
        pytest.skip("This test needs Python 3.13, the function's version.")
    return found


def test_the_handler_needs_nothing_but_the_artefact(artefact: Path, python: str) -> None:
    """The handler is imported with the artefact and the standard library only."""
    program = f"import sys; sys.path.insert(0, {str(artefact)!r}); from vm_image_import.handler import handler"
    subprocess.run([python, "-I", "-S", "-c", program], check=True, env={"AWS_DEFAULT_REGION": "us-east-1"})


def test_bytecode_is_not_checked_by_date(artefact: Path, python: str) -> None:
    """Every module has bytecode that is used whatever the date of its source."""
    assert python
    # All files on Lambda are dated 1980: bytecode that is checked by date is compiled at every start.
    for source in artefact.rglob("*.py"):
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        # PEP 552: bit 0 is set for bytecode checked by hash, bit 1 for one that is compared with the source.
        assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00", compiled


def test_contents(artefact: Path) -> None:
    """The artefact has the locked packages, the function and its schema, and no tests or tools."""
    assert (artefact / "vm_image_import" / "payload.schema.json").exists()
    assert {"botocore", "aws_lambda_powertools", "vm_image_import"} <= {path.name for path in artefact.iterdir()}
    assert not {"boto3", "moto", "pytest", "aws_cdk", "tests", "local", "infra", "bin"} & {
        path.name for path in artefact.iterdir()
    }


def test_bytecode_matches_its_source(artefact: Path, python: str) -> None:
    """Every bytecode file has the hash of the source beside it."""
    assert python
    for compiled in artefact.rglob("*.pyc"):
        source = compiled.parent.parent / f"{compiled.name.partition('.')[0]}.py"
        # PEP 552: the hash of the source that it was made from.
        assert compiled.read_bytes()[8:16] == importlib.util.source_hash(source.read_bytes()), compiled


def test_zip_size(artefact: Path) -> None:
    """The zip is smaller than 3 MB."""
    assert zip_bytes(artefact) < 3_000_000


def test_modules_of_a_cold_start(artefact: Path, python: str) -> None:
    """A cold start for the event of an AMI imports at most 392 modules, and none that only other runs need."""
    program = f"""
import sys
sys.path.insert(0, {str(artefact)!r})
import vm_image_import.handler, vm_image_import.imports.ami_event
print(*sys.modules)
"""
    environment = {"AWS_DEFAULT_REGION": "us-east-1", "POWERTOOLS_METRICS_NAMESPACE": "n"}
    command = [python, "-I", "-S", "-c", program]
    printed = subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout
    modules = set(printed.split())
    assert len(modules) <= 392
    assert not modules & {
        *("aws_xray_sdk", "boto3", "fastjsonschema", "html.parser", "importlib.metadata", "multiprocessing"),
        *("pydantic", "s3transfer"),
        *("aws_lambda_powertools.utilities.idempotency", "aws_lambda_powertools.utilities.validation"),
        *(f"vm_image_import.imports.{other}" for other in ("image_event", "manual", "sweep")),
        "vm_image_import.domain.remedies",
    }


@pytest.mark.acceptance
def test_calls_of_a_sweep(artefact: Path, python: str) -> None:
    """A sweep makes nine calls for an import that is available at once, two for each page, and four besides."""
    counts = [(sweep.counts, sweep.calls) for sweep in sweeps(Variant("shipped", artefact, HANDLER), python, 101, 0)]
    assert counts == [
        ({"REGISTERED": 101, "IMAGE_AVAILABLE": 101}, 101 * 9 + 2 * 2 + 3 + 1),
        ({}, 2 * 2 + 3),
    ]


@pytest.mark.acceptance
def test_excluded_tasks_cost_their_pages(artefact: Path, python: str) -> None:
    """A sweep over 5,000 excluded tasks makes two calls for each page and three besides, and logs its result."""
    variant = Variant("shipped", artefact, HANDLER)
    sweep = next(sweeps(variant, python, 5000, 0, ONLY_TASKS_TAGGED='{"Images": "yes"}'))
    # The result, and its metrics.
    assert (sweep.calls, sweep.log_lines) == (50 * 2 + 3, 2)


@pytest.mark.acceptance
def test_twenty_thousand_imports_fit_into_a_sweep(artefact: Path, python: str) -> None:
    """A sweep over 20,000 new imports registers some, needs less than 128 MB, and answers less than 6 MB."""
    variant = Variant("shipped", artefact, HANDLER)
    # It takes the time that it has, but for 99 seconds. On a busy machine the shortest is over before all are listed.
    swept = (next(sweeps(variant, python, 20_000, 0, timeout)) for timeout in (115, 150, 300))
    sweep = next(each for each in swept if "REGISTERED" in each.counts)
    assert sweep.peak_kilobytes < 128 * 1024
    assert sweep.answer_bytes < 6_000_000


@pytest.mark.parametrize("tls", [False, True], ids=["HTTP", "TLS"])
def test_calls_of_an_event(artefact: Path, python: str, tmp_path: Path, tls: bool) -> None:  # noqa: FBT001 - a case
    """The event of an AMI that is not an import costs one AWS call, a registration seven, over TLS as well.

    The steps cost five more where the image is available at once.
    """
    with tls_stub(tmp_path / "ca.pem") if tls else Stub() as stub:
        shipped = Variant("shipped", artefact, HANDLER)
        other, registration, again = (run(shipped, stub, python, ami).calls for ami in (OTHER_AMI, AMI, AMI))
    assert other == ("DescribeImages",)
    assert again == registration
    assert registration == (
        *("DescribeImages", "DescribeImportImageTasks", "BatchGetItem", "ListImageBuildVersions"),
        *("UpdateItem", "ImportVmImage", "UpdateItem"),
        *("GetImage", "DescribeImages", "UpdateItem", "Publish", "UpdateItem"),
    )


@pytest.mark.acceptance
def test_the_documented_costs_are_those_of_the_artefact(artefact: Path, python: str) -> None:
    """Each quantity of the cost table is within 20 % of what the artefact uses in the month that it is about."""
    operations = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    measured = measure(Variant("shipped", artefact, HANDLER), python)
    expected = [quantities(measured, scenario) for scenario in SCENARIOS]
    numbers = r"\| [\d.]+ \| (\d+) \| [\d.]+ \| (\d+) \| [\d.]+ \|"
    for name in expected[0]:
        (row,) = re.findall(rf"^\| {name}\b[^|]*{numbers}$", operations, re.MULTILINE)
        assert [*map(int, row)] == pytest.approx([month[name] for month in expected], rel=0.2), name


@pytest.mark.acceptance
def test_each_variant_of_the_benchmark_registers(python: str, tmp_path: Path) -> None:
    """Each variant that is measured registers the import in each of its cold starts."""
    with Stub() as stub:
        for variant in build(tmp_path, python):
            assert [run(variant, stub, python).calls.count("ImportVmImage") for _ in range(2)] == [1, 1]


@pytest.mark.acceptance
def test_the_bytecode_of_each_variant_of_the_benchmark(python: str, tmp_path: Path) -> None:
    """All bytecode of the variant stale is checked by date, and none of the others is."""
    # PEP 552: bit 0 is set for bytecode checked by hash.
    flags = {
        variant.name: {path.read_bytes()[4] & 1 for path in variant.folder.rglob("*.pyc")}
        for variant in build(tmp_path, python)
    }
    assert flags == {"shipped": {1}, "naive": {1}, "stale": {0}}


@pytest.mark.skipif(not shutil.which("valgrind"), reason="This test needs valgrind.")
@pytest.mark.acceptance
def test_instructions_are_counted(tmp_path: Path, python: str) -> None:
    """The instructions of a cold start are counted to its end, and a handler that does more has more of them."""
    counted = []
    for loops in (0, 1_000_000):
        work = f"for _ in range({loops}): pass\n    return {{'outcome': 'REGISTERED'}}"
        (tmp_path / "work.py").write_text(f"def handler(event, context):\n    {work}\n")
        with Stub() as stub:
            counted.append(instructions(Variant("work", tmp_path, "work.handler"), stub, python) or 0)
    assert counted[0] > 20_000_000
    assert counted[1] - counted[0] > 10_000_000


def test_the_artefact_is_pure_python(artefact: Path) -> None:
    """The artefact has no compiled library, so it runs on either architecture."""
    assert not [path for path in artefact.rglob("*") if path.suffix in {".so", ".pyd", ".dylib"}]
    assert len(list(artefact.rglob("*.py"))) > 100
