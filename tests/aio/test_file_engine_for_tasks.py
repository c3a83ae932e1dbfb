"""Tasks on the file engine: their commits share flushes without a thread each, and each of them fails alone."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from fsstore import (
    Commit,
    CommitAttempt,
    ConcurrencyError,
    DuplicateCommitError,
    EventStoreError,
    StorageUnavailableError,
    StoreClosedError,
)
from fsstore.engines.file import FileEngine
from fsstore.engines.file.awaiting import AsyncFileEngine
from fsstore.engines.file.disk.disk import RealDisk
from fsstore.engines.memory import MemoryEngine
from fsstore.engines.threaded import ThreadedEngine
from fsstore.testing import first_attempt, next_attempt

pytestmark = pytest.mark.anyio


class CountingDisk(RealDisk):
    flushes = 0

    def flush(self, handle: int) -> None:
        self.flushes += 1
        super().flush(handle)


@pytest.fixture
def disk() -> CountingDisk:
    return CountingDisk()


@pytest.fixture
async def engine(tmp_path: Path, disk: CountingDisk, anyio_backend: str) -> AsyncIterator[AsyncFileEngine]:
    opened = AsyncFileEngine(FileEngine(tmp_path / "a.store", disk=disk))
    await opened.initialize()
    yield opened
    await opened.close()


async def test_a_store_for_which_the_system_has_no_thread_is_opened_once_it_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = AsyncFileEngine(FileEngine(tmp_path / "a.store"))
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "fsstore commits":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as refusing:
        refusing.setattr(threading.Thread, "start", refuse)
        with pytest.raises(StorageUnavailableError, match="no thread that commits"):
            await engine.initialize()
        with anyio.fail_after(10), pytest.raises(StoreClosedError):
            await engine.commit(first_attempt("a"))
        other = AsyncFileEngine(FileEngine(tmp_path / "a.store"))
        with pytest.raises(StorageUnavailableError):
            await other.initialize()
        await other.close()
    await engine.initialize()
    assert (await engine.commit(first_attempt("a"))).checkpoint_token == 1
    await engine.close()


async def outcomes(engine: AsyncFileEngine, attempts: list[CommitAttempt]) -> list[Commit | EventStoreError]:
    """What becomes of the attempts, a task each, all of which begin before the store can be written to."""
    found: dict[int, Commit | EventStoreError] = {}

    async def commit(number: int, attempt: CommitAttempt) -> None:
        try:
            found[number] = await engine.commit(attempt)
        except EventStoreError as error:
            found[number] = error

    async with anyio.create_task_group() as tasks:
        with engine.blocking.writable().locks.write:  # type: ignore[attr-defined]
            for number, attempt in enumerate(attempts):
                tasks.start_soon(commit, number, attempt)
            await anyio.sleep(0.05)
    return [found[number] for number in range(len(attempts))]


async def test_commits_of_many_tasks_share_flushes_and_one_thread(engine: AsyncFileEngine, disk: CountingDisk) -> None:
    flushes, threads = disk.flushes, threading.active_count()
    done = await outcomes(engine, [first_attempt(f"order {number}") for number in range(300)])
    assert {each.checkpoint_token for each in done if isinstance(each, Commit)} == set(range(1, 301))
    # One for what the thread had taken when it came to the lock, one for all the others.
    assert disk.flushes - flushes <= 2
    assert threading.active_count() <= threads


async def test_commits_that_share_a_flush_fail_alone(engine: AsyncFileEngine) -> None:
    same = first_attempt("order")
    before, *three, other = await outcomes(
        engine, [first_attempt("before"), same, same, first_attempt("order"), first_attempt("other")]
    )
    assert isinstance(before, Commit)
    assert isinstance(other, Commit)
    # Which of them was first, the event loop decides.
    (stored,) = (each for each in three if isinstance(each, Commit))
    assert sum(isinstance(each, ConcurrencyError | DuplicateCommitError) for each in three) == 2
    assert isinstance(await engine.commit(next_attempt(stored)), Commit)


async def test_a_store_that_is_not_dropped_as_it_is_open_elsewhere_goes_on(engine: AsyncFileEngine) -> None:
    other = FileEngine(engine.blocking.path)  # type: ignore[attr-defined]
    other.initialize()
    with pytest.raises(StorageUnavailableError, match="open elsewhere"):
        await engine.drop()
    assert await engine.commit(first_attempt("order")) == next(other.get_from("default", "order"))
    other.close()


async def test_what_is_no_bound_is_refused(tmp_path: Path) -> None:
    engine = FileEngine(tmp_path / "a.store")
    for wrong in (0, -1, True, 1.0, "1", float("inf"), None):
        with pytest.raises((TypeError, ValueError), match=r"^max_threads must be "):
            AsyncFileEngine(engine, max_threads=wrong)  # type: ignore[arg-type]
        with pytest.raises((TypeError, ValueError), match=r"^max_waiting_commits must be "):
            AsyncFileEngine(engine, max_waiting_commits=wrong)  # type: ignore[arg-type]


async def test_at_most_max_threads_calls_are_under_way() -> None:
    class BusyEngine(MemoryEngine):
        most = now = 0
        together = threading.Barrier(3)

        def mark_commit_as_dispatched(self, commit: Commit) -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            self.together.wait(30)
            self.now -= 1
            self.together.wait(30)

    busy = BusyEngine()
    engine = ThreadedEngine(busy, max_threads=3)
    commit = await engine.commit(first_attempt("order"))
    async with anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(engine.mark_commit_as_dispatched, commit)
    await engine.close()
    assert busy.most == 3
