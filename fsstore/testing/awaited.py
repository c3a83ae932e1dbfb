"""An asynchronous engine as one for threads, so that the conformance suite holds it to the same promises.

An event loop runs in a thread; every call is carried out there and waited for. No test is written twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from datetime import datetime
from functools import lru_cache
from threading import Thread
from typing import Any, TypeAlias, TypeVar, TypeVarTuple

from fsstore.engine import AsyncPersistenceEngine
from fsstore.model import Commit, CommitAttempt, Snapshot, StreamHead

T = TypeVar("T")
Given = TypeVarTuple("Given")
Run: TypeAlias = Callable[..., Any]
"""Has a function called in an event loop; gives what it, or the coroutine that it gives, returns."""


@lru_cache(maxsize=2)
def event_loop(backend: str) -> Run:
    """The way into an event loop that runs as long as the process; `backend` is "asyncio" or "trio"."""
    if backend == "asyncio":
        return _asyncio()
    import anyio
    from anyio.from_thread import BlockingPortal

    opened: Future[BlockingPortal] = Future()

    async def run() -> None:
        async with BlockingPortal() as portal:
            opened.set_result(portal)
            await portal.sleep_until_stopped()

    Thread(target=anyio.run, args=(run,), kwargs={"backend": backend}, name=f"tests' {backend}", daemon=True).start()
    return opened.result().call


def _asyncio() -> Run:
    """What a portal does, for half of its price: that is a third of the time of a suite."""
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="tests' asyncio", daemon=True).start()

    async def called(function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
        answer = function(*given)
        return await answer if isinstance(answer, Awaitable) else answer

    def run(function: Callable[..., Any], *given: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(called(function, given), loop).result()

    return run


class AwaitedEngine:
    """A `PersistenceEngine` over what `make` gives. `backend`: "asyncio" or "trio"."""

    def __init__(self, make: Callable[[], AsyncPersistenceEngine], *, backend: str = "asyncio") -> None:
        self._run = event_loop(backend)
        self._engine: AsyncPersistenceEngine = self._run(make)

    def _call(self, function: Callable[[*Given], Coroutine[Any, Any, T]], *given: *Given) -> T:
        answer: T = self._run(function, *given)
        return answer

    def initialize(self) -> None:
        self._call(self._engine.initialize)

    def close(self) -> None:
        self._call(self._engine.close)

    def drop(self) -> None:
        self._call(self._engine.drop)

    def commit(self, attempt: CommitAttempt) -> Commit:
        return self._call(self._engine.commit, attempt)

    def commit_many(self, attempts: Iterable[CommitAttempt]) -> list[Commit]:
        return self._call(self._engine.commit_many, attempts)

    def _each(self, make: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
        items: AsyncIterator[T] = self._run(make)
        return self._walk(items)

    def _walk(self, items: AsyncIterator[T]) -> Iterator[T]:
        async def following() -> tuple[bool, Any]:
            try:
                return True, await anext(items)
            except StopAsyncIteration:
                return False, None

        there_is_more = True
        try:
            while (found := self._call(following))[0]:
                yield found[1]
            there_is_more = False
        finally:
            close = getattr(items, "aclose", None) if there_is_more else None
            if close is not None:
                self._call(close)

    def get_from(
        self, bucket_id: str, stream_id: str, min_revision: int = 0, max_revision: int | None = None
    ) -> Iterator[Commit]:
        return self._each(lambda: self._engine.get_from(bucket_id, stream_id, min_revision, max_revision))

    def get_from_checkpoint(
        self, checkpoint_token: int = 0, to_checkpoint: int | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        return self._each(
            lambda: self._engine.get_from_checkpoint(checkpoint_token, to_checkpoint, bucket_id=bucket_id)
        )

    def get_from_date(
        self, start: datetime, end: datetime | None = None, *, bucket_id: str | None = None
    ) -> Iterator[Commit]:
        return self._each(lambda: self._engine.get_from_date(start, end, bucket_id=bucket_id))

    def get_snapshot(self, bucket_id: str, stream_id: str, max_revision: int | None = None) -> Snapshot | None:
        return self._call(self._engine.get_snapshot, bucket_id, stream_id, max_revision)

    def add_snapshot(self, snapshot: Snapshot) -> bool:
        return self._call(self._engine.add_snapshot, snapshot)

    def get_streams_to_snapshot(self, bucket_id: str, max_threshold: int) -> Iterator[StreamHead]:
        return self._each(lambda: self._engine.get_streams_to_snapshot(bucket_id, max_threshold))

    def get_undispatched_commits(self) -> Iterator[Commit]:
        return self._each(self._engine.get_undispatched_commits)

    def mark_commit_as_dispatched(self, commit: Commit) -> None:
        self._call(self._engine.mark_commit_as_dispatched, commit)

    def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        self._call(self._engine.delete_stream, bucket_id, stream_id)

    def purge(self, bucket_id: str | None = None) -> None:
        self._call(self._engine.purge, bucket_id)
