"""Builds the function's bundle: its dependencies from the lock, its source, and bytecode. No Docker."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from .interpreter import FUNCTION_PYTHON, find_function_python
from .operations import OPERATIONS
from .prune import prune

_HERE: Final = Path(__file__).resolve().parent
_INSTALLED: Final = (_HERE / "lambda").exists()
"""Whether this is an installed package, which has the function's source in itself, and no checkout."""
_LAMBDA: Final = (_HERE if _INSTALLED else _HERE.parent) / "lambda"
_LOCK: Final = _LAMBDA / "requirements.txt"
_PACKAGE: Final = "vm_image_import"
_BUILD: Final = Path.home() / ".cache/vm-image-import" if _INSTALLED else _HERE.parent / ".build"
_CACHE_INPUTS: Final = (
    _LOCK,
    *(Path(__file__).with_name(f"{module}.py") for module in ("bundle", "interpreter", "operations", "prune")),
)
"""What the dependencies are made from, and by which code."""

_EXCLUDED: Final = (
    # Command lines, types, and pip's metadata: no package here reads its own.
    *("bin", "*.dist-info", "**/*.pyi", "**/py.typed"),
    *("aws_lambda_powertools/event_handler", "aws_lambda_powertools/metrics/provider/datadog"),
    *(
        f"aws_lambda_powertools/utilities/{part}"
        for part in (
            *("auth_alpha", "batch", "circuit_breaker", "data_classes", "data_masking", "feature_flags"),
            *("idempotency", "kafka", "metadata", "parameters", "parser", "streaming"),
        )
    ),
    *("dateutil/zoneinfo", "urllib3/contrib/emscripten"),
    # HTTP/2 is off. Its __init__ looks up the version of a package at every start; the modules beside it are used.
    "urllib3/http2/__init__.py",
)
_STUBBED: Final[Mapping[str, Mapping[str, str | None]]] = {
    # It writes the documentation of every method, for `help(client)`.
    "botocore/docs": {
        "__init__.py": "",
        "docstring.py": (
            "class ClientMethodDocstring(str):\n"
            "    def __new__(cls, **of_method):\n"
            "        return super().__new__(cls)\n\n\n"
            "PaginatorDocstring = WaiterDocstring = ClientMethodDocstring\n"
        ),
        "utils.py": None,
    },
    # What Powertools uses of it is part of the function's Python. The demo and the tests run the bundle on older ones.
    "typing_extensions.py": {
        "": (
            "from typing import NotRequired\n\n"
            "try:\n"
            "    from warnings import deprecated\n"
            "except ImportError:\n\n"
            "    def deprecated(message, **options):\n"
            "        return lambda decorated: decorated\n"
        )
    },
}
"""The files that replace a package of which little is used: unchanged (None), or with this content.

A package of one file has one entry with an empty name. A cold start imports 17 modules less.
"""


class InstallationError(Exception):
    """The function's dependencies could not be installed; the message says in one line where they come from."""


def build() -> tuple[Path, bool]:
    """Return the folder of the bundle, and whether it has bytecode.

    Without a Python of the function's version there is no bytecode, since the function ignores any other. The name of
    the folder is a hash of what it is made of, so that nothing is built twice.

    Raises InstallationError where pip cannot install what the lock names, and UnknownOperationError where botocore does
    not know an operation that the function uses.
    """
    python = find_function_python()
    source = sorted(path for path in (_LAMBDA / _PACKAGE).rglob("*") if path.suffix in {".py", ".json"})

    def make_dependencies(folder: Path) -> None:
        install(folder)
        _reduce(folder)
        if python:
            compile_all(folder, folder, python)

    dependencies = _cached("dependencies", [path.read_bytes() for path in _CACHE_INPUTS], python, make_dependencies)

    def assemble(folder: Path) -> None:
        # Hard links: none of these files is ever changed.
        shutil.copytree(dependencies, folder, copy_function=os.link, dirs_exist_ok=True)
        for path in source:
            target = folder / path.relative_to(_LAMBDA)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        if python:
            compile_all(folder / _PACKAGE, folder, python)

    content = [part for path in source for part in (path.relative_to(_LAMBDA).as_posix().encode(), path.read_bytes())]
    return _cached("bundle", [dependencies.name.encode(), *content], python, assemble), python is not None


def _cached(kind: str, content: Iterable[bytes], python: str | None, fill: Callable[[Path], None]) -> Path:
    """Return the cached folder of this content; make it first where it is missing or was changed."""
    digest = hashlib.sha256(b"bytecode" if python else b"source")
    for part in content:
        digest.update(len(part).to_bytes(8) + part)
    folder = _BUILD / f"{kind}-{digest.hexdigest()[:16]}"
    # Whoever edits a file of it, or of another folder with a hard link to it, must not deploy that.
    expected = folder.with_suffix(".sha256")
    if folder.exists():
        if expected.exists() and expected.read_text("ascii") == _digest(folder):
            return folder
        shutil.rmtree(folder)
    _BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_BUILD) as temporary:
        new = Path(temporary, kind)
        new.mkdir()
        fill(new)
        # The CDK's hash of an asset ignores modes: what was built under another umask would stay unreadable on Lambda.
        for path in (new, *new.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        expected.write_text(_digest(new), "ascii")
        try:
            new.rename(folder)
        except OSError:
            # Another process has made the same folder meanwhile.
            if not folder.exists():
                raise
    return folder


def _digest(folder: Path) -> str:
    """Return the hash of the names and the content of all files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        for part in (path.relative_to(folder).as_posix().encode(), path.read_bytes()):
            digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()


def install(folder: Path) -> None:
    """Install into `folder` what the lock names, without bytecode. Raises InstallationError."""
    platforms = [f"--platform={platform}_aarch64" for platform in ("manylinux2014", "manylinux_2_28")]
    installed = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--target", str(folder), "--requirement", str(_LOCK), "--require-hashes"),
            # Wheels for the function's platform.
            *("--only-binary=:all:", "--implementation=cp", "--python-version={}.{}".format(*FUNCTION_PYTHON)),
            *platforms,
            "--no-compile",
        ],
        check=False,
    )
    if installed.returncode:
        message = (
            "pip cannot install the function's dependencies; its own message is above. It installs from PyPI, or from"
            " the mirror that `pip config set global.index-url URL` names."
        )
        raise InstallationError(message)


def _reduce(folder: Path) -> None:
    """Remove what the function never runs from its dependencies. Raises UnknownOperationError."""
    for path in [path for pattern in _EXCLUDED for path in folder.glob(pattern)]:
        _remove(path)
    for package, kept in _STUBBED.items():
        whole = (folder / package).rename(folder / "whole")
        for name, content in kept.items():
            target = folder / package / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text((whole / name).read_text("utf-8") if content is None else content, encoding="utf-8")
        _remove(whole)
    prune(folder / "botocore/data", OPERATIONS)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def compile_all(folder: Path, root: Path, python: str, checked: str = "unchecked-hash") -> None:
    """Write the bytecode that `python` takes for the files in `folder`, which is part of the bundle at `root`.

    `checked` is how it is checked against its source, as compileall names it.
    """
    subprocess.run(
        [
            *(python, "-m", "compileall", "-q"),
            # The CDK dates every file 1980, so bytecode that is checked by date is stale, and Lambda's code folder is
            # read-only: every cold start would compile all files.
            *("--invalidation-mode", checked),
            # Tracebacks name the path on Lambda, and the content is the same wherever it is built.
            *("-s", str(root), "-p", "/var/task", str(folder)),
        ],
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "0"},
    )
