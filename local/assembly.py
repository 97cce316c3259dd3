"""What a cloud assembly of this app is made from."""

import hashlib
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
_FILES: Final = ("app.py", "cdk.json", "requirements.txt", "package-lock.json")
_FOLDERS: Final = ("infra", "lambda")


def digest(context: str) -> str:
    """Return a short hash of everything that the cloud assembly with this context is made from."""
    found = hashlib.sha256(f"{sys.version}{context}".encode())
    files = [path for folder in _FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    for path in sorted([*(ROOT / name for name in _FILES), *files]):
        if path.suffix != ".pyc":
            found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]
