"""One writer: commits one by one, in batches, in bulk; until they are durable, and until they are in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.case import Case, Clock, Figures, fresh, processor_figure
from bench.floor import Floor, records
from bench.peers import peer
from bench.work import attempts, batches, prove
from fsstore.model import CommitAttempt

_ALL = ("floor", "fsstore", "sqlite", "lmdb", "rocksdb", "eventsourcing", "eventsourcing-app", "umadb")
_BATCHES = ("floor", "fsstore", "sqlite", "lmdb", "rocksdb", "eventsourcing", "umadb")
_BULK = ("fsstore", "sqlite", "lmdb", "rocksdb")
_DURABLE = {"durable": "commits/s", "processor": "µs"}
_SETTLED = {"durable": "commits/s", "settled": "commits/s", "processor": "µs"}
_MIB = 1 << 20


@dataclass
class Appending(Case):
    """`commits_each` commits on each of `streams` streams, `batch` of them in one durable step."""

    name: str
    title: str
    contenders: tuple[str, ...]
    streams: int
    commits_each: int
    batch: int
    units: Mapping[str, str] = field(default_factory=lambda: _DURABLE)
    rounds: int = 5
    tuning: dict[str, Any] = field(default_factory=dict)

    def prepare(self, directory: Path, scale: int) -> None:
        self._directory = directory
        self._attempts = list(attempts("s", max(1, self.streams // scale), self.commits_each))
        self._steps = batches(self._attempts, self.batch)

    def measure(self, contender: str) -> Figures:
        with fresh(self._directory) as place:
            return self._floor(place) if contender == "floor" else self._store(contender, place)

    def _floor(self, place: Path) -> Figures:
        parts = [b"".join(records(step)) for step in self._steps]
        floor = Floor(place, sum(map(len, parts)))
        clock = Clock()
        floor.append(parts)
        figures = self._figures("floor", clock, {"durable": clock.seconds()})
        floor.close()
        return figures

    def _store(self, contender: str, place: Path) -> Figures:
        store = peer(contender)(place, **self.tuning)
        try:
            clock = Clock()
            for step in self._steps:
                store.commit(step)
            seconds = {"durable": clock.seconds()}
            if "settled" in self.units:
                store.settle()
                seconds["settled"] = clock.seconds()
            figures = self._figures(contender, clock, seconds)
            self._prove(contender, store.events(store.read_all()))
        finally:
            store.close()
        return figures

    def _figures(self, contender: str, clock: Clock, seconds: Figures) -> Figures:
        count = len(self._attempts)
        rates = {name: count / value for name, value in seconds.items()}
        return rates | processor_figure(contender, clock.processor_seconds(), count)

    def _prove(self, contender: str, found: Any) -> None:
        stored: list[CommitAttempt] = self._attempts
        prove(f"{contender} after {self.name}", found, stored)


def cases() -> list[Case]:
    """From one commit at a time to two thousand."""
    return [
        Appending("single", "single commits, one thread", _ALL, 100, 20, 1),
        Appending(
            "single-new-streams",
            "single commits, each to a new stream, folding meanwhile",
            _BATCHES,
            4_000,
            1,
            1,
            tuning={"fold_bytes": _MIB // 2, "journal_bytes": _MIB},
        ),
        Appending("hundred", "100 commits in one commit_many", _BATCHES, 100, 200, 100),
        Appending("bulk", "100k commits on 1k streams, 1,000 a call", _BULK, 1_000, 100, 1_000, _SETTLED, 3),
        Appending("bulk-new-streams", "10k new streams, 2,000 a call", _BULK, 10_000, 1, 2_000, _SETTLED),
    ]
