"""The store for the tasks of one event loop: the rules of `StoreRules`, awaited, over any asynchronous engine.

Hooks and dispatchers may be functions or coroutine functions. Knows the engine's seam and no engine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, nullcontext
from typing import Any, overload
from uuid import UUID

from fsstore.aio.delivery import AsyncSubscription, AsyncSubscriptions, InLoop, selecting_in_loop
from fsstore.aio.stream import AsyncEventStream, CreatedStream
from fsstore.engine import AsyncPersistenceEngine
from fsstore.hooks import Hooks
from fsstore.model import DEFAULT_BUCKET, Commit, CommitAttempt, Snapshot, checked_id
from fsstore.steps import run_async
from fsstore.store import StoreRules


class AsyncEventStore(StoreRules):
    """Streams of commits, shared by all tasks of one event loop; `async with` closes it.

    The words and errors of `EventStore`. After `close()` every call raises `StoreClosedError`.
    """

    _subscriptions: AsyncSubscriptions | None

    def __init__(
        self, engine: AsyncPersistenceEngine, hooks: Iterable[Any] | Hooks = (), scheduler: Any = None
    ) -> None:
        super().__init__(engine, hooks, scheduler)

    # ---- streams ----

    def create_stream(self, stream_id: str | UUID, *, bucket_id: str | UUID = DEFAULT_BUCKET) -> CreatedStream:
        """An empty stream, nothing read; a plain call, which may be awaited too. That it is new shows when it is
        committed."""
        self._check()
        return CreatedStream(self, checked_id(bucket_id, "bucket_id"), checked_id(stream_id, "stream_id"))

    @overload
    async def open_stream(
        self,
        stream_id: str | UUID,
        min_revision: int = 0,
        max_revision: int | None = None,
        *,
        bucket_id: str | UUID = DEFAULT_BUCKET,
    ) -> AsyncEventStream: ...

    @overload
    async def open_stream(self, snapshot: Snapshot, max_revision: int | None = None) -> AsyncEventStream: ...

    async def open_stream(self, *arguments: Any, **named: Any) -> AsyncEventStream:
        """The stream with the events of a range, or with those after a snapshot; as `EventStore.open_stream`."""
        opened, reading = self._opening(AsyncEventStream, arguments, named)
        await run_async(reading)
        return opened

    # ---- commits ----

    async def commit(self, attempt: CommitAttempt) -> Commit | None:
        """Store `attempt`; `None` when a hook refused it. Errors as with `EventStore.commit`."""
        return await run_async(self.committing(attempt))

    async def get_from(
        self,
        stream_id: str | UUID,
        min_revision: int = 0,
        max_revision: int | None = None,
        *,
        bucket_id: str | UUID = DEFAULT_BUCKET,
    ) -> AsyncGenerator[Commit, None]:
        """The commits that touch that range, oldest first, as the hooks leave them."""
        names = checked_id(bucket_id, "bucket_id"), checked_id(stream_id, "stream_id")
        # Left early, a generator inside would wait for the collector, of which trio warns.
        async with aclosing(self.read_stream(*names, min_revision, max_revision)) as pairs:
            async for _, selected in pairs:
                if selected is not None:
                    yield selected

    async def read_stream(
        self, bucket_id: str, stream_id: str, min_revision: int, max_revision: int | None
    ) -> AsyncGenerator[tuple[Commit, Commit | None], None]:
        """Each commit as it is stored and as the hooks leave it; `None` where they hide it."""
        self._check()
        read = self._engine.get_from(bucket_id, stream_id, min_revision, max_revision)
        async with aclosing(read) if hasattr(read, "aclose") else nullcontext(read) as commits:
            async for commit in commits:
                yield commit, await run_async(self._hooks.selecting(commit))

    # ---- dispatch ----

    async def start_dispatching(self) -> None:
        """Begin to deliver; needed after `dispatch_to(…, start=False)` only. Harmless when repeated."""
        self._check()
        if self._scheduler is not None:
            await self._scheduler.start()

    def subscribe(
        self, name: str, *, from_checkpoint: int = 0, bucket_id: str | UUID | None = None, **options: Any
    ) -> AsyncSubscription:
        """The commits after `from_checkpoint` for `async for`; a plain call. As `EventStore.subscribe`."""
        return self.subscriptions.subscribe(name, from_checkpoint=from_checkpoint, bucket_id=bucket_id, **options)

    @property
    def subscriptions(self) -> AsyncSubscriptions:
        """What is remembered under all names: `all`, `reset`, `delete`."""
        self._check()
        if self._subscriptions is None:
            select = selecting_in_loop(self._hooks, InLoop()) if self._hooks.change_reading else None
            # Without an engine for threads behind it, it is no DeliveryEngine, which the first step says.
            self._subscriptions = AsyncSubscriptions(getattr(self._engine, "blocking", self._engine), select)
        return self._subscriptions

    # ---- the rest ----

    @property
    def advanced(self) -> AsyncPersistenceEngine:
        """The engine underneath. Where hooks want to hear of purges and deletions, it tells them."""
        self._check()
        engine: AsyncPersistenceEngine = self._engine
        return _WatchedEngine(engine, self._hooks) if self._hooks.watch_deletion else engine

    async def close(self) -> None:
        """Stop delivering, close subscriptions, hooks and the engine, as `EventStore.close`."""
        from anyio import CancelScope

        # Where a cancelled scope is left, every `await` would be cancelled again.
        with CancelScope(shield=True):
            try:
                await run_async(self.closing())
            except Exception:
                raise
            except BaseException:  # asyncio's own cancelling knows no shield
                await run_async(self._closing_on())
                raise

    async def __aenter__(self) -> AsyncEventStore:
        self._check()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


@AsyncPersistenceEngine.register  # since Python 3.12, a protocol asks no `__getattr__`
class _WatchedEngine:
    """The engine, with the hooks told of what is deleted through it."""

    def __init__(self, engine: AsyncPersistenceEngine, hooks: Hooks) -> None:
        self._engine = engine
        self._hooks = hooks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def purge(self, bucket_id: str | None = None) -> None:
        await self._engine.purge(bucket_id)
        await run_async(self._hooks.purged(bucket_id))

    async def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        await self._engine.delete_stream(bucket_id, stream_id)
        await run_async(self._hooks.deleted(bucket_id, stream_id))
