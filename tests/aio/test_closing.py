"""What `async with` promises to close is closed, also when the block is left because its scope was cancelled."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Callable
from contextlib import aclosing, suppress
from pathlib import Path

import anyio
import pytest

from fsstore import AsyncEventStore, Commit, DispatchError, LeaseLostError, PersistenceEngine, StoreClosedError, Wireup
from fsstore.engine import Lease
from fsstore.engines.file import FileEngine
from fsstore.engines.memory import MemoryEngine
from fsstore.testing import first_attempt

pytestmark = pytest.mark.anyio


class Receiver:
    closed = False

    async def dispatch(self, commit: Commit) -> None: ...

    async def close(self) -> None:
        await anyio.sleep(0)
        self.closed = True


@pytest.fixture(params=["memory", "file"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> PersistenceEngine:
    return MemoryEngine() if request.param == "memory" else FileEngine(tmp_path / "a.store")


async def test_a_subscription_in_a_cancelled_scope(store: AsyncEventStore) -> None:
    await store.commit(first_attempt("order"))
    with anyio.CancelScope() as scope:
        async with store.subscribe("audit") as audit:
            await audit.acknowledge(await anext(audit))
            scope.cancel()
            await anyio.sleep(0)
    assert scope.cancelled_caught
    await store.subscriptions.reset("audit", 0)


@pytest.mark.parametrize(
    "schedule", [Wireup.using_synchronous_dispatch_scheduler, Wireup.using_asynchronous_dispatch_scheduler]
)
async def test_a_store_in_a_cancelled_scope(engine: PersistenceEngine, schedule: Callable[..., Wireup]) -> None:
    receiver = Receiver()
    with anyio.CancelScope() as scope:
        async with await schedule(Wireup.init().using_engine(engine), receiver).build_async() as store:
            await store.commit(first_attempt("order"))
            await anext(store.subscribe("audit"))
            scope.cancel()
            await anyio.sleep(0)
    assert receiver.closed
    with pytest.raises(StoreClosedError):
        engine.commit(first_attempt("another"))


class Hook:
    closed = False

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    "schedule", [Wireup.using_synchronous_dispatch_scheduler, Wireup.using_asynchronous_dispatch_scheduler]
)
async def test_a_store_whose_opening_is_cancelled(schedule: Callable[..., Wireup]) -> None:
    scope = anyio.CancelScope()

    class Engine(MemoryEngine):
        def initialize(self) -> None:
            super().initialize()
            anyio.from_thread.run_sync(scope.cancel)

    receiver, hook, store = Receiver(), Hook(), None
    wireup = schedule(Wireup.init().using_engine(Engine()).hook_into_pipeline_using(hook), receiver)
    with scope:
        store = await wireup.build_async()
    assert (store, receiver.closed, hook.closed) == (None, True, True)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_store_whose_task_is_cancelled_while_it_delivers_what_was_left(engine: PersistenceEngine) -> None:
    engine.initialize()
    engine.commit(first_attempt("order"))
    begun = asyncio.Event()

    class Slow(Receiver):
        async def dispatch(self, commit: Commit) -> None:
            begun.set()
            await anyio.sleep(0.05)
            assert not self.closed

    receiver, hook = Slow(), Hook()
    wireup = Wireup.init().using_engine(engine).hook_into_pipeline_using(hook)
    opening = asyncio.create_task(wireup.using_synchronous_dispatch_scheduler(receiver).build_async())
    await begun.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert (receiver.closed, hook.closed) == (True, True)


@pytest.mark.parametrize(
    "schedule", [Wireup.using_synchronous_dispatch_scheduler, Wireup.using_asynchronous_dispatch_scheduler]
)
async def test_a_dispatcher_may_close_its_store(engine: PersistenceEngine, schedule: Callable[..., Wireup]) -> None:
    closed = anyio.Event()

    async def close(commit: Commit) -> None:
        await store.close()
        closed.set()

    store = await schedule(Wireup.init().using_engine(engine), close).build_async()
    with anyio.fail_after(20), suppress(DispatchError):
        await store.commit(first_attempt("order"))
        await closed.wait()


async def test_start_dispatching_can_be_asked_for_again_after_it_was_cancelled(engine: PersistenceEngine) -> None:
    delivered = anyio.Event()
    wireup = Wireup.init().using_engine(engine).using_asynchronous_dispatch_scheduler()
    async with await wireup.dispatch_to(lambda commit: delivered.set(), start=False).build_async() as store:
        await store.commit(first_attempt("order"))
        with anyio.CancelScope() as scope:
            scope.cancel()
            await store.start_dispatching()
        for _ in range(2):
            await store.start_dispatching()
        with anyio.fail_after(20):
            await delivered.wait()


async def test_an_engine_in_a_cancelled_scope(engine: PersistenceEngine) -> None:
    store = await Wireup.init().using_engine(engine).build_async()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.advanced.close()
    with pytest.raises(StoreClosedError):
        engine.commit(first_attempt("order"))


async def test_a_stored_commit_is_delivered_whoever_is_cancelled_then(engine: PersistenceEngine) -> None:
    delivered: list[int] = []

    class Hook:
        async def post_commit(self, commit: Commit) -> None:
            scope.cancel()
            await anyio.sleep(0)

    wireup = Wireup.init().using_engine(engine).hook_into_pipeline_using(Hook())
    wireup.dispatch_to(lambda commit: delivered.append(commit.checkpoint_token))
    async with await wireup.build_async() as store:
        with anyio.CancelScope() as scope:
            await store.commit(first_attempt("order"))
        assert scope.cancelled_caught
        assert delivered == [1]


def test_closing_that_asyncio_cancels_at_any_step_is_done_all_the_same(tmp_path: Path) -> None:
    async def close_cancelled_after(steps: int) -> None:
        engine = FileEngine(tmp_path / f"{steps}.store")
        store = await Wireup.init().using_engine(engine).dispatch_to(Receiver()).build_async()
        closing = asyncio.create_task(store.close())
        for _ in range(steps):
            await asyncio.sleep(0)
        closing.cancel()
        with suppress(asyncio.CancelledError):
            await closing
        if steps:  # else it had not begun
            with pytest.raises(StoreClosedError, match="is closed"):
                engine.opened()
        await store.close()

    for steps in range(30):
        asyncio.run(close_cancelled_after(steps))


async def test_everything_is_closed_whatever_fails_and_the_first_error_is_raised() -> None:
    class FullEngine(MemoryEngine):
        def release_lease(self, lease: Lease) -> None:
            raise OSError(f"no space to release {lease.name}")

    class Hook:
        async def close(self) -> None:
            raise RuntimeError("the hook fails")

    engine = FullEngine()
    receiver = Receiver()
    wireup = Wireup.init().using_engine(engine).hook_into_pipeline_using(Hook())
    store = await wireup.using_asynchronous_dispatch_scheduler(receiver).build_async()
    await store.commit(first_attempt("order"))
    audit = store.subscribe("audit")
    await anext(audit)
    with pytest.raises(OSError, match="no space to release subscription/audit") as raised:
        async with store:
            pass
    assert raised.value.__notes__ == ["also failed: RuntimeError: the hook fails"]
    assert receiver.closed
    with pytest.raises(StoreClosedError):
        engine.commit(first_attempt("another"))


async def test_a_hook_may_close_the_store_whose_subscription_called_it(engine: PersistenceEngine) -> None:
    """As in a store for threads, where the same thread closes it."""

    class Closing:
        async def select_commit(self, commit: Commit) -> Commit:
            await store.close()
            return commit

    store = await Wireup.init().using_engine(engine).hook_into_pipeline_using(Closing()).build_async()
    await store.commit(first_attempt("order"))
    audit = store.subscribe("audit")
    with anyio.fail_after(20):
        assert [commit.stream_id async for commit in audit] == ["order"]
        await audit.close()
        await store.close()
    with pytest.raises(StoreClosedError):
        await store.open_stream("order")


async def test_a_hook_may_subscribe_anew_to_what_called_it(engine: PersistenceEngine) -> None:
    anew: list[str] = []

    class Subscribing:
        async def select_commit(self, commit: Commit) -> Commit:
            if not anew:
                anew.append("begun")
                anew.extend([each.stream_id async for each in store.subscribe("audit", timeout_seconds=0)])
            return commit

    async with (
        await Wireup.init().using_engine(engine).hook_into_pipeline_using(Subscribing()).build_async() as store,
        store.subscribe("audit") as audit,
    ):
        await store.commit(first_attempt("order"))
        with anyio.fail_after(20):
            assert (await anext(audit)).stream_id == "order"
            with pytest.raises(LeaseLostError):
                await anext(audit)
            assert [each.stream_id async for each in store.subscribe("audit", timeout_seconds=0)] == ["order"]
    assert anew == ["begun"]


@pytest.mark.parametrize("cyclic", [False, True])
async def test_an_abandoned_subscription_is_put_down_by_a_thread(cyclic: bool) -> None:
    """What is collected is collected in the event loop, which must not wait for the database."""
    released_by: list[int] = []

    class WatchingEngine(MemoryEngine):
        def release_lease(self, lease: Lease) -> None:
            super().release_lease(lease)
            released_by.append(threading.get_ident())

    async with await Wireup.init().using_engine(WatchingEngine()).build_async() as store:
        await store.commit(first_attempt("order"))
        audit = store.subscribe("audit")
        async for _ in audit:
            break
        if cyclic:
            audit.itself = audit  # type: ignore[attr-defined]
        del audit
        with anyio.fail_after(20):
            while not released_by or store.subscriptions._held:
                gc.collect()  # again: a worker thread may still hold its last call
                await anyio.sleep(0.001)
        assert threading.get_ident() not in released_by
        again = [commit async for commit in store.subscribe("audit", timeout_seconds=0.3)]
        assert [commit.stream_id for commit in again] == ["order"]


async def test_a_subscription_that_was_closed_is_not_held(store: AsyncEventStore) -> None:
    await store.commit(first_attempt("order"))
    for _ in range(3):
        async with store.subscribe("audit") as audit:
            await anext(audit)
    taken_over = store.subscribe("audit")
    await anext(taken_over)
    await anext(store.subscribe("audit"))
    del audit, taken_over
    with anyio.fail_after(20):
        while store.subscriptions._held:
            gc.collect()
            await anyio.sleep(0.001)


async def test_a_reader_that_is_closed_early_leaves_nothing_to_the_collector(store: AsyncEventStore) -> None:
    """Of which trio would warn."""
    await store.commit(first_attempt("order"))
    finalized: list[object] = []
    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(finalizer=finalized.append)
    try:
        async with aclosing(store.get_from("order")) as commits:
            async for _ in commits:
                break
        gc.collect()
    finally:
        sys.set_asyncgen_hooks(*before)
    assert finalized == []


async def test_tasks_that_wait_for_delivery_have_one_thread_among_them(engine: PersistenceEngine) -> None:
    delivered: list[int] = []
    go_on = anyio.Event()

    async def dispatch(commit: Commit) -> None:
        delivered.append(commit.checkpoint_token)
        await go_on.wait()
        if commit.stream_id == "of a task":
            await store.commit(first_attempt(f"of the dispatcher {commit.checkpoint_token}"))

    wireup = Wireup.init().using_engine(engine).using_synchronous_dispatch_scheduler(dispatch)
    async with await wireup.build_async() as store, anyio.create_task_group() as tasks:
        before = threading.active_count()
        for number in range(50):
            tasks.start_soon(store.commit, first_attempt("of a task" if number == 20 else f"order {number}"))
        while len(list(engine.get_from_checkpoint())) < 50 or not delivered:
            await anyio.sleep(0.01)
        await anyio.sleep(0.1)
        most = threading.active_count()
        go_on.set()
    assert delivered == list(range(1, 52))
    assert most - before <= 10
