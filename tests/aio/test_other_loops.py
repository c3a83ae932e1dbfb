"""A store belongs to the event loop in which it was opened: another one is told, and an ended one leaves no harm."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
import trio

import fsstore
from fsstore import AsyncEventStore, Commit, StoreClosedError, Wireup
from fsstore.dispatch import Parking, Retry
from fsstore.dispatch.delivery import DISPATCHER
from fsstore.engines.memory import MemoryEngine
from fsstore.testing import fill, first_attempt

Use = Callable[[AsyncEventStore], Awaitable[object]]
RUNS = [asyncio.run, trio.run]
USES: dict[str, Use] = {
    "commit": lambda store: store.commit(first_attempt("order")),
    "several commits": lambda store: store.advanced.commit_many([first_attempt("order")]),
    "read": lambda store: store.open_stream("order"),
    "snapshot": lambda store: store.advanced.get_snapshot("default", "order"),
}


@pytest.fixture(params=["memory", "file", "sqlite"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {"memory": "memory:", "file": f"{tmp_path}/a.store", "sqlite": f"sqlite:///{tmp_path}/a.db"}[request.param]


async def opened(target: str) -> AsyncEventStore:
    return await fsstore.open_async(target)


def ran(run: Callable[..., object], main: Callable[[], Awaitable[object]]) -> None:
    run(main() if run is asyncio.run else main)


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("first", RUNS, ids=["asyncio", "trio"])
@pytest.mark.parametrize("second", RUNS, ids=["asyncio", "trio"])
def test_another_loop_is_told(
    target: str, use: Use, first: Callable[..., object], second: Callable[..., object]
) -> None:
    store: AsyncEventStore | None = None

    async def open_it() -> None:
        nonlocal store
        store = await opened(target)

    async def use_it() -> None:
        assert store is not None
        with pytest.raises(StoreClosedError, match="opened in another event loop: open one in each"):
            await use(store)

    async def close_it() -> None:
        assert store is not None
        await store.close()

    ran(first, open_it)
    ran(second, use_it)
    if first is asyncio.run or not target.startswith("sqlite"):
        ran(first, close_it)


@pytest.mark.parametrize("run", RUNS, ids=["asyncio", "trio"])
def test_a_loop_ends_while_its_dispatcher_waits(run: Callable[..., object]) -> None:
    engine = MemoryEngine()
    engine.initialize()
    fill(engine, "order")

    async def main() -> None:
        begun = anyio.Event()

        async def deliver(commit: Commit) -> None:
            begun.set()
            await anyio.sleep_forever()

        await Wireup.init().using_engine(engine).using_asynchronous_dispatch_scheduler(deliver).build_async()
        await begun.wait()

    loop = threading.Thread(target=ran, args=(run, main), daemon=True)
    loop.start()
    loop.join(20)
    assert not loop.is_alive()
    engine.close()


def test_a_loop_that_has_ended_parks_nothing_and_leaves_the_turn_to_others() -> None:
    engine = MemoryEngine()
    engine.initialize()
    fill(engine, "before")

    async def deliver(commit: Commit) -> None: ...

    async def open_and_forget() -> None:
        retry = Retry(initial_backoff_seconds=0.001, max_attempts=1, then="park")
        await (
            Wireup.init().using_engine(engine).using_asynchronous_dispatch_scheduler(deliver, retry=retry).build_async()
        )
        while list(engine.get_undispatched_commits()):
            await asyncio.sleep(0.001)

    asyncio.run(open_and_forget())
    fill(engine, "order", commits=3)
    while (lease := engine.acquire_lease(DISPATCHER, 1.0)) is None:
        assert Parking(engine).commits() == []
        time.sleep(0.001)
    assert lease.fence > 1
    assert len(list(engine.get_undispatched_commits())) == 3
    engine.close()
