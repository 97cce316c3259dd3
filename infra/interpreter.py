"""Finds a Python of the function's own version: only its bytecode is of use to the function.

Run as a program, on any Python 3.11 or newer and with nothing installed, it prints the interpreter that the tools are
to run on: one of the function's version where there is one, else the one that runs it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FUNCTION_PYTHON: Final = (3, 13)
"""The Python of the function's runtime, as in `sys.version_info[:2]`."""


def find_function_python() -> str | None:
    """Return the path of a working interpreter of the function's version, or None where there is none."""
    return next((path for path in _candidates() if _version_of(path) == FUNCTION_PYTHON), None)


def _candidates() -> Iterator[str]:
    name = "python{}.{}".format(*FUNCTION_PYTHON)
    yield sys.executable
    if on_path := shutil.which(name):
        yield on_path
    # pyenv's shims are on the PATH but answer only for the versions that are switched on.
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(map(str, pyenv.glob("versions/{}.{}.*/bin/python".format(*FUNCTION_PYTHON))), reverse=True)
    if uv := shutil.which("uv"):
        found = subprocess.run(
            [uv, "python", "find", "--no-python-downloads", "{}.{}".format(*FUNCTION_PYTHON)],
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
    sys.stdout.write(find_function_python() or sys.executable)
