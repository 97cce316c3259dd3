"""The name of an image."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

MIN_LENGTH: Final = 3
_MAX_LENGTH: Final = 128
"""An image's own name pattern, narrower than what `ImportVmImage` accepts (API reference of Image Builder)."""


def normalise(text: str) -> str | None:
    """Return `text` as an image name of 3 to 128 characters, or None where it leaves less."""
    name = sanitize(text)
    return name if len(name) >= MIN_LENGTH else None


def sanitize(text: str) -> str:
    """Return at most 128 characters of `[-_A-Za-z0-9 ]`, perhaps none; sanitizing them again changes nothing.

    Other scripts are transliterated, other characters become `-`, and no separator is left at either end.
    """
    name = re.sub(r"-{2,}", "-", re.sub(r"[^-_A-Za-z0-9 ]", "-", transliterate(text)))
    return name.strip("-_ ")[:_MAX_LENGTH].rstrip("-_ ")


def transliterate(text: str) -> str:
    """Return `text` in ASCII: `Büro` as `Buro`, `Сервер` as `Server`."""
    if text.isascii():
        return text
    # Loaded for the few names that need it: it takes as long as the rest of the derivation.
    from anyascii import anyascii  # noqa: PLC0415 - as said above

    return anyascii(text)


def arn_name(name: str) -> str:
    """Return a name as the image's ARN has it: names that differ in case, spaces or underscores only are one.

    Image Builder converts it to lower case, with hyphens for spaces and underscores (API reference, `Filter`).
    """
    return re.sub(r"[ _]", "-", name.lower())


def is_allowed(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name as the ARN has it matches a pattern, where `*` stands for anything; without any, it does.

    IAM matches resources in the same way (user guide, "IAM JSON policy elements: Resource").
    """
    allowed = [*patterns]
    return not allowed or any(fnmatchcase(name, pattern) for pattern in allowed)
