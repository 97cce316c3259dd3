"""What `make local` prints."""

import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from rich.console import Console

from local.aws.functions import Invocation
from local.aws.lambda_runtime import Result
from local.aws.local_aws import LocalAws, PublishedMessage
from local.live import Printer, shell_exports
from tests.unit.fakes import TASK_ID

FAILED = {"outcome": "IMPORT_FAILED", "importTaskId": TASK_ID, "reason": "ClientError: Unsupported kernel"}


def run(answer: dict[str, Any], *, error: bool = False) -> Invocation:
    """Return a run of the function with this answer."""
    return Invocation("function", b"{}", Result("", json.dumps(answer).encode(), error, ""), 1, traced=False)


def printed(*answers: dict[str, Any], published: tuple[PublishedMessage, ...] = (), error: bool = False) -> str:
    """Return what is printed on a terminal of 60 columns after runs with these answers."""
    output = io.StringIO()
    runs = [run(answer, error=error) for answer in answers]
    Printer(Console(file=output, width=60)).print_changes({}, runs, published)
    return output.getvalue()


def sweep(*results: dict[str, Any], problems: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the answer of a sweep."""
    return {"outcome": "SWEPT", "counts": {}, "results": [*results], "problems": [*problems]}


def test_what_a_sweep_repeats_is_counted() -> None:
    """A result or problem of sweeps, and an error, is printed the first time, and counted at the tenth."""
    failed = f"function  IMPORT_FAILED  {TASK_ID}  ClientError: Unsupported kernel\n"
    assert printed(*[sweep(FAILED)] * 9) == failed
    assert printed(*[sweep(FAILED)] * 12) == failed + failed.replace("\n", "  (for the 10th time)\n")
    assert printed(*[sweep(problems=("import-ami-1: denied",))] * 3) == "function  import-ami-1: denied\n"
    error = {"errorType": "PermanentError", "errorMessage": "denied"}
    assert printed(error, error, error=True) == "function  PermanentError  denied\n"


def test_the_answer_to_a_user_is_printed_each_time() -> None:
    """The outcome of each manual invocation and each event is printed, also that of an import that is excluded."""
    ignored = {"outcome": "IGNORED", "importTaskId": TASK_ID, "reason": "onlyTasksTagged excludes the import task."}
    line = f"function  IGNORED  {TASK_ID}  onlyTasksTagged excludes the import task.\n"
    assert printed(ignored, ignored) == line * 2


def test_a_dry_run_has_name_and_version() -> None:
    """What would be registered is printed with its name and its version."""
    request = {"name": "web-server", "semanticVersion": "1.4.2"}
    found = printed(sweep({"outcome": "DRY_RUN", "importTaskId": TASK_ID, "request": request, "reason": "Observed."}))
    assert found == f"function  DRY_RUN  {TASK_ID}  web-server/1.4.2  Observed.\n"


def test_a_notification_is_printed_with_its_text() -> None:
    """A notification is printed with its subject and the text of its e-mail, without a break inside a word or URL."""
    url = f"https://docs.aws.amazon.com/{'x' * 60}"
    text = f"Image failed.\nA sentence that is longer than the terminal on which it is printed.\nSee {url}"
    message = PublishedMessage("Image failed: web/1.0.0/1", {"email": text}, {"outcome": "IMAGE_FAILED"})
    lines = printed(published=(message,)).splitlines()
    assert lines[0] == "notification  Image failed: web/1.0.0/1"
    assert " ".join(" ".join(lines[1:]).split()) == " ".join(text.split())
    assert f"  {url}" in lines


def test_what_is_pasted_silences_the_cdk(empty_aws: LocalAws, tmp_path: Path) -> None:
    """The pasted lines are valid in a shell, and silence the warning of the CDK command line about Node."""
    lines = "\n".join(shell_exports(empty_aws, tmp_path))
    variable = "AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"
    done = subprocess.run(
        ["/bin/sh", "-euc", f"{lines}\nenv"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{variable}=true" in done.stdout.splitlines()
