"""Leader and followers: many threads, one pass over the journal for all who wait.

Whoever finds no leader leads: it takes everything that is queued, does the pass, wakes its followers and hands
the lead to the first who came meanwhile. It knows nothing of what a pass does.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from fsstore.errors import StoreClosedError


class Waiting:
    """One caller's request in the queue. The pass sets `error` when it failed."""

    __slots__ = ("done", "error", "size_bytes", "wake")

    def __init__(self, size_bytes: int = 0) -> None:
        self.size_bytes = size_bytes
        self.done = False
        self.error: BaseException | None = None
        self.wake: threading.Lock | None = None


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
        with self._mutex:
            if self._stopped:
                raise StoreClosedError("the store was closed before this was taken in; nothing was stored")
            self._queue.append(request)
            if self._leading:
                request.wake = threading.Lock()
                request.wake.acquire()
            else:
                self._leading = True
        if request.wake is not None:
            request.wake.acquire()
        if not request.done:
            self._pass()
        if request.error is not None:
            raise request.error

    def _pass(self) -> None:
        requests = self._take()
        try:
            self._lead(requests)
        finally:
            for request in requests[1:]:
                request.done = True
                assert request.wake is not None
                request.wake.release()
            requests[0].done = True
            with self._mutex:
                if self._queue:
                    following = self._queue[0].wake
                    assert following is not None
                    following.release()
                else:
                    self._leading = False
                    self._idle.notify_all()

    def _take(self) -> list[RequestT]:
        with self._mutex:
            requests = [self._queue.popleft()]
            size = requests[0].size_bytes
            while self._queue and size + self._queue[0].size_bytes <= self._max_pass_bytes:
                requests.append(self._queue.popleft())
                size += requests[-1].size_bytes
        return requests
