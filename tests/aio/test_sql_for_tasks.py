"""SQL with an asyncio driver: cancelled commits are whole or nothing, and nobody waits for the database in the loop."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import fsstore
from fsstore import Commit
from fsstore.engines.sql.awaiting import AsyncSqlEngine
from fsstore.engines.threaded import ThreadedEngine
from fsstore.testing import first_attempt, next_attempt

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_commits_with_random_cancellation(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    returned: list[Commit] = []
    notes: list[str] = []
    store = await fsstore.open_async(f"sqlite:///{tmp_path}/a.db")
    engine = store.advanced
    assert isinstance(engine, AsyncSqlEngine)

    async def write(number: int) -> None:
        for step in range(30):
            task = asyncio.create_task(engine.commit(first_attempt(f"{number} {step}", events=2)))
            if dice.random() < 0.4:
                await asyncio.sleep(dice.random() * 0.01)
                task.cancel()
            try:
                returned.append(await task)
            except asyncio.CancelledError as error:
                notes.extend(error.__notes__)

    await asyncio.gather(*(write(number) for number in range(10)))
    await store.close()
    assert notes
    assert all("whole or not at all" in note for note in notes)
    with fsstore.open(f"sqlite:///{tmp_path}/a.db") as again:
        stored = list(again.advanced.get_from_checkpoint())
    assert [each.checkpoint_token for each in stored] == list(range(1, len(stored) + 1))
    assert all(len(each.events) == 2 for each in stored)
    found = set(map(repr, stored))
    assert [commit for commit in returned if repr(commit) not in found] == []


async def test_the_loop_goes_on_while_another_holds_the_database(tmp_path: Path) -> None:
    """And closing waits for the commit whose caller was cancelled."""
    path = tmp_path / "a.db"
    store = await fsstore.open_async(f"sqlite:///{path}")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(store.commit(first_attempt("order")))
        await asyncio.sleep(0.1)
        assert [commit async for commit in store.get_from("order")] == []
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        closed = asyncio.create_task(store.close())
        await asyncio.sleep(0.1)
        assert not closed.done()
        other.execute("ROLLBACK")
        await closed
    with fsstore.open(f"sqlite:///{path}") as again:
        assert [commit.stream_id for commit in again.advanced.get_from_checkpoint()] == ["order"]


async def test_delivery_is_woken_by_commits_of_tasks(tmp_path: Path) -> None:
    delivered: list[Commit] = []
    done = asyncio.Event()

    async def publish(commit: Commit) -> None:
        delivered.append(commit)
        if len(delivered) == 3:
            done.set()

    building = fsstore.Wireup.init().using(f"sqlite:///{tmp_path}/a.db").using_asynchronous_dispatch_scheduler(None)
    async with await building.dispatch_to(publish).build_async() as store:
        for number in range(3):
            await store.commit(first_attempt(f"order {number}"))
        await asyncio.wait_for(done.wait(), 30)
    assert [commit.checkpoint_token for commit in delivered] == [1, 2, 3]


async def test_a_batch_is_one_transaction_whether_in_the_loop_or_in_a_thread(tmp_path: Path) -> None:
    async with fsstore.open_async(f"sqlite:///{tmp_path}/a.db") as store:
        attempts = [first_attempt("order")]
        for _ in range(99):
            attempts.append(next_attempt(attempts[-1]))
        await store.advanced.commit_many(attempts[:20])
        await store.advanced.commit_many(attempts[20:])
        with pytest.raises(fsstore.DuplicateCommitError):
            await store.advanced.commit_many([next_attempt(attempts[-1]), *attempts])
        assert [commit.commit_sequence async for commit in store.get_from("order")] == list(range(1, 101))


async def test_a_database_in_memory_stays_with_threads() -> None:
    async with fsstore.open_async("sqlite://") as store:
        assert type(store.advanced) is ThreadedEngine
        assert await store.commit(first_attempt("order")) is not None


class TestUnderTrio:
    @pytest.fixture
    def anyio_backend(self) -> str:
        return "trio"

    async def test_threads_do_it(self, tmp_path: Path) -> None:
        async with fsstore.open_async(f"sqlite:///{tmp_path}/a.db") as store:
            assert type(store.advanced) is ThreadedEngine
            assert await store.commit(first_attempt("order")) is not None
