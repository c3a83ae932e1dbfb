"""The event loop is never kept waiting by a disk or a lock: a watchdog looks at every callback."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

import fsstore
from fsstore import Commit, CommitAttempt, Wireup
from fsstore.dispatch import ForwardingDispatcher
from fsstore.engines.file import FileEngine
from fsstore.engines.file.awaiting import AsyncFileEngine
from fsstore.engines.memory import MemoryEngine
from fsstore.testing import first_attempt, next_attempt

pytestmark = pytest.mark.anyio

# Holds the locks of the store for half a second, in the order in which it takes them, until its input ends.
HOLDER = """
import fcntl, select, sys, time
locks = [open(f"{sys.argv[1]}/{name}", "r+") for name in ("fold.lock", "write.lock")]
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.02)[0]:
    for lock in locks: fcntl.flock(lock, fcntl.LOCK_EX)
    time.sleep(0.5)
    for lock in locks: fcntl.flock(lock, fcntl.LOCK_UN)
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def busy_seconds() -> float:
    """How long this thread ran, or was kept from it by others that ran, as far as the system tells."""
    ready_seconds = 0.0
    with suppress(OSError, IndexError):
        ready_seconds = int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    return time.thread_time() + ready_seconds


class Watchdog:
    """Times every callback. One that waits uses no processor, and wants none: what counts is the time that is left."""

    def __init__(self) -> None:
        self.waited_seconds = 0.0

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        run = asyncio.events.Handle._run  # type: ignore[attr-defined]

        def timed(handle: asyncio.Handle) -> None:
            busy, began = busy_seconds(), time.perf_counter()
            run(handle)
            passed_seconds = time.perf_counter() - began
            self.waited_seconds = max(self.waited_seconds, passed_seconds - (busy_seconds() - busy))

        asyncio.events.Handle._run = timed  # type: ignore[attr-defined]
        try:
            yield
        finally:
            asyncio.events.Handle._run = run  # type: ignore[attr-defined]


async def test_no_callback_waits_while_another_process_holds_the_locks(tmp_path: Path) -> None:
    watchdog = Watchdog()
    async with fsstore.open_async(tmp_path / "a.store", fold_bytes=64 << 10, journal_bytes=64 << 10) as store:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path / "a.store")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert holder.stdout is not None
        assert holder.stdin is not None
        await asyncio.to_thread(holder.stdout.readline)
        try:
            async with watchdog.watching():
                until = time.monotonic() + 3
                commit = await store.commit(first_attempt("order"))
                while time.monotonic() < until:
                    assert commit is not None
                    commit = await store.commit(next_attempt(commit, events=20))
                    assert [each async for each in store.get_from("order", commit.stream_revision)] == [commit]
        finally:
            holder.stdin.close()
            # Not in this callback, which is timed too.
            await asyncio.to_thread(holder.wait, 10)
            holder.stdout.close()
    # The aim is 20 ms. Half of what the locks were held tells a callback that waited for one from a busy machine.
    assert watchdog.waited_seconds < 0.5 / 2


async def test_no_callback_waits_for_what_a_dispatcher_waits_for() -> None:
    class SlowEngine(MemoryEngine):
        def commit(self, attempt: CommitAttempt) -> Commit:
            time.sleep(0.5)
            return super().commit(attempt)

    central = SlowEngine()
    central.initialize()
    wireup = Wireup.init().using_in_memory_persistence().dispatch_to(ForwardingDispatcher(central))
    watchdog = Watchdog()
    async with await wireup.build_async() as store, watchdog.watching():
        await store.commit(first_attempt("order"))
        assert len(list(central.get_from_checkpoint())) == 1
    assert watchdog.waited_seconds < 0.5 / 2


async def test_tasks_whose_commits_share_a_flush_are_told_some_at_a_time(tmp_path: Path) -> None:
    engine = AsyncFileEngine(FileEngine(tmp_path / "a.store", durability="os"))
    await engine.initialize()
    step = 0
    told: Counter[int] = Counter()

    async def commit(number: int) -> None:
        await engine.commit(first_attempt(f"order {number}"))
        told[step] += 1

    async def count_steps() -> None:
        nonlocal step
        while True:
            step += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_steps())
    with engine.blocking.writable().locks.write:  # type: ignore[attr-defined]
        tasks = [asyncio.create_task(commit(number)) for number in range(200)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    counting.cancel()
    await engine.close()
    assert told.total() == 200
    # 32 at a time; the last ones of a pass and the first of the next may fall between two counts.
    assert max(told.values()) <= 64
