"""Tasks of one event loop, each committing one by one to a stream of its own, beside SQLite's single commits.

Attempts are made before the clock starts. Another task measures how late the loop wakes it, before the tasks begin and
while they commit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from bench.case import Case, Clock, Figures, fresh, processor_figure
from bench.cases.concurrency import commit_for, part
from bench.peers import peer
from bench.work import attempts, events_of, prove
from fsstore.engines.file import FileEngine
from fsstore.engines.file.awaiting import AsyncFileEngine
from fsstore.model import CommitAttempt

_SECONDS = 1.5
_IDLE_SECONDS = 0.5
_MOST_PER_SECOND = 50_000
_NAP_SECONDS = 0.002


class Tasks(Case):
    """One store, shared by the tasks of one loop."""

    units: Mapping[str, str] = {
        "durable": "commits/s",
        "idle-lag": "ms",
        "busy-lag": "ms",
        "processor": "µs",
    }
    contenders: tuple[str, ...] = ("fsstore", "sqlite")
    rounds = 3

    def __init__(self, tasks: int) -> None:
        self.name = f"tasks-{tasks}"
        self.title = f"{tasks} tasks; SQLite one by one; lag: p99"
        self._tasks = tasks

    def prepare(self, directory: Path, scale: int) -> None:
        self._directory = directory
        self._scale = min(scale, 20)
        self._seconds = _SECONDS / self._scale
        each = max(1, int(self._seconds * _MOST_PER_SECOND) // self._tasks)
        self._parts = [list(attempts(f"task{number}", 1, each)) for number in range(self._tasks)]
        self._alone = part(self._tasks, self._seconds)

    def measure(self, contender: str) -> Figures:
        with fresh(self._directory) as place:
            if contender == "fsstore":
                return asyncio.run(self._in_loop(place))
            store = peer(contender)(place)
            try:
                clock = Clock()
                count, seconds = commit_for(store, self._seconds, self._alone)
                processor = processor_figure(contender, clock.processor_seconds(), count)
                prove(f"{contender} after {self.name}", store.events(store.read_all()), self._alone[:count])
            finally:
                store.close()
        return {"durable": count / seconds} | processor

    async def _in_loop(self, place: Path) -> Figures:
        engine = AsyncFileEngine(FileEngine(place / "store"))
        await engine.initialize()
        try:
            async with _watched() as idle:
                await asyncio.sleep(_IDLE_SECONDS / self._scale)
            async with _watched() as busy:
                clock = Clock()
                until = time.perf_counter() + self._seconds
                counts = await asyncio.gather(*(_commit_until(engine, made, until) for made in self._parts))
                seconds = clock.seconds()
                processor = processor_figure("fsstore", clock.processor_seconds(), sum(counts))
            returned = [one for made, count in zip(self._parts, counts, strict=True) for one in made[:count]]
            found = [commit async for commit in engine.get_from_checkpoint()]
            prove(f"fsstore after {self.name}", events_of(found), returned)
        finally:
            await engine.close()
        lag = {"idle-lag": _p99_ms(idle), "busy-lag": _p99_ms(busy)}
        return {"durable": len(returned) / seconds} | lag | processor


async def _commit_until(engine: AsyncFileEngine, made: list[CommitAttempt], until: float) -> int:
    count = 0
    for attempt in made:
        await engine.commit(attempt)
        count += 1
        if time.perf_counter() >= until:
            break
    return count


@asynccontextmanager
async def _watched() -> AsyncIterator[list[float]]:
    """By how many seconds each nap that was taken within ended late."""
    late: list[float] = []
    watch = asyncio.create_task(_watch(late))
    try:
        yield late
    finally:
        watch.cancel()


async def _watch(late: list[float]) -> None:
    while True:
        due = time.perf_counter() + _NAP_SECONDS
        await asyncio.sleep(_NAP_SECONDS)
        late.append(time.perf_counter() - due)


def _p99_ms(late: list[float]) -> float:
    return 1000 * sorted(late)[len(late) * 99 // 100]


def cases() -> list[Case]:
    return [Tasks(64), Tasks(512)]
