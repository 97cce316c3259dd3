"""Removes what the verification has made, whatever ends it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from local.verify.account import ERRORS

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GONE: Final = ("NotFound", "Unavailable", "NonExistentQueue", "DoesNotExist", "NoSuch")
"""Parts of the error codes for what does not exist."""


class Cleanup:
    """What there is to remove, the last thing first."""

    def __init__(self) -> None:
        self.left: Final[list[str]] = []
        """What could not be removed: a command or a description, and why."""
        self._removals: Final[list[tuple[str, Callable[[], None]]]] = []

    def add(self, what: str, remove: Callable[[], None]) -> None:
        """Add a removal before the thing is made: then nothing can come between."""
        self._removals.append((what, remove))

    def call(self, command: str, call: Callable[..., object], **parameters: object) -> None:
        """Remove one thing, as the command would. What does not exist is removed; what remains is listed."""
        try:
            call(**parameters)
        except (BotoCoreError, ClientError) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
            if not any(part in code for part in _GONE):
                self.left.append(f"{command}   # {error}")

    def run(self) -> None:
        """Remove everything. One failure keeps nothing else from being removed."""
        while self._removals:
            what, remove = self._removals.pop()
            try:
                remove()
            except ERRORS as error:
                self.left.append(f"{what}   # {error}")


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the block as Ctrl-C does."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C, SIGTERM and a closed terminal in the block."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
