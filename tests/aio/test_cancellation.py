"""A cancelled commit is stored whole or not at all, and the store goes on; closing waits for what was accepted."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import fsstore
from fsstore import AsyncEventStore, Commit, CommitAttempt, DuplicateCommitError, Wireup
from fsstore.engines.file import FileEngine
from fsstore.engines.file.awaiting import AsyncFileEngine
from fsstore.engines.memory import MemoryEngine
from fsstore.engines.threaded import ThreadedEngine
from fsstore.testing import first_attempt, next_attempt

pytestmark = pytest.mark.anyio

COMMITS = 10_000
TASKS = 50


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_ten_thousand_commits_with_random_cancellation(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    returned: list[Commit] = []
    cancelled = 0

    async def commit_one(store: AsyncEventStore, stream_id: str) -> None:
        known = [commit async for commit in store.advanced.get_from("default", stream_id, 1)]
        attempt = next_attempt(known[-1], events=2) if known else first_attempt(stream_id, events=2)
        commit = await store.commit(attempt)
        assert commit is not None
        returned.append(commit)

    async def write(store: AsyncEventStore, number: int) -> None:
        nonlocal cancelled
        for step in range(COMMITS // TASKS):
            task = asyncio.create_task(commit_one(store, f"stream {number} {step // 20}"))
            if dice.random() < 0.3:
                for _ in range(dice.randrange(6)):
                    await asyncio.sleep(0)
                task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                cancelled += 1

    engine = AsyncFileEngine(FileEngine(tmp_path / "a.store", durability="os"))
    await engine.initialize()
    async with AsyncEventStore(engine) as store:
        await asyncio.gather(*(write(store, number) for number in range(TASKS)))
    assert cancelled > COMMITS // 100

    with fsstore.open(tmp_path / "a.store") as store_again:
        stored = list(store_again.advanced.get_from_checkpoint())
        assert [each.checkpoint_token for each in stored] == list(range(1, len(stored) + 1))
        assert all(len(each.events) == 2 for each in stored)
        found = set(map(repr, stored))
        assert [commit for commit in returned if repr(commit) not in found] == []
        assert list(FileEngine.verify(store_again.advanced)) == []  # type: ignore[arg-type]


async def test_a_commit_that_still_waits_is_withdrawn(tmp_path: Path) -> None:
    """While another process holds the write lock, the first commit is in doubt and the second was never begun."""
    engine = AsyncFileEngine(FileEngine(tmp_path / "a.store"))
    await engine.initialize()
    with engine._file.writable().locks.write:
        begun = asyncio.create_task(engine.commit(first_attempt("begun")))
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(engine.commit(first_attempt("waiting")))
        await asyncio.sleep(0.05)
        begun.cancel()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError) as in_doubt:
            await begun
        with pytest.raises(asyncio.CancelledError) as withdrawn:
            await waiting
    assert "'begun'" in in_doubt.value.__notes__[0]
    assert "whole or not at all" in in_doubt.value.__notes__[0]
    assert "nothing was stored" in withdrawn.value.__notes__[0]
    await engine.close()
    with fsstore.open(tmp_path / "a.store") as store:
        assert [commit.stream_id for commit in store.advanced.get_from_checkpoint()] == ["begun"]


@pytest.mark.parametrize("target", ["memory", "file"])
async def test_closing_waits_for_what_was_accepted(tmp_path: Path, target: str) -> None:
    store = await fsstore.open_async("memory:" if target == "memory" else tmp_path / "a.store")
    tasks = [asyncio.create_task(store.commit(first_attempt(f"order {number}"))) for number in range(100)]
    await asyncio.sleep(0)
    await store.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    stored = [result for result in results if isinstance(result, Commit)]
    assert all(isinstance(result, Commit | fsstore.StoreClosedError) for result in results)
    if target == "file":
        with fsstore.open(tmp_path / "a.store") as again:
            assert len(list(again.advanced.get_from_checkpoint())) == len(stored)


async def test_closing_waits_for_those_who_wait_for_a_thread() -> None:
    class Slow(MemoryEngine):
        def commit_many(self, attempts: Iterable[CommitAttempt]) -> list[Commit]:
            time.sleep(0.02)
            return super().commit_many(attempts)

    engine = ThreadedEngine(Slow(), max_threads=2)
    tasks = [asyncio.create_task(engine.commit(first_attempt(f"order {number}"))) for number in range(20)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await engine.close()
    assert sorted([(await task).checkpoint_token for task in tasks]) == list(range(1, 21))


async def test_closing_waits_for_those_who_are_on_their_way_into_a_thread() -> None:
    class Late(ThreadedEngine):
        def _counted(self, function: Callable[..., Any], *arguments: Any) -> Any:
            time.sleep(0.05)
            return super()._counted(function, *arguments)

    engine = Late(MemoryEngine(), max_threads=3)
    task = asyncio.create_task(engine.commit(first_attempt("order")))
    await asyncio.sleep(0)
    await asyncio.gather(engine.close(), engine.close())
    assert (await task).checkpoint_token == 1


async def test_the_same_attempt_settles_what_was_in_doubt(tmp_path: Path) -> None:
    async with fsstore.open_async(tmp_path / "a.store") as store:
        attempt = first_attempt("order")
        task = asyncio.create_task(store.commit(attempt))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with contextlib.suppress(DuplicateCommitError):
            await store.commit(attempt)
        assert len([commit async for commit in store.get_from("order")]) == 1


async def test_a_task_that_is_cancelled_while_its_commit_is_delivered_is_told_that_it_is_stored() -> None:
    begun, let_on = asyncio.Event(), asyncio.Event()

    async def deliver(commit: Commit) -> None:
        begun.set()
        await let_on.wait()

    async with await Wireup.init().using_synchronous_dispatch_scheduler(deliver).build_async() as store:
        stream = store.create_stream("order")
        stream.add("event")
        task = asyncio.create_task(stream.commit_changes())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        assert cancelled.value.__notes__ == ["interrupted after it was stored: do not commit it again"]
        assert stream.stream_revision == 1
        assert await stream.commit_changes() is None
        let_on.set()


async def test_more_commits_than_are_taken_in_wait_for_their_turn(tmp_path: Path) -> None:
    engine = AsyncFileEngine(FileEngine(tmp_path / "a.store", durability="os"), max_waiting_commits=2)
    await engine.initialize()
    with engine._file.writable().locks.write:
        tasks = [asyncio.create_task(engine.commit(first_attempt(f"order {number}"))) for number in range(50)]
        await asyncio.sleep(0)
        assert engine._turns.statistics().tasks_waiting == 48
        waiting = tasks.pop()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError) as withdrawn:
            await waiting
        assert "nothing was stored" in withdrawn.value.__notes__[0]
    assert sorted(commit.checkpoint_token for commit in await asyncio.gather(*tasks)) == list(range(1, 50))
    await engine.close()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_reader_that_is_cancelled_while_a_hook_looks_at_its_commit_misses_nothing(tmp_path: Path) -> None:
    class Hook:
        async def select_commit(self, commit: Commit) -> Commit:
            await anyio.sleep(0.03)
            return commit

    wireup = Wireup.init().using(tmp_path / "a.store").hook_into_pipeline_using(Hook())
    async with await wireup.build_async() as store, store.subscribe("audit") as audit:
        for number in range(4):
            await store.commit(first_attempt(f"order {number}"))
        got: list[int] = []
        with anyio.fail_after(20):
            while len(got) < 4:
                with anyio.move_on_after(0.01):
                    got.append((await anext(audit)).checkpoint_token)
        assert got == [1, 2, 3, 4]


async def test_an_abandoned_reader_leaves_no_file_open(tmp_path: Path) -> None:
    async with fsstore.open_async(tmp_path / "a.store") as store:
        attempts = [first_attempt("order")]
        for _ in range(600):
            attempts.append(next_attempt(attempts[-1]))
        await store.advanced.commit_many(attempts)
        await asyncio.to_thread(store.advanced.blocking.fold)  # type: ignore[attr-defined]
        open_before = open_files()
        readers = [store.get_from("order") for _ in range(20)]
        for reader in readers:
            await anext(reader)
        assert open_files() > open_before
        for reader in readers[:10]:
            await reader.aclose()  # type: ignore[attr-defined]
        readers.clear()
        del reader
        # Who is not closed is closed by the event loop.
        while open_files() > open_before:
            await asyncio.sleep(0)


async def test_a_reader_that_is_cancelled_while_a_thread_reads_is_closed_by_that_thread() -> None:
    class StandingEngine(MemoryEngine):
        begun, let_on, closed = threading.Event(), threading.Event(), threading.Event()

        def get_from_checkpoint(self, *_: Any, **__: Any) -> Iterator[Commit]:
            try:
                self.begun.set()
                assert self.let_on.wait(30)
                yield from super().get_from_checkpoint()
            finally:
                self.closed.set()

    standing = StandingEngine()
    engine = ThreadedEngine(standing)
    await engine.commit(first_attempt("order"))
    reading = asyncio.create_task(anext(engine.get_from_checkpoint()))  # type: ignore[arg-type]
    await asyncio.to_thread(standing.begun.wait)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not standing.closed.is_set()
    standing.let_on.set()
    await engine.close()
    assert standing.closed.is_set()
