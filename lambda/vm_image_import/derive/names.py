"""The name of an image."""

import re
import unicodedata
from typing import Final

_MIN_LENGTH: Final = 3
_MAX_LENGTH: Final = 128
"""An image's own name pattern, narrower than what `ImportVmImage` accepts (API reference of Image Builder)."""


def normalise(text: str) -> str | None:
    """Return `text` as an image name, or None where too little is left of it.

    Letters lose their accents, other characters become `-`. The result has 3 to 128 characters of `[-_A-Za-z0-9 ]`,
    and normalising it again changes nothing.
    """
    folded = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    name = re.sub(r"[^-_A-Za-z0-9 ]", "-", folded)
    name = re.sub(r"-{2,}", "-", name).strip("-_ ")[:_MAX_LENGTH].rstrip("-_ ")
    return name if len(name) >= _MIN_LENGTH else None
