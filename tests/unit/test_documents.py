"""What the documents claim."""

import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import awscli  # type: ignore[import-untyped] # it has no types
import jmespath  # type: ignore[import-untyped] # as above
import pytest
from awscli.clidriver import CLIOperationCaller, create_clidriver  # type: ignore[import-untyped] # as above
from botocore.utils import ArgumentGenerator
from botocore.validate import ParamValidator

from tests.conftest import ROOT
from tests.e2e import test_security
from vm_image_import import events
from vm_image_import.records.registration import MAX_REGISTRATIONS

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")])
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
# Made of several calls, and without a skeleton.
HIGH_LEVEL = {"s3"}


@cache
def models() -> Any:  # noqa: ANN401 - it has no types
    """Return the session that keeps the services' models."""
    return create_clidriver().session


def command_line() -> Any:  # noqa: ANN401 - it has no types
    """Return the AWS command line. Each one runs one command."""
    driver = create_clidriver()
    driver.session.register_component("data_loader", models().get_component("data_loader"))
    return driver


def aws_commands() -> Iterator[tuple[str, list[str], dict[str, list[str]]]]:
    """Yield each call of an AWS API that is for a real account, with the document's name. All others are run.

    The third part has the calls before it in its block that write a file, by the file's name.
    """
    for document in DOCUMENTS:
        for block in re.findall(r"```sh real-account\n(.+?)```", document.read_text(encoding="utf-8"), re.DOTALL):
            written: dict[str, list[str]] = {}
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("aws "):
                    _, *words = shlex.split(line, comments=True)
                    if words[0] not in HIGH_LEVEL:
                        *words, file = words if words[-2:-1] == [">"] else (*words, ">", "")
                        yield document.relative_to(ROOT).as_posix(), words[:-1], {**written}
                        written[file] = words[:-1]


def sample_output(service: str, command: str, *options: str) -> Any:  # noqa: ANN401 - it is JSON
    """Return what a command with `--query` prints, with every member that the service's model has."""
    operation = command.replace("-", " ").title().replace(" ", "")
    shape = models().get_service_model(service).operation_model(operation).output_shape
    # Where the model has a least number, it is 1.
    members = ArgumentGenerator(use_member_names=True).generate_skeleton(shape)
    text = json.dumps(members, default=str).replace(": 0", ": 1")
    return jmespath.search(options[options.index("--query") + 1], json.loads(text))


@pytest.mark.parametrize(("document", "command", "written"), list(aws_commands()))
def test_every_aws_command_is_valid(
    document: str,
    command: list[str],
    written: dict[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every command for a real account has a known operation, known options and all required parameters.

    A file that an earlier command writes has all that this command can print.
    """
    monkeypatch.chdir(tmp_path)
    # Importing it sets this, and every test begins without AWS's variables.
    monkeypatch.setenv("AWS_DATA_PATH", str(Path(awscli.__file__).parent / "data"))
    for file in re.findall(r"file://(\S+)", " ".join(command)):
        Path(file).parent.mkdir(exist_ok=True)
        Path(file).write_text("{}", encoding="utf-8")
        if file in written:
            Path(file).write_text(json.dumps(sample_output(*written[file])), encoding="utf-8")
    called: list[str] = []

    def call(_: object, service: str, operation: str, parameters: dict[str, object], __: object) -> int:
        model = models().get_service_model(service).operation_model(operation)
        # botocore adds client tokens that are missing.
        parameters = {**dict.fromkeys(model.idempotent_members, "token"), **parameters}
        called.append(ParamValidator().validate(parameters, model.input_shape).generate_report())
        return 0

    monkeypatch.setattr(CLIOperationCaller, "invoke", call)
    assert command_line().main(command) == 0, document
    assert called == [""]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_within_the_project_resolves(document: Path) -> None:
    """Every link to a file of the project resolves."""
    for target in re.findall(r"\]\((?!https?://)([^)#]*)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


def test_the_costs_are_calculated_correctly() -> None:
    """Each sum of the cost table is its quantity at its price, and the sums of both accounts are right."""
    numbers = r" \| ([\d.]+)" * 5
    rows = re.findall(rf"^\| [^|]+{numbers} \|$", OPERATIONS, re.MULTILINE)
    assert len(rows) == 10
    totals = [0.0, 0.0]
    for price, *months in rows:
        for account, (quantity, dollars) in enumerate((months[:2], months[2:])):
            assert f"{float(price) * int(quantity) / 1_000_000:.3f}" == dollars, (price, quantity)
            totals[account] += float(dollars)
    assert f"| sum | | | {totals[0]:.3f} | | {totals[1]:.3f} |" in OPERATIONS


def test_the_payloads_of_operations_are_accepted() -> None:
    """The function accepts every payload of docs/operations.md."""
    payloads = re.findall(r"^echo '(.+?)' > payload.json$", OPERATIONS, re.MULTILINE)
    assert payloads
    for payload in payloads:
        assert isinstance(events.parse(json.loads(payload)), events.ManualImport | events.Sweep)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_payloads_are_files_of_bytes(document: Path) -> None:
    """Every documented payload is read from a file as bytes. Version 2 of the command line reads text as base64."""
    lines = document.read_text(encoding="utf-8").splitlines()
    for before, command in pairwise(lines):
        if command.startswith("aws lambda invoke "):
            assert "--payload fileb://payload.json " in command
            assert before.endswith("' > payload.json"), command


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_synchronous_invocations_are_not_repeated(document: Path) -> None:
    """Every documented command that waits for the answer of a function waits for as long as it takes."""
    for command in re.findall(r"^aws lambda invoke .+", document.read_text(encoding="utf-8"), re.MULTILINE):
        assert ("--cli-read-timeout 0 " in command) is ("--invocation-type Event" not in command), command


def test_the_reference_says_how_often_an_import_is_registered() -> None:
    """The reference counts the registration that was not forced, too."""
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert f"as another build; an import is registered at most {MAX_REGISTRATIONS} times |" in reference


def test_actions_are_pinned_by_commit() -> None:
    """Every action of a workflow is pinned by its commit, and a workflow has no permissions by default."""
    for path in ROOT.glob(".github/workflows/*.yml"):
        workflow = path.read_text(encoding="utf-8")
        uses = re.findall(r"uses: (.+)", workflow)
        assert uses
        for action in uses:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
        assert "\npermissions: {}\n" in workflow


def test_every_row_of_the_security_table_is_a_test() -> None:
    """Each row of SECURITY.md's table names a test, and each test of tests/e2e/test_security.py has a row."""
    rows = re.findall(r"^\| .+ \| `(test_\w+)` \|$", (ROOT / "SECURITY.md").read_text(encoding="utf-8"), re.MULTILINE)
    tests = [name for name in vars(test_security) if name.startswith("test_")]
    assert sorted(rows) == sorted(tests)
