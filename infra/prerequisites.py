"""Checks what `make setup` needs, before anything is installed, and prints every problem; the exit status is then 1.

Run as a program, on the interpreter that the tools are to have, in the folder of the project, with what is to be
installed as arguments: `.venv`, `node_modules`. It starts on every Python 3, to say that it is too old.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST_PYTHON = (3, 11)
OLDEST_NODE = 20


def problems(parts: "set[str]") -> "list[str]":
    """Return what is missing or too old for these parts, with what to do: one line for each."""
    found = []
    if not os.access(os.curdir, os.W_OK):
        found.append(
            f"The folder {Path.cwd()} cannot be written to, and everything is installed into it:"
            " clone the project into a folder of yours."
        )
    version = ".".join(map(str, sys.version_info[:2]))
    if sys.version_info < OLDEST_PYTHON:
        found.append(
            f"Python 3.11 or newer is needed, and {sys.executable} is {version}:"
            " install it, or name it as in `make PYTHON=python3.13 setup`."
        )
    missing = [module for module in ("venv", "ensurepip") if importlib.util.find_spec(module) is None]
    if missing:
        found.append(
            f"Python's module {' and '.join(missing)} is missing: install the package python{version}-venv,"
            " or another Python."
        )
    # The CDK's library runs on Node. Its command line comes with npm.
    programs = {name: shutil.which(name) for name in ("node", *(["npm"] if "node_modules" in parts else []))}
    found += [f"{name} is missing: install Node 24, which brings npm." for name, path in programs.items() if not path]
    node = _version_of(programs["node"]) if programs["node"] else None
    if node and int(node.split(".")[0]) < OLDEST_NODE:
        found.append(f"Node 20 or newer is needed, and node is {node}: install Node 24.")
    return found


def _version_of(path: str) -> str:
    """Return the version that a program answers; 0 where it does not answer."""
    try:
        answer = subprocess.check_output([path, "--version"])
    except (OSError, subprocess.CalledProcessError):
        return "0"
    return answer.decode().strip().lstrip("v") or "0"


if __name__ == "__main__":
    lines = problems(set(sys.argv[1:]))
    sys.stderr.write("".join(line + "\n" for line in lines))
    sys.exit(1 if lines else 0)
