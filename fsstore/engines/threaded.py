"""Any engine for tasks: each call in a thread of a bounded pool, so that the event loop never waits for a disk.

The asynchronous twin of every engine that has no driver of its own for asyncio. It knows the protocol and anyio
(extra `aio`), and no engine.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from fsstore.engine import AsyncPersistenceEngine, PersistenceEngine
from fsstore.model import Commit, CommitAttempt, Snapshot, StreamHead

T = TypeVar("T")
_PAGE = 256


class ThreadedEngine:
    """An `AsyncPersistenceEngine` over `blocking`, with at most `max_threads` calls under way at once."""

    def __init__(self, blocking: PersistenceEngine, *, max_threads: int = 8) -> None:
        try:
            import anyio.to_thread
        except ImportError as error:
            raise ImportError("asynchronous stores need the package anyio: pip install 'fsstore[aio]'") from error
        if max_threads < 1:
            raise ValueError(f"max_threads must be at least 1, not {max_threads}")
        self.blocking = blocking
        self._run_sync = anyio.to_thread.run_sync
        self._limiter = anyio.CapacityLimiter(max_threads)
        self._under_way = 0
        self._idle = threading.Condition()

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        """The function's result. Cancelled, the thread goes on to the end of its call."""
        return await self._run_sync(lambda: self._counted(function, *arguments), limiter=self._limiter)

    def _counted(self, function: Callable[..., T], *arguments: Any) -> T:
        with self._idle:
            self._under_way += 1
        try:
            return function(*arguments)
        finally:
            with self._idle:
                self._under_way -= 1
                self._idle.notify_all()

    async def _settled(self, function: Callable[..., T], attempts: Sequence[CommitAttempt]) -> T:
        try:
            return await self._call(function)
        except BaseException as error:
            if not isinstance(error, Exception):
                error.add_note(in_doubt(attempts))
            raise

    # ---- life ----

    async def initialize(self) -> None:
        await self._call(self.blocking.initialize)

    async def close(self) -> None:
        """Wait for the calls that were cancelled and go on in their threads, then close."""
        await self._run_sync(self._finish, self.blocking.close)

    async def drop(self) -> None:
        await self._run_sync(self._finish, self.blocking.drop)

    def _finish(self, end: Callable[[], None]) -> None:
        with self._idle:
            while self._under_way:
                self._idle.wait()
        end()

    # ---- commits ----

    async def commit(self, attempt: CommitAttempt) -> Commit:
        return await self._settled(lambda: self.blocking.commit(attempt), (attempt,))

    async def commit_many(self, attempts: Sequence[CommitAttempt]) -> list[Commit]:
        return await self._settled(lambda: self.blocking.commit_many(attempts), attempts)

    # ---- reads ----

    async def _pages(self, iterate: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
        iterator = await self._call(iterate)
        try:
            while page := await self._call(lambda: list(islice(iterator, _PAGE))):
                for item in page:
                    yield item
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def get_from(
        self, bucket_id: str, stream_id: str, min_revision: int = 0, max_revision: int | None = None
    ) -> AsyncIterator[Commit]:
        return self._pages(lambda: self.blocking.get_from(bucket_id, stream_id, min_revision, max_revision))

    def get_from_checkpoint(
        self, checkpoint_token: int = 0, to_checkpoint: int | None = None, *, bucket_id: str | None = None
    ) -> AsyncIterator[Commit]:
        return self._pages(
            lambda: self.blocking.get_from_checkpoint(checkpoint_token, to_checkpoint, bucket_id=bucket_id)
        )

    def get_from_date(
        self, start: datetime, end: datetime | None = None, *, bucket_id: str | None = None
    ) -> AsyncIterator[Commit]:
        return self._pages(lambda: self.blocking.get_from_date(start, end, bucket_id=bucket_id))

    # ---- snapshots ----

    async def get_snapshot(self, bucket_id: str, stream_id: str, max_revision: int | None = None) -> Snapshot | None:
        return await self._call(self.blocking.get_snapshot, bucket_id, stream_id, max_revision)

    async def add_snapshot(self, snapshot: Snapshot) -> bool:
        return await self._call(self.blocking.add_snapshot, snapshot)

    def get_streams_to_snapshot(self, bucket_id: str, max_threshold: int) -> AsyncIterator[StreamHead]:
        return self._pages(lambda: self.blocking.get_streams_to_snapshot(bucket_id, max_threshold))

    # ---- dispatch marks, deletion ----

    def get_undispatched_commits(self) -> AsyncIterator[Commit]:
        return self._pages(self.blocking.get_undispatched_commits)

    async def mark_commit_as_dispatched(self, commit: Commit) -> None:
        await self._call(self.blocking.mark_commit_as_dispatched, commit)

    async def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        await self._call(self.blocking.delete_stream, bucket_id, stream_id)

    async def purge(self, bucket_id: str | None = None) -> None:
        await self._call(self.blocking.purge, bucket_id)


def awaiting(engine: Any) -> AsyncPersistenceEngine:
    """`engine` for tasks: itself if it is that already, its own twin if it has one, otherwise in threads."""
    if inspect.iscoroutinefunction(engine.commit):
        return engine  # type: ignore[no-any-return]
    make = getattr(engine, "awaiting", None)
    return make() if make is not None else ThreadedEngine(engine)


def blocking(engine: AsyncPersistenceEngine) -> PersistenceEngine:
    """The engine for threads behind one for tasks; `TypeError` when it has none."""
    behind = getattr(engine, "blocking", None)
    if behind is None:
        raise TypeError(f"{type(engine).__name__} has no `blocking` engine, through which delivery reads")
    return behind  # type: ignore[no-any-return]


def in_doubt(attempts: Sequence[CommitAttempt]) -> str:
    """What a cancelled caller should know of its commits."""
    named = ", ".join(
        f"commit {attempt.commit_id} of stream {attempt.stream_id!r} in bucket {attempt.bucket_id!r}"
        for attempt in attempts[:3]
    )
    return (
        f"cancelled while it was being stored: {named}{' …' if len(attempts) > 3 else ''} is stored whole or not at "
        "all; committing the same attempt again settles it (DuplicateCommitError: it was stored)"
    )
