"""The file engine for tasks: many awaiting commits share one flush, and one thread leads for all of them.

A task queues its bytes in the engine's group and awaits; the thread does the passes and tells the event loop once
for all that became durable. Reads and everything else run in the bounded pool of `ThreadedEngine`. Nothing of a
pass is known here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any

from fsstore.engines.calling import in_doubt
from fsstore.engines.file.engine import FileEngine, stored
from fsstore.engines.file.planning import CommitRequest
from fsstore.engines.threaded import ThreadedEngine
from fsstore.model import Commit, CommitAttempt

# A larger batch is encoded in a thread, so that the event loop is not kept from its other tasks.
_MAX_ATTEMPTS_IN_LOOP = 32
# Whoever is told commits again at once; between so many of them the loop sees to its other tasks.
_TOLD_AT_ONCE = 32


class AsyncFileEngine(ThreadedEngine):
    """A file store for the tasks of one event loop. At most `max_waiting_commits` are taken in at once; others
    wait for their turn."""

    def __init__(self, blocking: FileEngine, *, max_threads: int = 8, max_waiting_commits: int = 4096) -> None:
        super().__init__(blocking, max_threads=max_threads)
        import anyio

        if max_waiting_commits < 1:
            raise ValueError(f"max_waiting_commits must be at least 1, not {max_waiting_commits}")
        self._file = blocking
        self._new_event = anyio.Event
        self._turns = anyio.Semaphore(max_waiting_commits, fast_acquire=True)
        self._mutex = threading.Lock()
        self._finished: list[Any] = []
        self._leads: SimpleQueue[bool] = SimpleQueue()
        self._leader: threading.Thread | None = None

    async def initialize(self) -> None:
        await super().initialize()
        if self._leader is None:
            self._soon = _loop_call()
            self._leader = threading.Thread(target=self._lead, name="fsstore commits", daemon=True)
            self._leader.start()

    async def close(self) -> None:
        """Finish what was accepted, also for callers that were cancelled, then close."""
        try:
            await super().close()
        finally:
            self._stop_leading()

    async def drop(self) -> None:
        try:
            await super().drop()
        finally:
            self._stop_leading()

    def _stop_leading(self) -> None:
        self._leads.put(False)

    async def commit(self, attempt: CommitAttempt) -> Commit:
        return (await self.commit_many((attempt,)))[0]

    async def commit_many(self, attempts: Sequence[CommitAttempt]) -> list[Commit]:
        self._file.writable()
        if not attempts:
            return []
        if len(attempts) > _MAX_ATTEMPTS_IN_LOOP:
            request = await self._call(self._file.request, attempts)
        else:
            request = self._file.request(attempts)
        async with self._turns:
            await self._carried_out(request, attempts)
        if request.error is not None:
            raise request.error
        return stored(attempts, request)

    async def _carried_out(self, request: CommitRequest, attempts: Sequence[CommitAttempt]) -> None:
        done = self._new_event()
        self._file.group.submit(request, partial(self._wake, request, done))
        try:
            await done.wait()
        except BaseException as cancelled:
            if self._file.group.withdraw(request):
                cancelled.add_note("cancelled before it was stored: nothing was stored")
            elif not request.done or request.error is None:
                cancelled.add_note(in_doubt(attempts))
            raise

    # ---- between the loop and the thread ----

    def _wake(self, request: CommitRequest, done: Any) -> None:
        if not request.done:
            self._leads.put(True)
            return
        with self._mutex:
            self._finished.append(done)
            if len(self._finished) > 1:
                return
        try:
            self._soon(self._tell)
        except RuntimeError:  # the event loop has ended; nobody waits any more
            self._finished.clear()

    def _tell(self) -> None:
        with self._mutex:
            finished = self._finished[:_TOLD_AT_ONCE]
            del self._finished[:_TOLD_AT_ONCE]
            if self._finished:
                self._soon(self._tell)
        for done in finished:
            done.set()

    def _lead(self) -> None:
        while self._leads.get():
            self._file.group.lead()


def _loop_call() -> Callable[[Callable[[], None]], object]:
    """How a thread has the running event loop call something soon."""
    from anyio.lowlevel import current_token

    loop: Any = current_token().native_token
    call: Callable[[Callable[[], None]], object] = getattr(loop, "run_sync_soon", None) or loop.call_soon_threadsafe
    return call
