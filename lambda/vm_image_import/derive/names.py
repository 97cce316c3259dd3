"""The name of an image."""

import re
import unicodedata
from typing import Final

_MIN_LENGTH: Final = 3
_MAX_LENGTH: Final = 128
"""An image's own name pattern, narrower than what `ImportVmImage` accepts (API reference of Image Builder)."""


def normalise(text: str) -> str | None:
    """Return `text` as an image name of 3 to 128 characters, or None where it leaves less."""
    name = fold(text)
    return name if len(name) >= _MIN_LENGTH else None


def fold(text: str) -> str:
    """Return at most 128 characters of `[-_A-Za-z0-9 ]`, perhaps none; folding them again changes nothing.

    Letters lose their accents, other characters become `-`, and no separator is left at either end.
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    name = re.sub(r"-{2,}", "-", re.sub(r"[^-_A-Za-z0-9 ]", "-", plain))
    return name.strip("-_ ")[:_MAX_LENGTH].rstrip("-_ ")
