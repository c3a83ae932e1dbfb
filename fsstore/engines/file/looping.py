"""What commits need of the running event loop: that a thread can have it call something, and signals.

Written for asyncio and for trio, as nothing that serves both is as quick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from fsstore.engines.calling import in_another_loop


class Signal(Protocol):
    """Set once, awaited by one task, both in the event loop."""

    def set(self) -> None: ...

    def wait(self) -> Awaitable[object]: ...


class EventLoop(Protocol):
    """The loop that ran when this was made."""

    def soon(self, call: Callable[[], None], /) -> object:
        """Have the loop call it; from any thread. `RuntimeError` when the loop has ended."""

    def signal(self) -> Signal:
        """For a task of this loop; `StoreClosedError` in another one."""


def event_loop() -> EventLoop:
    """The one that runs."""
    try:
        return _Asyncio(asyncio.get_running_loop())
    except RuntimeError:
        return _Trio()


class _AsyncioSignal:
    """A bare future: anyio's event costs several times as much, on the way of every commit."""

    __slots__ = ("_future",)

    def __init__(self, future: Any) -> None:
        self._future = future

    def set(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    def wait(self) -> Awaitable[object]:
        return self._future  # type: ignore[no-any-return]


class _Asyncio:
    def __init__(self, loop: Any) -> None:
        self.soon = loop.call_soon_threadsafe
        self._loop = loop
        self._future = loop.create_future

    def signal(self) -> Signal:
        if asyncio._get_running_loop() is not self._loop:
            raise in_another_loop()
        return _AsyncioSignal(self._future())


class _Trio:
    def __init__(self) -> None:
        import trio

        self._trio = trio
        self._token = trio.lowlevel.current_trio_token()
        self.soon = self._token.run_sync_soon

    def signal(self) -> Signal:
        try:
            here = self._trio.lowlevel.current_trio_token() is self._token
        except RuntimeError:  # it is not trio that runs
            here = False
        if not here:
            raise in_another_loop()
        return self._trio.Event()
