"""The name of an image."""

import re
import unicodedata
from typing import Final

_MIN_LENGTH: Final = 3
_MAX_LENGTH: Final = 128
"""An image's own name pattern, narrower than what `ImportVmImage` accepts (API reference of Image Builder)."""

_NOT_DECOMPOSED: Final = str.maketrans(
    dict(zip("øØđĐðÐłŁħĦ\u0131ŋ", "oOdDdDlLhHin", strict=True))
    | {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "þ": "th", "Þ": "TH"}
)
"""Letters of names in Latin script that Unicode does not take apart into a plain letter and an accent."""


def normalise(text: str) -> str | None:
    """Return `text` as an image name of 3 to 128 characters, or None where it leaves less."""
    name = sanitize(text)
    return name if len(name) >= _MIN_LENGTH else None


def sanitize(text: str) -> str:
    """Return at most 128 characters of `[-_A-Za-z0-9 ]`, perhaps none; folding them again changes nothing.

    Letters lose their accents, other characters become `-`, and no separator is left at either end.
    """
    decomposed = unicodedata.normalize("NFKD", text)
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    name = re.sub(r"-{2,}", "-", re.sub(r"[^-_A-Za-z0-9 ]", "-", plain.translate(_NOT_DECOMPOSED)))
    return name.strip("-_ ")[:_MAX_LENGTH].rstrip("-_ ")


def arn_name(name: str) -> str:
    """Return a name as the image's ARN has it: names that differ in case, spaces or underscores only are one.

    Image Builder converts it to lower case, with hyphens for spaces and underscores (API reference, `Filter`).
    """
    return re.sub(r"[ _]", "-", name.lower())
