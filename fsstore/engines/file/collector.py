"""Holding Python's cyclic collector back while many records are taken in: read, followed, or folded.

Each of them is a few containers without a cycle among them. Made one by one they have the collector walk everything
that lives over and over: 40 % of a long load. So hold it back for a bounded number of them: a page, or what is not
folded yet. Nothing here knows what a record is.
"""

from __future__ import annotations

import gc


class CollectorHeld:
    """No collection begins within; left alone where the application has switched the collector off itself."""

    __slots__ = ("_was_on",)

    def __enter__(self) -> None:
        self._was_on = gc.isenabled()
        if self._was_on:
            gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_on:
            gc.enable()
