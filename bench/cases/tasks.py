"""Tasks of one event loop, each committing one by one to streams of its own, beside SQLite's single commits.

Attempts are made before the clock starts. While the tasks commit, another task measures how late the loop wakes it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from bench.case import Case, Figures, fresh
from bench.cases.concurrency import commit_for, part
from bench.peers import peer
from fsstore.engines.file import FileEngine
from fsstore.engines.file.awaiting import AsyncFileEngine
from fsstore.model import CommitAttempt

_SECONDS = 1.5
_MOST_PER_SECOND = 30_000
_NAP_SECONDS = 0.002


class Tasks(Case):
    """One store, shared by the tasks of one loop."""

    units: Mapping[str, str] = {"durable": "commits/s", "lag-p99": "ms"}
    contenders: tuple[str, ...] = ("fsstore", "sqlite")
    rounds = 3

    def __init__(self, tasks: int) -> None:
        self.name = f"tasks-{tasks}"
        self.title = f"{tasks} tasks; SQLite one by one"
        self._tasks = tasks

    def prepare(self, directory: Path, scale: int) -> None:
        self._directory = directory
        self._seconds = _SECONDS / min(scale, 20)
        each_seconds = self._seconds * _MOST_PER_SECOND / self._tasks / 8_000
        self._parts = [part(number, each_seconds) for number in range(self._tasks)]
        self._alone = part(self._tasks, self._seconds)

    def measure(self, contender: str) -> Figures:
        with fresh(self._directory) as place:
            if contender == "fsstore":
                return asyncio.run(self._in_loop(place))
            store = peer(contender)(place)
            try:
                count, seconds = commit_for(store, self._seconds, self._alone)
            finally:
                store.close()
        return {"durable": count / seconds}

    async def _in_loop(self, place: Path) -> Figures:
        engine = AsyncFileEngine(FileEngine(place / "store"))
        await engine.initialize()
        late: list[float] = []
        watch = asyncio.create_task(_watch(late))
        began = time.perf_counter()
        until = began + self._seconds
        counts = await asyncio.gather(*(_commit_until(engine, made, until) for made in self._parts))
        seconds = time.perf_counter() - began
        watch.cancel()
        stored = 0
        async for _ in engine.get_from_checkpoint():
            stored += 1
        await engine.close()
        if stored != sum(counts):
            raise RuntimeError(f"{sum(counts)} commits returned, and {stored} are stored")
        late.sort()
        return {"durable": stored / seconds, "lag-p99": 1000 * late[len(late) * 99 // 100]}


async def _commit_until(engine: AsyncFileEngine, made: list[CommitAttempt], until: float) -> int:
    count = 0
    for attempt in made:
        await engine.commit(attempt)
        count += 1
        if time.perf_counter() >= until:
            break
    return count


async def _watch(late: list[float]) -> None:
    while True:
        due = time.perf_counter() + _NAP_SECONDS
        await asyncio.sleep(_NAP_SECONDS)
        late.append(time.perf_counter() - due)


def cases() -> list[Case]:
    return [Tasks(64), Tasks(512)]
