"""Gives the CDK a home folder that it can write to. It is imported before the CDK."""

import os
from pathlib import Path
from typing import Final

_BUILD: Final = Path(__file__).resolve().parent.parent / ".build"

# jsii, with which the CDK runs, waits for ever where it cannot write there.
if not os.access(Path.home(), os.W_OK):
    _BUILD.mkdir(exist_ok=True)
    os.environ["HOME"] = str(_BUILD)
