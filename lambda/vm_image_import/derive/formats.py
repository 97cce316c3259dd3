"""Key formats: what a deployment states about its keys, so that nothing is guessed."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from vm_image_import.derive import names, versions

_PLACEHOLDERS: Final = re.compile(r"(\{name\}|\{version\}|\*)")
_NAME: Final = "{name}"
_VERSION: Final = "{version}"
_ANYTHING: Final = "*"
_LONGEST_VERSION: Final = 33
"""Of three numbers of ten digits, with a `v`."""
_MAX_SEGMENT: Final = 1024
"""As long as an S3 key can be; of a longer part of a URL's path nothing matches."""


class Matched(NamedTuple):
    """What a key that has a format states; the version is None where the format has none."""

    format: str
    name: str
    version: str | None


def match(formats: Sequence[str], segments: Sequence[str]) -> Matched | None:
    """Return what the first format that matches the end of a path states, or None where none matches.

    A path matches where each part of the format matches a part of the path, the last one the last one; where the name
    can be one, and the version one that `versions.parse` accepts. Of several ways to match, the version is as long as
    possible, then the name.
    """
    for text in formats:
        parts = text.split("/")
        if len(parts) > len(segments):
            continue
        captured: dict[str, str] = {}
        for part, segment in zip(parts, segments[-len(parts) :], strict=True):
            found = _match_segment(_PLACEHOLDERS.split(part), segment)
            if found is None:
                break
            captured |= found
        else:
            if name := names.normalise(captured[_NAME]):
                return Matched(text, name, versions.parse(captured[_VERSION]) if _VERSION in captured else None)
    return None


def _match_segment(tokens: Sequence[str], segment: str) -> dict[str, str] | None:
    """Return what the placeholders of one part stand for, or None where the part does not match.

    From the last token to the first, find the places where the rest of the tokens matches the rest of the segment. This
    takes time in proportion to both, where a regular expression could take much more.
    """
    if len(segment) > _MAX_SEGMENT:
        return None
    matching = [{len(segment)}]
    for token in reversed(tokens):
        matching.append(_starts(token, segment, matching[-1]))
    if 0 not in matching[-1]:
        return None
    captured, start = {}, 0
    for place, (token, ends) in enumerate(zip(tokens, matching[-2::-1], strict=True)):
        possible = _ends(token, segment, start, ends)
        # The version begins as early as it can.
        shortest = token == _ANYTHING or (token == _NAME and _VERSION in tokens[place:])
        end = min(possible) if shortest else max(possible)
        if token in {_NAME, _VERSION}:
            captured[token] = segment[start:end]
        start = end
    return captured


def _starts(token: str, segment: str, ends: set[int]) -> set[int]:
    """Return the places where a token can begin that ends at one of these places."""
    if token in {_ANYTHING, _NAME}:
        return set(range(max(ends, default=-1) + (token == _ANYTHING)))
    return {start for start in range(len(segment) + 1) if _ends(token, segment, start, ends)}


def _ends(token: str, segment: str, start: int, ends: set[int]) -> list[int]:
    """Return those of these places where a token that begins at `start` can end."""
    if token == _ANYTHING:
        return [end for end in ends if end >= start]
    if token == _NAME:
        return [end for end in ends if end > start]
    if token == _VERSION:
        longest = range(start + 1, start + _LONGEST_VERSION + 1)
        return [end for end in longest if end in ends and _is_version(segment[start:end])]
    return [start + len(token)] if segment.startswith(token, start) and start + len(token) in ends else []


def _is_version(text: str) -> bool:
    # White space is ignored around a version that is stated alone.
    return text == text.strip() and versions.parse(text) is not None
