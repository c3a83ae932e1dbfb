"""Long computing in short stretches, so that the other threads of the process get on. Knows nothing of the work.

Python runs one thread at a time, and takes the turn from one that computes only after 5 ms
(`sys.getswitchinterval`). An event loop beside it would be late by that each time it comes back from a system call.
"""

from __future__ import annotations

import time

_STRETCH_SECONDS = 0.0005
# Any sleep hands over, where somebody waits. One of nothing may be over before the other has woken up.
_PAUSE_SECONDS = 0.000_001


class Pace:
    """Called between small steps of one piece of work; pauses after every stretch."""

    __slots__ = ("_began",)

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def __call__(self) -> None:
        if time.perf_counter() - self._began > _STRETCH_SECONDS:
            time.sleep(_PAUSE_SECONDS)
            self._began = time.perf_counter()
