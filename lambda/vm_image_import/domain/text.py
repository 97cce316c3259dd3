"""Text of others, made fit to be shown: one line, escaped, and cut."""

from typing import Final

_MAX_QUOTED: Final = 100
"""Characters of a value in an error message."""


def quote(value: object) -> str:
    """Return a value in quotes, on one line and cut to 100 characters."""
    return f"'{one_line(str(value), _MAX_QUOTED)}'"


def one_line(text: str, limit: int) -> str:
    """Return `text` on one line of at most `limit` characters. What cannot be printed is escaped."""
    cut = text[: limit + 1]
    line = "".join(character if character.isprintable() else _escape(character) for character in cut)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
