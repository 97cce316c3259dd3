"""Finds a Python interpreter: the function only uses bytecode of its own version.

Run as a program, on any Python 3.11 or newer and with nothing installed, it prints the interpreter for the tools: one
of the function's version where there is one, else the one that runs the program. With a version as argument, for
example 3.11, it prints an interpreter of that version, or nothing.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

FUNCTION_PYTHON: Final = (3, 13)
"""The Python of the function's runtime, as in `sys.version_info[:2]`."""


def find_function_python() -> str | None:
    """Return the path of a working interpreter of the function's version, or None where there is none."""
    return find_python(FUNCTION_PYTHON)


def find_python(version: tuple[int, ...]) -> str | None:
    """Return the path of a working interpreter of a version (major, minor), or None where there is none."""
    return next((path for path in _candidates(".".join(map(str, version))) if _version_of(path) == version), None)


def _candidates(version: str) -> Iterator[str]:
    yield sys.executable
    if on_path := shutil.which(f"python{version}"):
        yield on_path
    # pyenv's shims are on the PATH but answer only for the versions that are enabled.
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    # On Python 3.11, a folder that only another user can read is an error.
    with suppress(PermissionError):
        yield from sorted(map(str, pyenv.glob(f"versions/{version}.*/bin/python")), reverse=True)
    if uv := shutil.which("uv"):
        found = subprocess.run(
            [uv, "python", "find", "--no-python-downloads", version],
            capture_output=True,
            text=True,
            check=False,
        )
        yield found.stdout.strip()


def _version_of(path: str) -> tuple[int, ...] | None:
    """Return (major, minor) as the interpreter itself answers, or None where it does not answer."""
    try:
        answer = subprocess.run(
            [path, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return tuple(map(int, answer.stdout.split()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.stdout.write(find_python(tuple(map(int, sys.argv[1].split(".")))) or "")
    else:
        sys.stdout.write(find_function_python() or sys.executable)
