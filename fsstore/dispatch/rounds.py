"""Rounds of delivery: a commit that a dispatcher makes while it is called comes with the round that called it.

Without this it would wait for a delivery that waits for the dispatcher. Knows no commit and no engine.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# The rounds that what runs now was called from. A task, or a thread that anyio or asyncio started, knows them too.
_within: ContextVar[tuple[object, ...]] = ContextVar("fsstore_rounds", default=())


class Rounds:
    """The rounds of one scheduler, one at a time."""

    def __init__(self) -> None:
        # A signal's handler may close the store that it interrupts.
        self._changing = threading.RLock()
        self._going_on: object | None = None
        self._joined: set[int] = set()

    @contextmanager
    def begin(self) -> Iterator[None]:
        """A round, which goes on until `joined` gives nothing or this is left."""
        with self._changing:
            self._going_on, self._joined = object(), set()
            outside = _within.set((*_within.get(), self._going_on))
        try:
            yield
        finally:
            with self._changing:
                self._going_on = None
            _within.reset(outside)

    def is_within(self) -> bool:
        """Whether the caller was called by the round that goes on."""
        with self._changing:
            return self._going_on is not None and self._going_on in _within.get()

    def join(self, token: int) -> bool:
        """Whether the caller was called by the round that goes on, which goes on then for what has this token."""
        with self._changing:
            is_within = self.is_within()
            if is_within:
                self._joined.add(token)
        return is_within

    def joined(self) -> set[int]:
        """The tokens that joined since this was asked last; if there are none, none can any more."""
        with self._changing:
            joined, self._joined = self._joined, set()
            if not joined:
                self._going_on = None
        return joined
