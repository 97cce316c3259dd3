"""What not every run needs is made when it is first used: most runs look at one AMI, and are done."""

from collections.abc import Callable
from functools import cache
from typing import TypeVar, cast

_Made = TypeVar("_Made")


def deferred(make: Callable[[], _Made]) -> _Made:
    """Return a stand-in for what `make` returns, which is called once, when the stand-in is first used."""
    return cast("_Made", _Deferred(make))


class _Deferred:
    def __init__(self, make: Callable[[], object]) -> None:
        self._made = cache(make)

    def __getattr__(self, name: str) -> object:
        return getattr(self._made(), name)
