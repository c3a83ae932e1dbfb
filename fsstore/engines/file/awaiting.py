"""The file engine for tasks: many awaiting commits share one flush, and one thread commits for all of them.

A task encodes its commit, queues it and awaits. The thread takes whatever is queued and has it carried out as any
other thread would; then the event loop tells the tasks, some at a time. The loop takes no lock that the thread
could hold. Reads and everything else run in the bounded pool of `ThreadedEngine`. Nothing of a pass is known here.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue

from fsstore.engine import PersistenceEngine
from fsstore.engines.arguments import checked_attempts
from fsstore.engines.calling import in_doubt
from fsstore.engines.file.engine import FileEngine, stored
from fsstore.engines.file.looping import event_loop
from fsstore.engines.file.writing.planning import CommitRequest, SeveralCommits
from fsstore.engines.threaded import ThreadedEngine
from fsstore.errors import StorageError, StorageUnavailableError, StoreClosedError
from fsstore.model import Commit, CommitAttempt, checked_at_least, not_a

# A larger batch is encoded in a thread, so that the event loop is not kept from its other tasks.
_MAX_ATTEMPTS_IN_LOOP = 32
# What is queued is carried out in parts of about this size.
_PASS_BYTES = 64 << 20
# Whoever is told commits again at once; between so many of them the loop sees to its other tasks.
_TOLD_AT_ONCE = 16
_NOT_STORED = "cancelled before it was stored: nothing was stored"


class AsyncFileEngine(ThreadedEngine):
    """A file store for the tasks of one event loop. At most `max_waiting_commits` are taken in at once; others
    wait for their turn."""

    def __init__(self, blocking: FileEngine, *, max_threads: int = 8, max_waiting_commits: int = 4096) -> None:
        super().__init__(blocking, max_threads=max_threads)
        import anyio

        checked_at_least(max_waiting_commits, 1, "max_waiting_commits")
        self._file = blocking
        self._turns = anyio.Semaphore(max_waiting_commits, fast_acquire=True)
        self._none_left = anyio.WouldBlock
        self._closing = True  # until there is a thread that commits
        self._queue: deque[CommitRequest] = deque()
        self._thread: threading.Thread | None = None
        self._done: deque[CommitRequest] = deque()
        self._telling = False

    async def initialize(self) -> None:
        await super().initialize()
        if self._thread is None:
            self._loop = event_loop()
            self._begin_committing()

    def _begin_committing(self) -> None:
        self._alarm: SimpleQueue[bool] = SimpleQueue()  # without what ended a former thread
        thread = threading.Thread(target=self._commit_for_all, name="fsstore commits", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise StorageUnavailableError(
                f"{self._file.path} has no thread that commits ({error}): end others, then try the same again"
            ) from error
        self._thread, self._closing = thread, False

    async def _finish(self, end: Callable[[PersistenceEngine], None]) -> None:
        self._closing = True
        if self._thread is not None:
            self._alarm.put(False)
        try:
            await super()._finish(end)
        except StorageError:
            # Not dropped, as it is open elsewhere: then it is open here, too.
            with contextlib.suppress(StoreClosedError):
                self._file.opened()
                self._begin_committing()
            raise
        self._thread = None

    def _ended(self, end: Callable[[PersistenceEngine], None]) -> None:
        if self._thread is not None:
            self._thread.join()
        super()._ended(end)

    # ---- in the event loop ----

    async def commit(self, attempt: CommitAttempt) -> Commit:
        if not isinstance(attempt, CommitAttempt):
            raise not_a(CommitAttempt, attempt)
        attempts = (attempt,)
        request = self._file.request(attempts)
        await self._carried_out(request, attempts)
        return Commit.of(attempt, request.records[0].token)

    async def commit_many(self, attempts: Iterable[CommitAttempt]) -> list[Commit]:
        attempts = checked_attempts(attempts)
        if len(attempts) > _MAX_ATTEMPTS_IN_LOOP:
            request = await self._call(self._file.request, attempts)
        else:
            request = self._file.request(attempts)
        if not attempts:
            return []
        await self._carried_out(request, attempts)
        return stored(attempts, request)

    async def _carried_out(self, request: CommitRequest, attempts: Sequence[CommitAttempt]) -> None:
        done, end = self._loop.signal()
        try:
            self._turns.acquire_nowait()
        except self._none_left:
            await self._turn()
        try:
            if self._closing:
                raise StoreClosedError(f"{request}: the store was closed before this was taken in; nothing was stored")
            request.wake = end
            self._queue.append(request)
            self._alarm.put(True)
            try:
                await done
            except BaseException as cancelled:
                if self._withdrawn(request):
                    cancelled.add_note(_NOT_STORED)
                elif not request.done or request.error is None:
                    cancelled.add_note(in_doubt(attempts))
                raise
        finally:
            self._turns.release()
        if (error := request.error) is not None:
            try:
                raise error
            finally:  # as in `Group.run`
                request.error = None
                del error

    async def _turn(self) -> None:
        try:
            await self._turns.acquire()
        except BaseException as cancelled:
            cancelled.add_note(_NOT_STORED)
            raise

    def _withdrawn(self, request: CommitRequest) -> bool:
        try:
            self._queue.remove(request)
        except ValueError:  # it is being carried out, or was
            return False
        return True

    def _tell(self) -> None:
        self._telling = True
        for _ in range(min(len(self._done), _TOLD_AT_ONCE)):
            self._done.popleft().wake()
        if self._done:
            self._loop.soon(self._tell)
        else:
            self._telling = False

    def _begin_telling(self) -> None:
        if not self._telling:
            self._tell()

    # ---- in the thread ----

    def _commit_for_all(self) -> None:
        # Every request has raised the alarm once, so none is left when the last one says that it is over.
        while self._alarm.get():
            if self._queue and (requests := self._taken()):
                self._commit(requests)

    def _taken(self) -> list[CommitRequest]:
        taken: list[CommitRequest] = []
        size_bytes = 0
        with contextlib.suppress(IndexError):  # there is no more, or it was withdrawn just now
            while size_bytes < _PASS_BYTES:
                taken.append(self._queue.popleft())
                size_bytes += taken[-1].size_bytes
        return taken

    def _commit(self, requests: list[CommitRequest]) -> None:
        try:
            self._file.group.run(SeveralCommits(requests))
        except Exception as error:
            for request in requests:
                request.error = request.error or error
        for request in requests:
            request.done = True
        self._done.extend(requests)
        try:
            self._loop.soon(self._begin_telling)
        except RuntimeError:  # the event loop has ended; nobody waits any more
            self._done.clear()
