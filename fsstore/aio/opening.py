"""A store that is about to be opened: awaited, or entered with `async with`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any

from fsstore.aio.store import AsyncEventStore


class OpeningStore:
    """What `fsstore.open_async` gives. Nothing is opened before it is awaited or entered."""

    def __init__(self, build: Callable[[], Coroutine[Any, Any, AsyncEventStore]]) -> None:
        self._build = build
        self._store: AsyncEventStore | None = None

    def __await__(self) -> Generator[Any, Any, AsyncEventStore]:
        return self._build().__await__()

    async def __aenter__(self) -> AsyncEventStore:
        self._store = await self._build()
        return self._store

    async def __aexit__(self, *_: object) -> None:
        if self._store is not None:
            await self._store.close()
