"""The demo, by its command line and with a function that is broken."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from local import demo
from local.aws.local_aws import LocalAws
from tests.conftest import ROOT
from tests.e2e.conftest import LOCKS

pytestmark = pytest.mark.acceptance

COMMAND = [sys.executable, "-m", "local", "demo"]
ROW = re.compile(r"^\S+ +(?P<name>[\w-]+)/[\d.]+/1 ", re.MULTILINE)
REGISTERED = [vm for vm in demo.VMS if vm.image]


def variables(tmp_path: Path) -> dict[str, str]:
    """Return an environment with a proxy that cannot be reached, another account, and no home."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "none"),
        "AWS_PROFILE": "production",
        "AWS_REGION": "eu-west-1",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "NO_COLOR": "1",
        "COLUMNS": "80",
    }


def test_it_succeeds_in_any_environment(tmp_path: Path) -> None:
    """Two demos at once succeed in a pipe, without colours and a home: images, notifications, then what is proved."""
    both = [
        subprocess.Popen(COMMAND, cwd=ROOT, env=variables(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    for each in both:
        output = each.communicate(timeout=300)[0].decode()
        assert each.returncode == 0, output
        assert "\x1b" not in output
        assert "Traceback" not in output
        table, _, notifications = output.partition("7 notifications")
        assert [row["name"] for row in ROW.finditer(table)] == [str(vm.image).partition("/")[0] for vm in REGISTERED]
        subjects = re.findall(r"^Subject: (.+?):", notifications, re.MULTILINE)
        assert sorted(subjects) == ["Image available", "Import failed"]
        assert output.endswith(f"\n{demo.PROVED}\n")


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_it_in_one_line(tmp_path: Path) -> None:
    """Ctrl-C ends the demo with one line and exit status 1."""
    with subprocess.Popen(
        COMMAND, cwd=ROOT, env=variables(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout
        assert running.stdout.readline()
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors.strip().splitlines()) == (1, ["Interrupted. Nothing is left."])


def test_the_error_of_a_function_that_cannot_start_comes_first(assembly: Path, tmp_path: Path) -> None:
    """Where the function cannot start, the demo shows its own words, once and before anything else, and has failed."""
    broken = Path(shutil.copytree(assembly, tmp_path / "broken", ignore=LOCKS))
    path = broken / "VmImageImport.template.json"
    template = json.loads(path.read_text(encoding="utf-8"))
    (function,) = (each for each in template["Resources"].values() if each["Type"] == "AWS::Lambda::Function")
    function["Properties"]["Handler"] = "vm_image_import.nothing.handler"
    path.write_text(json.dumps(template), encoding="utf-8")
    output = io.StringIO()
    with LocalAws() as aws:
        aws.deploy(broken, "VmImageImport")
        problems = demo.run(aws, Console(file=output, width=80))
    assert len(problems) == 1
    assert "vm_image_import.nothing" in problems[0]
    assert "Runtime.ImportModuleError" in output.getvalue()
    assert demo.VMS[0].keys[0] not in output.getvalue()
