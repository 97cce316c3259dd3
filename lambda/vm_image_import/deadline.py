"""How much time an invocation has left."""

from collections.abc import Callable
from typing import Final, NamedTuple

SLOW_CALL_MS: Final = 33_000
"""The longest call of AWS: three attempts of 2 seconds to connect and 8 to read, and botocore's waits between them."""


class Deadline(NamedTuple):
    """The end of an invocation."""

    remaining_ms: Callable[[], int]
    """Returns the time until Lambda ends the invocation, in milliseconds."""

    def allows(self, calls: int) -> bool:
        """Return whether there is time for so many calls, even if each of them is the longest."""
        return self.remaining_ms() >= calls * SLOW_CALL_MS
