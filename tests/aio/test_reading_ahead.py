"""What a consumer of tasks has at hand: one call in a thread for many commits, and every promise as without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

from fsstore import AsyncEventStore, Commit, LeaseLostError, PipelineHook
from fsstore.dispatch import Subscription, Subscriptions
from fsstore.engines.memory import MemoryEngine
from fsstore.engines.threaded import awaiting
from fsstore.testing import first_attempt

pytestmark = pytest.mark.anyio

COMMITS = 200


async def fill(store: AsyncEventStore, count: int = COMMITS) -> list[Commit]:
    return await store.advanced.commit_many([first_attempt(f"{'ab'[number % 2]}{number}") for number in range(count)])


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that were made in a thread."""
    made: list[str] = []
    step = Subscription.__next__

    def counted(subscription: Subscription) -> Commit:
        made.append(subscription.name)
        return step(subscription)

    monkeypatch.setattr(Subscription, "__next__", counted)
    return made


@pytest.mark.parametrize("options", [{"acknowledge_every": 100}, {"auto_acknowledge": False}])
async def test_many_commits_come_with_one_call_in_a_thread(
    store: AsyncEventStore, steps: list[str], options: dict[str, Any]
) -> None:
    stored = await fill(store)
    seen = [commit async for commit in store.subscribe("mail", timeout_seconds=0, **options)]
    assert seen == stored
    assert len(steps) < 10


async def test_where_each_position_is_written_each_step_is_made_in_a_thread(
    store: AsyncEventStore, steps: list[str]
) -> None:
    await fill(store, 10)
    async for commit in store.subscribe("mail", timeout_seconds=0):
        positions = [each.position for each in await store.subscriptions.all()]
        assert positions == [before for before in (commit.checkpoint_token - 1,) if before]
    assert len(steps) == 11


@pytest.mark.parametrize("options", [{}, {"stream_prefix": "a"}, {"partitions": 2}, {"auto_acknowledge": False}])
@pytest.mark.parametrize("taken", [1, 40, 99, 100, 150])
async def test_as_much_is_remembered_as_of_a_consumer_in_a_thread(options: dict[str, Any], taken: int) -> None:
    """Both leave after as many commits, the last of which is not acknowledged."""
    engine = MemoryEngine()
    blocking = Subscriptions(engine)
    options = {"acknowledge_every": 30, **options}

    def remembered(name: str) -> list[object]:
        return [each.positions for each in blocking.all() if each.name == name]

    async with AsyncEventStore(awaiting(engine)) as store:
        await fill(store, 400)
        with blocking.subscribe("blocking", **options) as consumer:
            expected = [next(consumer) for _ in range(taken)]
            meanwhile = remembered("blocking")
        async with store.subscribe("awaited", **options) as awaited:
            assert [await anext(awaited) for _ in range(taken)] == expected
            assert remembered("awaited") == meanwhile
        assert remembered("awaited") == remembered("blocking")


async def test_the_loop_gets_its_turn_between_two_commits(store: AsyncEventStore) -> None:
    await fill(store)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        async for commit in store.subscribe("mail", acknowledge_every=100, timeout_seconds=0):
            assert turns >= commit.checkpoint_token - 1
        tasks.cancel_scope.cancel()


async def test_a_step_that_is_cancelled_neither_acknowledges_nor_loses(store: AsyncEventStore) -> None:
    stored = await fill(store, 10)
    async with store.subscribe("mail", acknowledge_every=100) as mail:
        assert [await anext(mail) for _ in range(3)] == stored[:3]
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anext(mail)
        assert mail.position == 2
        assert await anext(mail) == stored[3]


async def test_what_is_at_hand_is_nobodys_once_the_name_is_read_anew_or_closed(store: AsyncEventStore) -> None:
    stored = await fill(store, 10)
    first = store.subscribe("mail", acknowledge_every=100)
    assert [await anext(first) for _ in range(2)] == stored[:2]
    async with store.subscribe("mail", acknowledge_every=100) as second:
        assert await anext(second) == stored[1]
        with pytest.raises(LeaseLostError):
            await anext(first)
        assert await anext(second) == stored[2]
        await second.close()
        assert [commit async for commit in second] == []


async def test_a_lease_that_is_to_be_renewed_is_renewed_in_a_thread(store: AsyncEventStore, steps: list[str]) -> None:
    stored = await fill(store, 10)
    async with store.subscribe("mail", acknowledge_every=100, lease_seconds=0.3) as mail:
        assert await anext(mail) == stored[0]
        await anyio.sleep(0.11)
        before = len(steps)
        assert await anext(mail) == stored[1]
        assert len(steps) == before + 1


async def test_few_commits_are_read_before_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = MemoryEngine()
    read = engine.get_from_checkpoint
    given: list[Commit] = []

    def reading(token: int) -> Iterator[Commit]:
        for commit in read(token):
            given.append(commit)
            yield commit

    monkeypatch.setattr(engine, "get_from_checkpoint", reading)
    async with AsyncEventStore(awaiting(engine)) as store, store.subscribe("mail", acknowledge_every=2) as mail:
        await fill(store, 400)
        for taken in range(1, 200):
            await anext(mail)
            assert len(given) <= taken + 64


class Damaged:
    """What an engine gives: the commits, an error in the place of one, and the rest for who goes on all the same."""

    def __init__(self, commits: Iterator[Commit], token: int) -> None:
        self._commits = commits
        self._token = token

    def __iter__(self) -> Damaged:
        return self

    def __next__(self) -> Commit:
        commit = next(self._commits)
        if commit.checkpoint_token == self._token:
            raise OSError("a sector of the disk")
        return commit


async def test_what_cannot_be_read_is_said_behind_what_can(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = MemoryEngine()
    read = engine.get_from_checkpoint
    damaged = 7
    monkeypatch.setattr(engine, "get_from_checkpoint", lambda token: Damaged(read(token), damaged))
    async with AsyncEventStore(awaiting(engine)) as store, store.subscribe("mail", acknowledge_every=100) as mail:
        stored = await fill(store, 10)
        assert [await anext(mail) for _ in range(6)] == stored[:6]
        for _ in range(2):
            with pytest.raises(OSError, match="a sector"):
                await anext(mail)
        damaged = 0
        assert [await anext(mail) for _ in range(4)] == stored[6:]


@pytest.mark.parametrize("selects", [lambda commit: commit, lambda commit: None])
async def test_hooks_are_called_when_a_commit_is_handed_out(selects: Callable[[Commit], Commit | None]) -> None:
    asked: list[int] = []

    class Hook(PipelineHook):
        async def select_commit(self, commit: Commit) -> Commit | None:  # type: ignore[override]
            asked.append(commit.checkpoint_token)
            return selects(commit)

    async with AsyncEventStore(awaiting(MemoryEngine()), hooks=[Hook()]) as store:
        stored = await fill(store, 10)
        async with store.subscribe("mail", acknowledge_every=100, timeout_seconds=0) as mail:
            async for commit in mail:
                assert asked[-1] == commit.checkpoint_token
    assert asked == [commit.checkpoint_token for commit in stored]
