"""Who waits: a thread, or a task of an event loop. An engine that is written once for both asks here.

In an event loop the engine's plain functions run in a greenlet. Where a thread would wait, the greenlet hands what
it waits for to the task that it runs in, and goes on with the result; meanwhile the loop does other work. It is what
SQLAlchemy's asyncio is built on. Knows no engine.
"""

from __future__ import annotations

import _thread
import asyncio
import inspect
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Waiting(Protocol):
    """What waits."""

    def result(self, answer: Any) -> Any:
        """What a driver's call gave, once it is there."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait so long."""
        ...

    def lock(self, timeout_seconds: float | None = None) -> AbstractContextManager[object]:
        """A lock for those who wait in this way; `TimeoutError` for who would wait longer."""
        ...


class ThreadWaiting:
    """The calling thread waits."""

    def result(self, answer: Any) -> Any:
        return answer

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def lock(self, timeout_seconds: float | None = None) -> AbstractContextManager[object]:
        return _ThreadLock(timeout_seconds)


class _ThreadLock(_thread.RLock):  # type: ignore[misc]  # not final in CPython
    """Let go of in one step, as the lock of `threading` is, which nothing interrupts.

    Who has it already, as where a signal's handler asks in the middle of a call, is refused: it would wait for itself.
    """

    def __init__(self, timeout_seconds: float | None) -> None:
        self._timeout_seconds = -1.0 if timeout_seconds is None else min(timeout_seconds, threading.TIMEOUT_MAX)

    def __enter__(self) -> bool:  # type: ignore[override]
        if self._is_owned():  # type: ignore[attr-defined]
            raise TimeoutError("this thread is in the middle of another call")
        try:
            if not self.acquire(timeout=self._timeout_seconds):
                raise TimeoutError
        except BaseException:
            if self._is_owned():  # type: ignore[attr-defined]
                self.release()  # it was taken where this thread was interrupted right afterwards
            raise
        return True


class TaskWaiting:
    """The task waits that the calling greenlet runs in."""

    def result(self, answer: Any) -> Any:
        if not inspect.isawaitable(answer):
            return answer
        from greenlet import getcurrent

        task = getcurrent().parent
        assert task is not None, "this waits in a greenlet that `in_greenlet` made"
        return task.switch(answer)

    def sleep(self, seconds: float) -> None:
        self.result(asyncio.sleep(seconds))

    def lock(self, timeout_seconds: float | None = None) -> AbstractContextManager[object]:
        return _TaskLock(self, timeout_seconds)


class _TaskLock:
    def __init__(self, waiting: TaskWaiting, timeout_seconds: float | None) -> None:
        self._waiting = waiting
        self._lock = asyncio.Lock()
        self._timeout_seconds = timeout_seconds

    def __enter__(self) -> None:
        self._waiting.result(self._acquire())

    async def _acquire(self) -> None:
        async with asyncio.timeout(self._timeout_seconds):
            await self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


async def in_greenlet(function: Callable[..., T], *arguments: Any) -> T:
    """The function's result, awaiting all that it waits for."""
    from greenlet import getcurrent, greenlet

    running = greenlet(function)
    running.gr_context = getcurrent().gr_context
    result = running.switch(*arguments)
    while not running.dead:
        try:
            answer = await result
        except BaseException:  # raised again where it is waited for
            result = running.throw(*sys.exc_info())
        else:
            result = running.switch(answer)
    return result  # type: ignore[no-any-return]
