"""The calls of an engine that are under way, so that closing can wait for them. Knows no call and no engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class UnderWay:
    """How many calls there are. `changed` is notified when one ends."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._count = 0

    @contextmanager
    def call(self, check: Callable[[], None] = lambda: None) -> Iterator[None]:
        """One more, in here, unless `check` raises: what that looks at may be changed under `changed`."""
        with self.changed:
            check()
            self._count += 1
        try:
            yield
        finally:
            with self.changed:
                self._count -= 1
                self.changed.notify_all()

    def is_over(self) -> bool:
        """Whether none is left."""
        return not self._count
