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


class Queued:
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


RequestT = TypeVar("RequestT", bound=Queued)


class Group(Generic[RequestT]):
    """The queue of one engine. `lead` gets requests in the order in which they came; it raises nothing but what
    interrupts its thread. Then `interrupted` gets them, also where `lead` had not begun: it fails those not done.

    Python interrupts a thread after a call, where a function begins and where a loop goes on, and nowhere else. Steps
    that belong together have no such place between them, so that what was interrupted can be done again.
    """

    def __init__(
        self,
        lead: Callable[[list[RequestT]], None],
        *,
        max_pass_bytes: int,
        interrupted: Callable[[list[RequestT]], None] = lambda requests: None,
    ) -> None:
        self._lead = lead
        self._interrupted = interrupted
        self._max_pass_bytes = max_pass_bytes
        self._mutex = Lock()
        self._queue: deque[RequestT] = deque()
        # Whose caller leads, or is to, and what it has taken out of the queue.
        self._leader: RequestT | None = None
        self._taken: list[RequestT] = []
        self._stopped = False
        self._idle = Condition(self._mutex)

    def stop(self) -> None:
        """Take no more requests; returns when those that were taken are done."""
        with self._idle:
            self._stopped = True
            while self._leader is not None:
                self._idle.wait()

    def run(self, request: RequestT) -> None:
        """Returns when the request was carried out; raises its error when it failed.

        A thread that is interrupted meanwhile takes its request back, and hands the lead on if that was its turn.
        """
        woken: Lock | None = None
        try:
            with self._mutex:
                if self._stopped:
                    raise StoreClosedError(
                        f"{request}: the store was closed before this was taken in; nothing was stored"
                    )
                self._queue.append(request)
                if self._leader is not None:
                    woken = Lock()
                    woken.acquire()
                    request.wake = woken.release
                else:
                    self._leader = request
            if woken is not None:
                woken.acquire()
            if not request.done:
                self.lead()
        except BaseException as interruption:
            self._abandon(request, interruption)
            raise
        if (error := request.error) is not None:
            try:
                raise error
            finally:
                # Else it and the request, which its frames know, would keep one another, and files that were open.
                request.error = None
                del error

    def _abandon(self, request: RequestT, interruption: BaseException) -> None:
        if self.withdraw(request):
            interruption.add_note("interrupted before it was stored: nothing was stored")
        elif not isinstance(interruption, Exception):
            interruption.add_note("interrupted: whether it was stored is in doubt; the same attempt again settles it")
        with self._mutex:
            leads = self._leader is request
        if leads:
            self._end()

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
        try:
            self._take()
            if self._taken:
                self._lead(self._taken)
        except BaseException:
            self._interrupted(self._taken)
            raise
        finally:
            self._end()

    def _take(self) -> None:
        size = 0
        with self._mutex:
            while self._queue and (not self._taken or size + self._queue[0].size_bytes <= self._max_pass_bytes):
                size += self._queue[0].size_bytes
                self._taken += [self._queue[0]]
                del self._queue[0]

    def _end(self) -> None:
        """Wake those for whom the pass was, and hand the lead on. Again where it was interrupted."""
        for request in self._taken:
            request.done = True
            wake, request.wake = request.wake, _nobody
            wake()
        with self._mutex:
            self._taken = []
            self._leader = heir = self._queue[0] if self._queue else None
            if heir is not None:
                wake, heir.wake = heir.wake, _nobody
                wake()
            elif self._stopped:
                self._idle.notify_all()
