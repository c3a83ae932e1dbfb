"""Waiting for commits, whoever makes them: by the engine where it can, otherwise by being told within this process."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fsstore.engine import DeliveryEngine, PersistenceEngine

# How long a closing scheduler or subscription may be kept waiting by its engine.
_SLICE_SECONDS = 0.1
_SHORTEST_PAUSE_SECONDS = 0.001
_LONGEST_PAUSE_SECONDS = 0.05


class Follower:
    """Waits for one thread; `stopping` ends every wait soon."""

    def __init__(self, engine: PersistenceEngine, stopping: threading.Event) -> None:
        self._engine = engine if isinstance(engine, DeliveryEngine) else None
        self._stopping = stopping
        self._told = threading.Event()
        self._pause_seconds = _SHORTEST_PAUSE_SECONDS

    def committed(self) -> None:
        """A commit was stored by this process."""
        self._told.set()

    def wait(
        self,
        checkpoint_token: int,
        *,
        found: bool,
        meanwhile: Callable[[], None] = lambda: None,
        timeout_seconds: float = float("inf"),
    ) -> bool:
        """Return when there may be something after the token: `True`, or `False` when the time is up or it ends.

        `found` says whether the last look found something; where it did not, an engine that says there is
        something is not believed at once. `meanwhile` is called every now and then.
        """
        if found:
            self._pause_seconds = _SHORTEST_PAUSE_SECONDS
        else:
            pause = min(self._pause_seconds, timeout_seconds)
            timeout_seconds -= pause
            self._pause_seconds = min(self._pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
            if self._told.wait(pause):
                self._told.clear()
                return not self._stopping.is_set()
        while not self._stopping.is_set():
            meanwhile()
            if self._wait_slice(checkpoint_token, min(_SLICE_SECONDS, max(timeout_seconds, 0.0))):
                return not self._stopping.is_set()
            timeout_seconds -= _SLICE_SECONDS
            if timeout_seconds <= 0:
                return False
        return False

    def _wait_slice(self, checkpoint_token: int, seconds: float) -> bool:
        if self._engine is not None:
            return self._engine.wait_for_commits(checkpoint_token, seconds)
        if not self._told.wait(seconds):
            return False
        self._told.clear()
        return True
