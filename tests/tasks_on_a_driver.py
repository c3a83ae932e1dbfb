"""What holds for every engine that a driver of asyncio awaits: whole or nothing, woken, one transaction, else threads.

`url` is a database without a store, where the test is.
"""

from __future__ import annotations

import asyncio
import gc
import random
from contextvars import ContextVar
from typing import Any

import pytest

import fsstore
from fsstore import Commit
from fsstore.engines import engine_for
from fsstore.engines.tasks import TaskEngine
from fsstore.engines.threaded import ThreadedEngine, awaiting
from fsstore.serialization import MsgpackSerializer
from fsstore.testing import first_attempt, next_attempt

WRITERS, COMMITS = 10, 15


async def threads_do_it(url: str) -> None:
    async with fsstore.open_async(url) as store:
        assert type(store.advanced) is ThreadedEngine
        assert await store.commit(first_attempt("order")) is not None


CALLER: ContextVar[str] = ContextVar("CALLER")


class Asking(MsgpackSerializer):
    """Remembers who asked for bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.callers: list[str] = []

    def dumps(self, value: Any, /) -> bytes:
        self.callers.append(CALLER.get("nobody"))
        return super().dumps(value)


class DriverForTasks:
    """Made a test by a class that inherits it."""

    async def test_a_serializer_sees_the_context_of_the_call(self, url: str) -> None:
        serializer = Asking()
        engine = awaiting(engine_for(url, serializer=serializer))
        assert isinstance(engine, TaskEngine)
        await engine.initialize()
        CALLER.set("me")
        await engine.commit(first_attempt("order"))
        assert serializer.callers == ["me"]
        await engine.close()

    async def test_commits_with_random_cancellation(self, url: str) -> None:
        seed = random.randrange(1 << 32)
        print(f"seed {seed}")
        dice = random.Random(seed)
        returned: list[Commit] = []
        notes: list[str] = []
        store = await fsstore.open_async(url)
        engine = store.advanced
        assert isinstance(engine, TaskEngine)

        async def write(number: int) -> None:
            for step in range(COMMITS):
                task = asyncio.create_task(engine.commit(first_attempt(f"{number} {step}", events=2)))
                if dice.random() < 0.4:
                    await asyncio.sleep(dice.random() * dice.choice((0.01, 0.05)))
                    task.cancel()
                try:
                    returned.append(await task)
                except asyncio.CancelledError as error:
                    notes.extend(error.__notes__)

        await asyncio.gather(*(write(number) for number in range(WRITERS)))
        await store.close()
        assert notes
        assert all("whole or not at all" in note for note in notes)
        with fsstore.open(url) as again:
            stored = list(again.advanced.get_from_checkpoint())
        assert [each.checkpoint_token for each in stored] == list(range(1, len(stored) + 1))
        assert all(len(each.events) == 2 for each in stored)
        found = set(map(repr, stored))
        assert [commit for commit in returned if repr(commit) not in found] == []

    async def test_what_a_cancelled_commit_fails_with_is_not_logged_as_an_error_that_nobody_asked_for(
        self, url: str
    ) -> None:
        logged: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: logged.append(context))
        async with fsstore.open_async(url) as store:
            await store.commit(first_attempt("order"))
            task = asyncio.create_task(store.commit(first_attempt("order")))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        gc.collect()
        loop.set_exception_handler(None)
        assert logged == []

    async def test_dispatch_is_woken_by_commits_of_tasks(self, url: str) -> None:
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

    async def test_a_batch_is_one_transaction_whether_in_the_loop_or_in_a_thread(self, url: str) -> None:
        async with fsstore.open_async(url) as store:
            attempts = [first_attempt("order")]
            for _ in range(99):
                attempts.append(next_attempt(attempts[-1]))
            await store.advanced.commit_many(attempts[:20])
            await store.advanced.commit_many(attempts[20:])
            with pytest.raises(fsstore.DuplicateCommitError):
                await store.advanced.commit_many([next_attempt(attempts[-1]), *attempts])
            assert [commit.commit_sequence async for commit in store.get_from("order")] == list(range(1, 101))


class UnderTrio:
    @pytest.fixture
    def anyio_backend(self) -> str:
        return "trio"

    async def test_threads_do_it(self, url: str) -> None:
        await threads_do_it(url)
