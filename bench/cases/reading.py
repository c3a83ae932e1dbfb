"""Reading into objects: one stream of three lengths, and everything in the order of the store.

The stores are filled once and read in every round, so everything is in the system's cache: what is compared is the
work of each contender, not the disk.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.case import Case, Figures, quiet_collector
from bench.peers import peer
from bench.peers.peer import Peer
from bench.work import EVENTS, Event, attempts, batches, prove
from fsstore.model import CommitAttempt

_ALL = ("fsstore", "sqlite", "lmdb", "rocksdb", "eventsourcing", "umadb")
# Nothing is folded while the store is filled: the journal may grow.
_UNFOLDED = {"fold_bytes": 1 << 40, "journal_bytes": 1 << 26}


class _Filled(Case):
    """A store of each contender, filled when it is first measured, and open until the end."""

    contenders = _ALL
    rounds = 5

    def prepare(self, directory: Path, scale: int) -> None:
        self._directory = directory
        self._stored = self._commits(scale)
        self._stores: dict[str, Peer] = {}

    def _commits(self, scale: int) -> list[CommitAttempt]:
        raise NotImplementedError

    def _filled(self, contender: str, *, settle: bool = True, **tuning: Any) -> Peer:
        if contender not in self._stores:
            kind = peer(contender)
            place = Path(tempfile.mkdtemp(prefix="bench-", dir=self._directory))
            store = kind(place, **tuning)
            self._stores[contender] = store
            for step in batches(self._stored, 1_000):
                store.commit(step)
            if settle:
                store.settle()
        return self._stores[contender]

    def _prove(self, contender: str, found: Iterable[Event]) -> None:
        prove(f"{contender} after {self.name}", found, self._stored)

    def close(self) -> None:
        for store in self._stores.values():
            store.close()


class Loading(_Filled):
    """Streams of one length, loaded one after another."""

    def __init__(self, name: str, title: str, events: int, streams: int, repeat: int) -> None:
        self.name = name
        self.title = title
        self.units: Mapping[str, str] = {"load": "µs" if events < 10_000 else "events/s"}
        self._events = events
        self._streams = streams
        self._repeat = repeat

    def _commits(self, scale: int) -> list[CommitAttempt]:
        events = self._events // (scale if self._events > 1_000 else 1)
        return list(attempts("load", max(1, self._streams // scale), events // EVENTS))

    def measure(self, contender: str) -> Figures:
        store = self._filled(contender)
        names = sorted({attempt.stream_id for attempt in self._stored})
        with quiet_collector():
            began = time.perf_counter()
            for _ in range(self._repeat):
                for name in names:
                    store.load(name)
            seconds = (time.perf_counter() - began) / self._repeat
        self._prove(contender, (event for name in names for event in store.events(store.load(name))))
        if self.units["load"] == "µs":
            return {"load": seconds / len(names) * 1e6}
        return {"load": len(self._stored) * EVENTS / seconds}


class Ordered(_Filled):
    """Everything, in checkpoint order."""

    units: Mapping[str, str] = {"read": "commits/s"}

    def __init__(self, name: str, title: str, *, folded: bool) -> None:
        self.name = name
        self.title = title
        self._folded = folded

    def _commits(self, scale: int) -> list[CommitAttempt]:
        return list(attempts("all", max(1, 500 // scale), 80))

    def measure(self, contender: str) -> Figures:
        store = self._filled(contender, settle=self._folded, **({} if self._folded else _UNFOLDED))
        with quiet_collector():
            began = time.perf_counter()
            for _ in store.read_all():
                pass
            seconds = time.perf_counter() - began
        self._prove(contender, store.events(store.read_all()))
        return {"read": len(self._stored) / seconds}


def cases() -> list[Case]:
    """Short to long, then everything."""
    return [
        Loading("load-10", "load a stream of 10 events", 10, 1_000, 2),
        Loading("load-1000", "load a stream of 1,000 events", 1_000, 20, 5),
        Loading("load-100000", "load a stream of 100,000 events", 100_000, 1, 1),
        Ordered("order-folded", "all commits in checkpoint order, folded", folded=True),
        Ordered("order-unfolded", "all commits in checkpoint order, unfolded", folded=False),
    ]
