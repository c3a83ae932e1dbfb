"""The calls of an engine that are under way, so that closing can wait for them. Knows no call and no engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_LOOK_SECONDS = 0.005


class UnderWay:
    """The calls that began and are not over. What interrupts a thread leaves none behind."""

    def __init__(self) -> None:
        # Changed in single steps, without a lock, which a thread that is interrupted beside it could keep.
        self._calls: set[object] = set()

    def make(self, function: Callable[[], T], check: Callable[[], object] = lambda: None) -> T:
        """Make a call, unless `check` raises: who changes what that looks at, and waits then, waits for this call."""
        call = object()
        try:
            self._calls.add(call)
            check()
            return function()
        finally:
            self._calls.discard(call)

    def wait(self, sleep: Callable[[float], object] = time.sleep) -> None:
        """Return when none is left."""
        while self._calls:
            sleep(_LOOK_SECONDS)
