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

    The places where tokens can begin and end are found once. This takes time in proportion to tokens and part, where a
    regular expression could take much more.
    """
    if len(segment) > _MAX_SEGMENT:
        return None
    if _VERSION not in tokens:
        return _match_name(tokens, segment)
    before, behind = _around(_VERSION, tokens)
    ends = _starts(behind, segment)
    spans = [
        (start, end)
        for start in _ends(before, segment)
        for end in range(start + 1, start + _LONGEST_VERSION + 1)
        if end in ends and _is_version(segment[start:end])
    ]
    if not spans:
        return None
    to_the_right = 1 if _NAME in before else -1
    start, end = max(spans, key=lambda span: (span[1] - span[0], span[0] * to_the_right))
    named = (_match_name(before, segment[:start]) or {}) | (_match_name(behind, segment[end:]) or {})
    return {**named, _VERSION: segment[start:end]}


def _match_name(tokens: Sequence[str], text: str) -> dict[str, str] | None:
    """Return what the name stands for in a text without a version, or None where the tokens do not match it."""
    if _NAME not in tokens:
        return {} if len(text) in _ends(tokens, text) else None
    before, behind = _around(_NAME, tokens)
    start, end = min(_ends(before, text), default=len(text)), max(_starts(behind, text), default=0)
    return {_NAME: text[start:end]} if start < end else None


def _around(placeholder: str, tokens: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    place = tokens.index(placeholder)
    return tokens[:place], tokens[place + 1 :]


def _ends(tokens: Sequence[str], text: str) -> set[int]:
    """Return the places where tokens can end that the text begins with."""
    places = {0}
    for token in tokens:
        if token in {_ANYTHING, _NAME}:
            first = min(places, default=len(text) + 1)
            places = set(range(first + (token == _NAME), len(text) + 1))
        else:
            places = {place + len(token) for place in places if text.startswith(token, place)}
    return places


def _starts(tokens: Sequence[str], text: str) -> set[int]:
    """Return the places where tokens can begin that the text ends with."""
    mirrored = [token if token in {_ANYTHING, _NAME} else token[::-1] for token in reversed(tokens)]
    return {len(text) - end for end in _ends(mirrored, text[::-1])}


def _is_version(text: str) -> bool:
    # White space is ignored around a version that is stated alone.
    return text == text.strip() and versions.parse(text) is not None
