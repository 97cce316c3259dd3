"""Prints prose on a terminal, with line breaks between words only: URLs and identifiers can be copied."""

import sys
import textwrap

from rich.console import Console


def make_console() -> Console:
    """Return the console of a program: what is not a terminal gets no line breaks but those of the text."""
    return Console(highlight=False, markup=False, soft_wrap=not sys.stdout.isatty())


def print_prose(console: Console, text: str, indent: str = "", style: str | None = None) -> None:
    """Print a text, each of its lines indented and, on a terminal, wrapped between words."""
    for line in text.splitlines():
        parts = [f"{indent}{line}" if line else ""]
        if line and not console.soft_wrap:
            parts = textwrap.wrap(
                line,
                console.width,
                initial_indent=indent,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
        for part in parts:
            console.print(part, style=style, soft_wrap=True)
