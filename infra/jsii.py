"""Prepares the environment for jsii, with which the CDK runs. It is imported before the CDK."""

import os
from pathlib import Path
from typing import Final

_BUILD: Final = Path(__file__).resolve().parent.parent / ".build"

# jsii prints eleven lines at every start about a Node that it still runs on.
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "20")

# It waits for ever where it cannot write to the home folder.
if not os.access(Path.home(), os.W_OK):
    _BUILD.mkdir(exist_ok=True)
    os.environ["HOME"] = str(_BUILD)
