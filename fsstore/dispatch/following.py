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
        self._was_misled = False
        self._pause_seconds = _SHORTEST_PAUSE_SECONDS

    def last_token(self) -> int:
        """The last token that the engine knows of by now; no commit is read for it. 0 where it cannot be asked."""
        if self._engine is None:
            return 0
        above, least = 1, 0
        while self._engine.wait_for_commits(above - 1, 0.0):
            least, above = above, 2 * above
        while above - least > 1:
            middle = (least + above) // 2
            if self._engine.wait_for_commits(middle - 1, 0.0):
                least = middle
            else:
                above = middle
        return least

    def committed(self) -> None:
        """A commit was stored by this process."""
        self._told.set()

    def found(self) -> None:
        """The commit that was waited for was there, so the engine's word is good."""
        self._was_misled = False
        self._pause_seconds = _SHORTEST_PAUSE_SECONDS

    def wait(
        self,
        checkpoint_token: int,
        *,
        meanwhile: Callable[[], None] = lambda: None,
        timeout_seconds: float = float("inf"),
    ) -> bool:
        """Return when there may be something after the token: `True`, or `False` when the time is up or it ends.

        Where the last `True` led to nothing, this begins with a pause. `meanwhile` is called every now and then.
        """
        if self._was_misled:
            pause = min(self._pause_seconds, timeout_seconds)
            timeout_seconds -= pause
            self._pause_seconds = min(self._pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
            if self._told.wait(pause):
                self._told.clear()
                return not self._stopping.is_set()
        while not self._stopping.is_set():
            meanwhile()
            if self._wait_slice(checkpoint_token, min(_SLICE_SECONDS, max(timeout_seconds, 0.0))):
                self._was_misled = True
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


def head_token(engine: PersistenceEngine, bucket_id: str | None = None) -> int:
    """The highest checkpoint token in use, 0 for an empty store; looks at a few commits only."""
    head, step = 0, 1
    while step:
        later = next(iter(engine.get_from_checkpoint(head + step - 1, bucket_id=bucket_id)), None)
        if later is None:
            step //= 2
        else:
            # An engine whose tokens are out of order must not make this go round for ever.
            head, step = max(later.checkpoint_token, head + step), step * 2
    return head
