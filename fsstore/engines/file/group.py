"""Leader and followers: many callers, one pass over the journal for all who wait.

Whoever finds no leader leads: it takes everything that is queued, does the pass, wakes its followers and hands
the lead to the first who came meanwhile. It knows nothing of what a pass does, nor whether a caller waits as a
thread or as a task.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from fsstore.errors import StoreClosedError


class Waiting:
    """One caller's request in the queue. The pass sets `error` when it failed.

    `wake` is called when it is done, and with `done` still false when its caller has to see to it that somebody
    leads.
    """

    __slots__ = ("done", "error", "size_bytes", "wake")

    def __init__(self, size_bytes: int = 0) -> None:
        self.size_bytes = size_bytes
        self.done = False
        self.error: BaseException | None = None
        self.wake: Callable[[], None] | None = None


RequestT = TypeVar("RequestT", bound=Waiting)


class Group(Generic[RequestT]):
    """The queue of one engine. `lead` gets requests in the order in which they came and never raises."""

    def __init__(self, lead: Callable[[list[RequestT]], None], *, max_pass_bytes: int) -> None:
        self._lead = lead
        self._max_pass_bytes = max_pass_bytes
        self._mutex = threading.Lock()
        self._queue: deque[RequestT] = deque()
        self._leading = False
        self._stopped = False
        self._idle = threading.Condition(self._mutex)

    def stop(self) -> None:
        """Take no more requests; returns when those that were taken are done."""
        with self._idle:
            self._stopped = True
            while self._leading:
                self._idle.wait()

    def run(self, request: RequestT) -> None:
        """Returns when the request was carried out; raises its error when it failed."""
        woken: threading.Lock | None = None
        with self._mutex:
            self._take_in(request)
            if self._leading:
                woken = threading.Lock()
                woken.acquire()
                request.wake = woken.release
            else:
                self._leading = True
        if woken is not None:
            woken.acquire()
        if not request.done:
            self.lead()
        if request.error is not None:
            raise request.error

    def submit(self, request: RequestT, wake: Callable[[], None]) -> None:
        """Take the request in and return; whoever answers `wake` calls `lead` when it is not done yet."""
        request.wake = wake
        with self._mutex:
            self._take_in(request)
            if self._leading:
                return
            self._leading = True
        wake()

    def withdraw(self, request: RequestT) -> bool:
        """Take a submitted request back; `False` when it is being carried out or was."""
        with self._mutex:
            try:
                self._queue.remove(request)
            except ValueError:
                return False
        return True

    def _take_in(self, request: RequestT) -> None:
        if self._stopped:
            raise StoreClosedError("the store was closed before this was taken in; nothing was stored")
        self._queue.append(request)

    def lead(self) -> None:
        """One pass for everybody who is queued, then hand the lead on. For who was woken to do so, once."""
        requests = self._take()
        try:
            if requests:
                self._lead(requests)
        finally:
            for request in requests:
                request.done = True
                if request.wake is not None:
                    request.wake()
            with self._mutex:
                following = self._queue[0].wake if self._queue else None
                if following is None:
                    self._leading = False
                    self._idle.notify_all()
            if following is not None:
                following()

    def _take(self) -> list[RequestT]:
        with self._mutex:
            requests: list[RequestT] = []
            size = 0
            while self._queue and (not requests or size + self._queue[0].size_bytes <= self._max_pass_bytes):
                requests.append(self._queue.popleft())
                size += requests[-1].size_bytes
        return requests
