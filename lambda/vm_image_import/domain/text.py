"""Text of others, made fit to be shown: one line, escaped, and cut."""

import re
from bisect import bisect_right
from itertools import accumulate
from typing import Final

_MAX_QUOTED: Final = 100
"""Characters of a value in an error message."""
_INVISIBLE: Final = frozenset(
    chr(code)
    for first, last in (
        *((0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800), (0x3164, 0x3164)),
        *((0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF)),
    )
    for code in range(first, last + 1)
)
"""Fillers, variation selectors and blanks: nothing of them is seen, but Python calls them printable.

They are the other code points of Unicode's property Default_Ignorable_Code_Point, and the blank of braille.
"""
_IN_CHAT: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "'"}
"""How Slack's control characters are escaped (Slack, "Formatting text for app surfaces"), and the end of code."""


def without_secrets(text: str) -> str:
    """Return `text` without what may be secret in its addresses: user's name, password, a query of values, fragment."""
    return "".join(_without_secrets(word) for word in re.split(r"(\s+)", text))


def _without_secrets(word: str) -> str:
    address, _, query = word.partition("?")
    before, scheme, after = (address if "=" in query else word).partition("://")
    if not scheme:
        return before
    # A password can have any character, so that the last @ counts.
    return f"{before}://{after.rpartition('@')[2].partition('#')[0]}"


def quote(value: object) -> str:
    """Return a value in quotes, on one line and cut to 100 characters."""
    return f"'{one_line(str(value), _MAX_QUOTED)}'"


def one_line(text: str, limit: int) -> str:
    """Return `text` on one line of at most `limit` characters. What cannot be seen is escaped."""
    line = visible(text[: limit + 1])
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def visible(text: str, backslash: str = "\\") -> str:
    """Return `text` with each character that cannot be seen, or turns the direction of others, escaped.

    An escape begins with `backslash`: two of them where the text is JSON.
    """
    if text.isprintable() and _INVISIBLE.isdisjoint(text):
        return text
    return "".join(
        character
        if character.isprintable() and character not in _INVISIBLE
        else character.encode("unicode_escape", "surrogatepass").decode("ascii").replace("\\", backslash)
        for character in text
    )


def chat_code(text: str, limit: int) -> str:
    """Return `text` for chat, on one line of at most `limit` characters, as code: it is shown as it is.

    In code nothing is formatted, mentioned or linked. Cards of Microsoft Teams have links, but no code (Microsoft,
    "Format cards in Teams"): the two parts of a link are separated.
    """
    escaped = [_IN_CHAT.get(character, character) for character in one_line(text, limit).replace("](", "] (").strip()]
    kept = bisect_right([*accumulate(map(len, escaped))], limit - len("``"))
    return f"`{''.join(escaped[:kept])}`" if kept else ""
