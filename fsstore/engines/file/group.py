"""Leader and followers: many callers, one pass over the journal for all who wait.

Whoever finds no leader leads: it takes everything that is queued, does the pass, wakes its followers and hands
the lead to the first who came meanwhile. It knows nothing of what a pass does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition, Lock
from typing import Generic, TypeVar

from fsstore.errors import StoreClosedError


def _nobody() -> None:
    """Nobody waits to be woken."""


class Waiting:
    """One caller's request in the queue. The pass sets `error` when it failed.

    `wake` is called when it is done, and with `done` still false when its caller has to see to it that somebody
    leads.
    """

    __slots__ = ("done", "error", "size_bytes", "wake")

    def __init__(self, size_bytes: int = 0) -> None:
        self.size_bytes = size_bytes
        self.done = False
        self.error: Exception | None = None
        self.wake: Callable[[], object] = _nobody


RequestT = TypeVar("RequestT", bound=Waiting)


class Group(Generic[RequestT]):
    """The queue of one engine. `lead` gets requests in the order in which they came; it raises nothing but what
    interrupts its thread."""

    def __init__(self, lead: Callable[[list[RequestT]], None], *, max_pass_bytes: int) -> None:
        self._lead = lead
        self._max_pass_bytes = max_pass_bytes
        self._mutex = Lock()
        self._queue: deque[RequestT] = deque()
        self._leading = False
        # Whose caller is to lead, and has not begun to.
        self._heir: RequestT | None = None
        self._stopped = False
        self._idle = Condition(self._mutex)

    def stop(self) -> None:
        """Take no more requests; returns when those that were taken are done."""
        with self._idle:
            self._stopped = True
            while self._leading:
                self._idle.wait()

    def run(self, request: RequestT) -> None:
        """Returns when the request was carried out; raises its error when it failed.

        A thread that is interrupted meanwhile takes its request back, and hands the lead on if that was its turn.
        """
        woken: Lock | None = None
        try:
            with self._mutex:
                if self._stopped:
                    raise StoreClosedError("the store was closed before this was taken in; nothing was stored")
                self._queue.append(request)
                if self._leading:
                    woken = Lock()
                    woken.acquire()
                    request.wake = woken.release
                else:
                    self._leading = True
                    self._heir = request
            if woken is not None:
                woken.acquire()
            if not request.done:
                self.lead()
        except BaseException as interruption:
            self._abandon(request, interruption)
            raise
        if request.error is not None:
            raise request.error

    def _abandon(self, request: RequestT, interruption: BaseException) -> None:
        if self.withdraw(request):
            interruption.add_note("interrupted before it was stored: nothing was stored")
        elif not isinstance(interruption, Exception):
            interruption.add_note("interrupted: whether it was stored is in doubt; the same attempt again settles it")
        with self._mutex:
            leads = self._heir is request
        if leads:
            self._hand_on()

    def withdraw(self, request: RequestT) -> bool:
        """Take a request back; `False` when it is being carried out or was."""
        with self._mutex:
            try:
                self._queue.remove(request)
            except ValueError:
                return False
        return True

    def lead(self) -> None:
        """One pass for everybody who is queued, then hand the lead on. For who was woken to do so, once."""
        requests: list[RequestT] = []
        try:
            self._take(requests)
            if requests:
                self._lead(requests)
        finally:
            for request in requests:
                request.done = True
                request.wake()
            self._hand_on()

    def _take(self, requests: list[RequestT]) -> None:
        size = 0
        with self._mutex:
            self._heir = None
            while self._queue and (not requests or size + self._queue[0].size_bytes <= self._max_pass_bytes):
                requests.append(self._queue.popleft())
                size += requests[-1].size_bytes

    def _hand_on(self) -> None:
        with self._mutex:
            self._heir = heir = self._queue[0] if self._queue else None
            if heir is None:
                self._leading = False
                if self._stopped:
                    self._idle.notify_all()
        if heir is not None:
            heir.wake()
