"""What every asynchronous twin over an engine of plain calls has in common: the protocol's words, a call each.

How a call is made without keeping the event loop waiting is the twin's own: in a thread (`threaded.py`), or with an
asyncio driver (`tasks.py`). Knows the protocol and no engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from threading import Lock
from typing import Any, Generic, TypeVar

from fsstore.engine import PersistenceEngine
from fsstore.engines.arguments import checked_attempts
from fsstore.errors import StoreClosedError
from fsstore.model import Commit, CommitAttempt, Snapshot, StreamHead, named

T = TypeVar("T")
_PAGE = 256


class _Reading(Generic[T]):
    """An iterator that is read by calls, which go on when their caller is cancelled, and closed when none does."""

    def __init__(self, iterator: Iterator[T]) -> None:
        self._iterator = iterator
        self._in_use = Lock()
        self._closed = False
        self._error: Exception | None = None

    def page(self) -> list[T]:
        """The next items, none at the end. An error of the iterator is raised once the items before it were given."""
        with self._in_use:
            page: list[T] = []
            try:
                for item in islice(self._iterator, _PAGE if self._error is None else 0):
                    page.append(item)
            except Exception as error:
                self._error = error
        if self._closed:
            self.close()
        if self._error is not None and not page:
            raise self._error
        return page

    def close(self) -> None:
        """Let go of what the iterator holds, now or when the call that uses it is done; waits for nothing."""
        self._closed = True
        close = getattr(self._iterator, "close", None)
        if close is not None and self._in_use.acquire(blocking=False):
            try:
                close()
            finally:
                self._in_use.release()


class CallingEngine(ABC):
    """An `AsyncPersistenceEngine` that calls `called`. It belongs to the event loop that uses it first."""

    def __init__(self, called: PersistenceEngine) -> None:
        self._called = called
        self._token: object = None

    def _check_loop(self) -> None:
        from anyio.lowlevel import current_token

        token = current_token()
        if self._token is None:
            self._token = token
        elif self._token != token:
            raise in_another_loop()

    @abstractmethod
    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        """The function's result. Cancelled, the call goes on to its end."""

    @abstractmethod
    async def _finish(self, end: Callable[[PersistenceEngine], None]) -> None:
        """Wait for calls under way, also for those whose callers were cancelled, then `end` what is called."""

    async def _settled(self, function: Callable[..., T], attempts: Sequence[CommitAttempt]) -> T:
        try:
            return await self._call(function)
        except BaseException as error:
            if not isinstance(error, Exception):
                error.add_note(in_doubt(attempts))
            raise

    # ---- life ----

    async def initialize(self) -> None:
        await self._call(self._called.initialize)

    async def close(self) -> None:
        """Finish what was accepted, also for callers that were cancelled, then close."""
        await self._end(lambda engine: engine.close())

    async def drop(self) -> None:
        await self._end(lambda engine: engine.drop())

    async def _end(self, end: Callable[[PersistenceEngine], None]) -> None:
        from anyio import CancelScope

        # Where a cancelled scope is left, every `await` would be cancelled again.
        with CancelScope(shield=True):
            await self._finish(end)

    # ---- commits ----

    async def commit(self, attempt: CommitAttempt) -> Commit:
        attempts = checked_attempts((attempt,))
        return await self._settled(lambda: self._called.commit(attempt), attempts)

    async def commit_many(self, attempts: Iterable[CommitAttempt]) -> list[Commit]:
        attempts = checked_attempts(attempts)
        return await self._settled(lambda: self._called.commit_many(attempts), attempts)

    # ---- reads ----

    async def _pages(self, iterate: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
        reading = _Reading(await self._call(iterate))
        try:
            while page := await self._call(reading.page):
                for item in page:
                    yield item
        finally:
            reading.close()

    def get_from(
        self, bucket_id: str, stream_id: str, min_revision: int = 0, max_revision: int | None = None
    ) -> AsyncIterator[Commit]:
        return self._pages(lambda: self._called.get_from(bucket_id, stream_id, min_revision, max_revision))

    def get_from_checkpoint(
        self, checkpoint_token: int = 0, to_checkpoint: int | None = None, *, bucket_id: str | None = None
    ) -> AsyncIterator[Commit]:
        return self._pages(
            lambda: self._called.get_from_checkpoint(checkpoint_token, to_checkpoint, bucket_id=bucket_id)
        )

    def get_from_date(
        self, start: datetime, end: datetime | None = None, *, bucket_id: str | None = None
    ) -> AsyncIterator[Commit]:
        return self._pages(lambda: self._called.get_from_date(start, end, bucket_id=bucket_id))

    # ---- snapshots ----

    async def get_snapshot(self, bucket_id: str, stream_id: str, max_revision: int | None = None) -> Snapshot | None:
        return await self._call(self._called.get_snapshot, bucket_id, stream_id, max_revision)

    async def add_snapshot(self, snapshot: Snapshot) -> bool:
        return await self._call(self._called.add_snapshot, snapshot)

    def get_streams_to_snapshot(self, bucket_id: str, max_threshold: int) -> AsyncIterator[StreamHead]:
        return self._pages(lambda: self._called.get_streams_to_snapshot(bucket_id, max_threshold))

    # ---- dispatch marks, deletion ----

    def get_undispatched_commits(self) -> AsyncIterator[Commit]:
        return self._pages(self._called.get_undispatched_commits)

    async def mark_commit_as_dispatched(self, commit: Commit) -> None:
        await self._call(self._called.mark_commit_as_dispatched, commit)

    async def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        await self._call(self._called.delete_stream, bucket_id, stream_id)

    async def purge(self, bucket_id: str | None = None) -> None:
        await self._call(self._called.purge, bucket_id)


def in_another_loop() -> StoreClosedError:
    """What a task is told that uses the store of another event loop."""
    return StoreClosedError("this store was opened in another event loop: open one in each, and close it there")


def in_doubt(attempts: Sequence[CommitAttempt]) -> str:
    """What a cancelled caller should know of its commits."""
    names = ", ".join(map(named, attempts[:3]))
    return (
        f"cancelled while it was being stored: {names}{' …' if len(attempts) > 3 else ''} is stored whole or not at "
        "all; committing the same attempt again settles it (DuplicateCommitError: it was stored)"
    )
