"""MongoDB with pymongo's awaiting client: cancelled commits are whole or nothing, and nobody waits in the loop."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from importlib import util
from typing import Any

import pytest
from servers.process import Server

import fsstore
from fsstore import Commit
from fsstore.engines.tasks import TaskEngine
from fsstore.engines.threaded import ThreadedEngine
from fsstore.testing import first_attempt, next_attempt

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_commits_with_random_cancellation(url: str) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    returned: list[Commit] = []
    notes: list[str] = []
    store = await fsstore.open_async(url)
    engine = store.advanced
    assert isinstance(engine, TaskEngine)

    async def write(number: int) -> None:
        for step in range(15):
            task = asyncio.create_task(engine.commit(first_attempt(f"{number} {step}", events=2)))
            if dice.random() < 0.4:
                await asyncio.sleep(dice.random() * 0.05)
                task.cancel()
            try:
                returned.append(await task)
            except asyncio.CancelledError as error:
                notes.extend(error.__notes__)

    await asyncio.gather(*(write(number) for number in range(10)))
    await store.close()
    assert notes
    assert all("whole or not at all" in note for note in notes)
    with fsstore.open(url) as again:
        stored = list(again.advanced.get_from_checkpoint())
    assert [each.checkpoint_token for each in stored] == list(range(1, len(stored) + 1))
    assert all(len(each.events) == 2 for each in stored)
    found = set(map(repr, stored))
    assert [commit for commit in returned if repr(commit) not in found] == []


async def test_closing_waits_for_all_that_was_accepted(url: str) -> None:
    """Also for commits that wait for their number, and whose callers were cancelled."""
    store = await fsstore.open_async(url)
    writers = [asyncio.create_task(store.commit(first_attempt(f"order {number}"))) for number in range(20)]
    await asyncio.wait(writers, return_when=asyncio.FIRST_COMPLETED)
    for writer in writers:
        writer.cancel()
    await store.close()
    with fsstore.open(url) as again:
        assert len(list(again.advanced.get_from_checkpoint())) == 20


async def test_the_loop_goes_on_while_the_server_stands_still(killable: tuple[Server, str]) -> None:
    server, url = killable
    store = await fsstore.open_async(url)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        writer = asyncio.create_task(store.commit(first_attempt("order")))
        await asyncio.sleep(0.1)
        writer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writer
        closed = asyncio.create_task(store.close())
        await asyncio.sleep(0.1)
        assert not closed.done()
    finally:
        os.kill(server.pid, signal.SIGCONT)
    await closed
    with fsstore.open(url) as again:
        assert [commit.stream_id for commit in again.advanced.get_from_checkpoint()] == ["order"]


async def test_dispatch_is_woken_by_commits_of_tasks(url: str) -> None:
    delivered: list[Commit] = []
    done = asyncio.Event()

    async def publish(commit: Commit) -> None:
        delivered.append(commit)
        if len(delivered) == 3:
            done.set()

    building = fsstore.Wireup.init().using(url).using_asynchronous_dispatch_scheduler(None)
    async with await building.dispatch_to(publish).build_async() as store:
        for number in range(3):
            await store.commit(first_attempt(f"order {number}"))
        await asyncio.wait_for(done.wait(), 30)
    assert [commit.checkpoint_token for commit in delivered] == [1, 2, 3]
    with fsstore.open(url) as again:
        assert list(again.advanced.get_undispatched_commits()) == []


async def test_a_batch_is_one_transaction_whether_in_the_loop_or_in_a_thread(url: str) -> None:
    async with fsstore.open_async(url) as store:
        attempts = [first_attempt("order")]
        for _ in range(99):
            attempts.append(next_attempt(attempts[-1]))
        await store.advanced.commit_many(attempts[:20])
        await store.advanced.commit_many(attempts[20:])
        with pytest.raises(fsstore.DuplicateCommitError):
            await store.advanced.commit_many([next_attempt(attempts[-1]), *attempts])
        assert [commit.commit_sequence async for commit in store.get_from("order")] == list(range(1, 101))


async def test_without_greenlet_threads_do_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, *arguments: Any, find: Any = util.find_spec) -> Any:
        return None if name == "greenlet" else find(name, *arguments)

    monkeypatch.setattr(util, "find_spec", missing)
    async with fsstore.open_async(url) as store:
        assert type(store.advanced) is ThreadedEngine
        assert await store.commit(first_attempt("order")) is not None


class TestUnderTrio:
    @pytest.fixture
    def anyio_backend(self) -> str:
        return "trio"

    async def test_threads_do_it(self, url: str) -> None:
        async with fsstore.open_async(url) as store:
            assert type(store.advanced) is ThreadedEngine
            assert await store.commit(first_attempt("order")) is not None
