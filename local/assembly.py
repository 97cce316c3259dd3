"""The cloud assembly of this app, for the demo and the tests."""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from infra.configuration import CONTEXT_KEY, Configuration

ROOT: Final = Path(__file__).resolve().parent.parent
_FILES: Final = ("app.py", "cdk.json", "requirements.txt")
_FOLDERS: Final = ("infra", "lambda")


def synthesize(configuration: Mapping[str, Any], announce: Callable[[], None] = lambda: None) -> Path:
    """Return the cloud assembly with a configuration. It is made once for all that it is made from.

    The app runs as the CDK command line runs it, but without npm's packages. `announce` is called before it runs.
    Raises subprocess.CalledProcessError where the app fails; it has printed why.
    """
    # Every key as the command line states it: the settings in this checkout are for deployments.
    context = json.dumps({**Configuration().as_context(), **configuration})
    kept = ROOT / ".build" / f"assembly-{_digest(context)}"
    kept.parent.mkdir(exist_ok=True)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            announce()
            with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
                _run_app(Path(folder, "cdk.out"), context).rename(kept)
    return kept


def _run_app(assembly: Path, context: str) -> Path:
    variables = {
        "CDK_OUTDIR": str(assembly),
        "CDK_CONTEXT_JSON": json.dumps({CONTEXT_KEY: context}),
        # The CDK's own check of a template takes 7 s. `make acceptance` runs it.
        "CDK_VALIDATION": "false",
    }
    subprocess.run([sys.executable, "app.py"], cwd=ROOT, env=os.environ | variables, check=True, start_new_session=True)
    return assembly


def _digest(context: str) -> str:
    """Return a short hash of everything that the cloud assembly with this context is made from."""
    found = hashlib.sha256(f"{sys.version}{context}".encode())
    files = [path for folder in _FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    for path in sorted([*(ROOT / name for name in _FILES), *files]):
        if path.suffix != ".pyc":
            found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]
