"""What `make setup` needs, and what it says where that is missing."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from infra import interpreter, prerequisites
from tests.conftest import ROOT

PROGRAM = ROOT / "infra/prerequisites.py"


BOTH = (".venv", "node_modules")


def run(path: Path, *parts: str) -> subprocess.CompletedProcess[str]:
    """Run the program for these parts with this folder as the PATH."""
    return subprocess.run(
        [sys.executable, str(PROGRAM), *parts], env={"PATH": str(path)}, capture_output=True, text=True, check=False
    )


def add(folder: Path, name: str, answer: str) -> None:
    """Add a program that prints an answer."""
    (folder / name).write_text(f"#!/bin/sh\necho {answer}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("version", ["v20.20.2", "v22.0.0", "v24.11.1"])
def test_nothing_is_said_where_nothing_is_missing(version: str, tmp_path: Path) -> None:
    """With Node 20 or newer and npm, the check passes and prints nothing."""
    add(tmp_path, "node", version)
    add(tmp_path, "npm", "10.8.2")
    done = run(tmp_path, *BOTH)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_everything_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    """Without Node and npm, each is one line without a traceback, and the exit status is 1."""
    done = run(tmp_path, *BOTH)
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["node", "npm"]


def test_python_s_part_needs_no_npm(tmp_path: Path) -> None:
    """Without npm, the check of Python's part passes: the demo, the tests and `make derive` do without it."""
    add(tmp_path, "node", "v24.11.1")
    assert run(tmp_path, ".venv").stderr == ""
    assert run(tmp_path, *BOTH).stderr.startswith("npm is missing")


def test_a_folder_that_cannot_be_written_to_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that cannot be written to, the first line names it."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.chdir(ROOT)
    assert prerequisites.problems({*BOTH})[0].startswith(f"The folder {ROOT} cannot be written to")


def test_an_old_node_is_said(tmp_path: Path) -> None:
    """A Node before 20, or one that does not answer, is one line."""
    add(tmp_path, "node", "v18.19.0")
    add(tmp_path, "npm", "9.2.0")
    assert "node is 18.19.0" in run(tmp_path, *BOTH).stderr
    add(tmp_path, "node", "")
    assert len(run(tmp_path, *BOTH).stderr.splitlines()) == 1


def test_an_old_python_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python before 3.11, and one without venv, is one line each with what to do."""
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else name)
    found = prerequisites.problems({*BOTH})
    assert "is 3.9" in found[0]
    assert "ensurepip" in found[1]


def test_an_installation_that_cannot_run_is_checked_again(tmp_path: Path) -> None:
    """Where the Python of the tools is gone or another user's, make checks what it needs, and says what is missing."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").touch()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/ready").touch()
    (tmp_path / ".venv/bin/python").symlink_to(tmp_path / "gone")
    (tmp_path / "python").write_text('#!/bin/sh\necho "$*" >&2\nexit 1\n', encoding="utf-8")
    (tmp_path / "python").chmod(0o755)
    make = shutil.which("make")
    assert make
    # The make that runs the tests has jobs to share, and warns of what does not share them.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = [make, "tools", f"PYTHON={tmp_path}/python"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[0] == "infra/prerequisites.py .venv"


def test_a_pyenv_of_another_user_has_no_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of pyenv that cannot be read has no interpreters, and the others are found."""

    def refuse(*_: object) -> NoReturn:
        raise PermissionError

    monkeypatch.setattr(Path, "glob", refuse)
    assert interpreter.find_python(sys.version_info[:2]) == sys.executable
    assert interpreter.find_python((2, 0)) is None


def test_old_pythons_can_read_it() -> None:
    """The program has no syntax that the oldest Python 3 in use does not have."""
    compile_for_36 = f"import ast; ast.parse(open({str(PROGRAM)!r}).read(), feature_version=(3, 6))"
    subprocess.run([sys.executable, "-c", compile_for_36], check=True)


def test_the_cdk_gets_a_home_that_it_can_write_to(tmp_path: Path) -> None:
    """Without a home folder that can be written to, the app takes the build folder; else it leaves the home folder."""
    program = "import os, infra.jsii; print(os.environ['HOME'])"
    homes = [
        subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env={"HOME": home}, capture_output=True, text=True, check=True
        ).stdout.strip()
        for home in ("/proc/none", str(tmp_path))
    ]
    assert homes == [str(ROOT / ".build"), str(tmp_path)]
