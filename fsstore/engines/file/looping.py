"""What commits need of the running event loop: that a thread can have it call something, and signals.

Written for asyncio and for trio, as nothing that serves both is as quick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from fsstore.engines.calling import in_another_loop


class EventLoop(Protocol):
    """The loop that ran when this was made."""

    def soon(self, call: Callable[[], None], /) -> object:
        """Have the loop call it; from any thread. `RuntimeError` when the loop has ended."""

    def signal(self) -> tuple[Awaitable[object], Callable[[], object]]:
        """What a task of this loop awaits, and what ends that, called in the loop; `StoreClosedError` in another."""


def event_loop() -> EventLoop:
    """The one that runs."""
    try:
        return _Asyncio(asyncio.get_running_loop())
    except RuntimeError:
        return _Trio()


class _Asyncio:
    """Its signals are bare futures: anyio's event costs several times as much, on the way of every commit."""

    def __init__(self, loop: Any) -> None:
        self.soon = loop.call_soon_threadsafe
        self._loop = loop
        self._future = loop.create_future

    def signal(self) -> tuple[Awaitable[object], Callable[[], object]]:
        if asyncio._get_running_loop() is not self._loop:
            raise in_another_loop()
        future = self._future()
        return future, partial(_end, future)


def _end(future: Any) -> None:
    if not future.done():
        future.set_result(None)


class _TrioSignal:
    def __init__(self, event: Any) -> None:
        self._event = event

    def __await__(self) -> Any:
        return self._event.wait().__await__()


class _Trio:
    def __init__(self) -> None:
        import trio

        self._trio = trio
        self._token = trio.lowlevel.current_trio_token()
        self.soon = self._token.run_sync_soon

    def signal(self) -> tuple[Awaitable[object], Callable[[], object]]:
        try:
            here = self._trio.lowlevel.current_trio_token() is self._token
        except RuntimeError:  # it is not trio that runs
            here = False
        if not here:
            raise in_another_loop()
        event = self._trio.Event()
        return _TrioSignal(event), event.set
