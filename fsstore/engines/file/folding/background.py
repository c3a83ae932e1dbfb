"""The thread that folds while commits go on. It sleeps until it is woken, and knows nothing of folding."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """Runs `work` once for every time it was woken, several wakes in one."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._work = work
        self._name = name
        self._wanted = threading.Event()
        self._stopping = False
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Have the work done soon; the thread begins with the first wake, or the next one where the system has none."""
        if self._wanted.is_set():
            return
        with self._starting:
            if self._thread is None and not self._stopping:
                thread = threading.Thread(target=self._run, name=f"fsstore {self._name}", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # there are too many, or the interpreter is ending
                    return
                self._thread = thread
        self._wanted.set()

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._stopping:
                return
            self._work()

    def stop(self) -> None:
        """Return when the thread has finished what it was doing."""
        with self._starting:
            self._stopping = True
            thread = self._thread
        self._wanted.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
