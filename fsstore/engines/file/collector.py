"""Holding Python's cyclic collector back while a page of commits is made.

Every commit is a few containers without a cycle among them. Made one by one they have the collector walk
everything that lives over and over: 40 % of a long load. A page is bounded, so what is held back is too. Nothing
here knows what a commit is.
"""

from __future__ import annotations

import gc
from types import TracebackType


class CollectorHeld:
    """No collection begins within; left alone where the application has switched the collector off itself."""

    __slots__ = ("_was_on",)

    def __enter__(self) -> None:
        self._was_on = gc.isenabled()
        if self._was_on:
            gc.disable()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._was_on:
            gc.enable()
