"""An engine with an asyncio driver, for tasks: its calls in greenlets of the event loop, with no thread of ours.

What the engine does stands in the engine, once; `waiting.py` has it wait. Under asyncio only: those drivers know no
other event loop.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from fsstore.engine import PersistenceEngine
from fsstore.engines.arguments import checked_attempts
from fsstore.engines.calling import CallingEngine
from fsstore.engines.threaded import ThreadedEngine
from fsstore.engines.waiting import in_greenlet
from fsstore.model import Commit, CommitAttempt

T = TypeVar("T")

# A larger batch is stored by a thread, so that the event loop is not kept from its other tasks.
_MAX_ATTEMPTS_IN_LOOP = 32


def possible(*modules: str) -> bool:
    """Whether this is asyncio's event loop, and the driver's modules are installed."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return all(importlib.util.find_spec(module) for module in ("greenlet", *modules))


class TaskEngine(CallingEngine):
    """An `AsyncPersistenceEngine` over `called`, which waits with `TaskWaiting`; at most `max_calls` at once.

    `blocking` is an engine for threads on the same store: delivery reads through it.
    """

    def __init__(
        self,
        called: PersistenceEngine,
        blocking: PersistenceEngine,
        *,
        max_calls: int,
        spawn: Callable[..., Coroutine[Any, Any, Any]] = in_greenlet,
    ) -> None:
        super().__init__(called)
        self.blocking = blocking
        self._in_threads = ThreadedEngine(blocking)
        self._spawn = spawn
        self._turns = asyncio.Semaphore(max_calls)
        self._under_way: set[asyncio.Task[Any]] = set()
        self._dropped = False

    async def initialize(self) -> None:
        await super().initialize()
        if self._dropped:
            await self._in_threads.initialize()
            self._dropped = False

    async def drop(self) -> None:
        await super().drop()
        self._dropped = True

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        self._check_loop()
        return await self._carried_out(function, *arguments)

    async def _carried_out(self, function: Callable[..., T], *arguments: Any) -> T:
        await self._turns.acquire()
        # A task of its own, as cancelling a driver in the middle of a transaction would cost the connection.
        task = asyncio.create_task(self._spawn(function, *arguments))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        self._turns.release()
        if not task.cancelled():
            task.exception()  # asked for, or asyncio would log that nobody did where its caller was cancelled

    async def _finish(self, end: Callable[[PersistenceEngine], None]) -> None:
        await self._carried_out(end, self._called)
        await self._in_threads._end(end)

    async def commit_many(self, attempts: Iterable[CommitAttempt]) -> list[Commit]:
        attempts = checked_attempts(attempts)
        if len(attempts) > _MAX_ATTEMPTS_IN_LOOP:
            return await self._in_threads.commit_many(attempts)
        return await super().commit_many(attempts)
