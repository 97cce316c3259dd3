"""Builds the function's bundle: its dependencies from the lock, its source, and bytecode. No Docker."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from infra.interpreter import FUNCTION_PYTHON, find_function_python

_ROOT: Final = Path(__file__).resolve().parent.parent
_LAMBDA: Final = _ROOT / "lambda"
_LOCK: Final = _LAMBDA / "requirements.txt"
_PACKAGE: Final = "vm_image_import"
_BUILD: Final = _ROOT / ".build"


def build() -> tuple[Path, bool]:
    """Return the folder of the bundle, and whether it has bytecode.

    Without a Python of the function's version there can be no bytecode that the function would use. The folder is
    named after what it is made of, so that nothing is built twice.

    Raises subprocess.CalledProcessError where pip cannot install what the lock names.
    """
    python = find_function_python()
    dependencies = _once("dependencies", [_LOCK.read_bytes()], python, _install)
    source = sorted(path for path in (_LAMBDA / _PACKAGE).rglob("*") if path.suffix in {".py", ".json"})
    content = [part for path in source for part in (path.relative_to(_LAMBDA).as_posix().encode(), path.read_bytes())]

    def assemble(folder: Path) -> None:
        # Links, not copies: of the thousands of files none is ever changed.
        shutil.copytree(dependencies, folder, copy_function=os.link, dirs_exist_ok=True)
        for path in source:
            target = folder / path.relative_to(_LAMBDA)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)

    return _once("bundle", [dependencies.name.encode(), *content], python, assemble), python is not None


def _once(kind: str, content: Iterable[bytes], python: str | None, fill: Callable[[Path], None]) -> Path:
    """Return the folder of that content; fill and compile it first where it is not there."""
    digest = hashlib.sha256(b"bytecode" if python else b"source")
    for part in content:
        digest.update(len(part).to_bytes(8) + part)
    folder = _BUILD / f"{kind}-{digest.hexdigest()[:16]}"
    if folder.exists():
        return folder
    _BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_BUILD) as temporary:
        new = Path(temporary, kind)
        new.mkdir()
        fill(new)
        if python:
            _compile(new, python)
        try:
            new.rename(folder)
        except OSError:
            # Another process was faster with the same content.
            if not folder.exists():
                raise
    return folder


def _install(folder: Path) -> None:
    platforms = [f"--platform={platform}_aarch64" for platform in ("manylinux2014", "manylinux_2_28")]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--target", str(folder), "--requirement", str(_LOCK), "--require-hashes"),
            # Wheels for the function's machine, not for this one.
            *("--only-binary=:all:", "--implementation=cp", "--python-version={}.{}".format(*FUNCTION_PYTHON)),
            *platforms,
            "--no-compile",
        ],
        check=True,
    )
    # Command lines that nothing in the function calls.
    shutil.rmtree(folder / "bin", ignore_errors=True)


def _compile(folder: Path, python: str) -> None:
    subprocess.run(
        [
            *(python, "-m", "compileall", "-q"),
            # The CDK dates every file 1980, so bytecode that is checked by date would be stale, and Lambda's code
            # folder is read-only: it would be compiled anew at every cold start.
            *("--invalidation-mode", "unchecked-hash"),
            # Tracebacks name the path on Lambda, and the content is the same wherever it is built.
            *("-s", str(folder), "-p", "/var/task", str(folder)),
        ],
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "0"},
    )
