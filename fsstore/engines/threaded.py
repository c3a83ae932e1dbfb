"""Any engine for tasks: each call in a thread of a bounded pool, so that the event loop never waits for a disk.

The asynchronous twin of every engine that has no driver of its own for asyncio. It knows the protocol and anyio
(extra `aio`), and no engine.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

from fsstore.engine import AsyncPersistenceEngine, PersistenceEngine
from fsstore.engines.calling import CallingEngine
from fsstore.engines.under_way import UnderWay
from fsstore.model import checked_at_least

T = TypeVar("T")


class ThreadedEngine(CallingEngine):
    """An `AsyncPersistenceEngine` over `blocking`, with at most `max_threads` calls under way at once."""

    def __init__(self, blocking: PersistenceEngine, *, max_threads: int = 8) -> None:
        checked_at_least(max_threads, 1, "max_threads")
        anyio = _anyio()
        super().__init__(blocking)
        self.blocking = blocking
        self._run_sync = anyio.to_thread.run_sync
        self._limiter = anyio.CapacityLimiter(max_threads)
        self._others = range(1, max_threads)
        self._ending = anyio.Lock()
        self._under_way = UnderWay()

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        self._check_loop()
        result: T = await self._run_sync(lambda: self._counted(function, *arguments), limiter=self._limiter)
        return result

    def _counted(self, function: Callable[..., T], *arguments: Any) -> T:
        return self._under_way.make(lambda: function(*arguments))

    async def _finish(self, end: Callable[[PersistenceEngine], None]) -> None:
        # Behind those who wait for a thread already: what they ask for was accepted. And in the place of every thread,
        # as a call that is on its way into one is not counted yet.
        async with self._ending:
            with ExitStack() as places:
                for place in self._others:
                    await self._limiter.acquire_on_behalf_of(place)
                    places.callback(self._limiter.release_on_behalf_of, place)
                await self._run_sync(self._ended, end, limiter=self._limiter)

    def _ended(self, end: Callable[[PersistenceEngine], None]) -> None:
        self._under_way.wait()
        end(self._called)


async def awaiting_made(make: Callable[[], PersistenceEngine]) -> AsyncPersistenceEngine:
    """What `make` gives, for tasks. It may ask a database whose store it holds, so a thread makes it."""
    return awaiting(await in_thread(make))


async def in_thread(call: Callable[[], T]) -> T:
    """What `call` gives, while the event loop goes on."""
    result: T = await _anyio().to_thread.run_sync(call)
    return result


def _anyio() -> Any:
    try:
        import anyio.to_thread
    except ImportError as error:
        raise ImportError("asynchronous stores need the package anyio: pip install 'fsstore[aio]'") from error
    return anyio


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
