"""What a store takes on disk for each event, closed and settled, against the bytes of its packed records alone."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from bench.case import Case, Figures, fresh
from bench.floor import records
from bench.peers import peer
from bench.work import EVENTS, attempts, prove


class Space(Case):
    """1M events in 1k streams."""

    name = "space"
    title = "1M events in 1k streams"
    units: Mapping[str, str] = {"disk": "bytes/event"}
    contenders: tuple[str, ...] = ("packed", "fsstore", "sqlite", "lmdb", "rocksdb")
    rounds = 1

    def prepare(self, directory: Path, scale: int) -> None:
        self._directory = directory
        self._streams, self._each = max(1, 1_000 // scale), 500

    def measure(self, contender: str) -> Figures:
        made = attempts("space", self._streams, self._each)
        events = self._streams * self._each * EVENTS
        if contender == "packed":
            return {"disk": sum(len(record) for one in made for record in records([one])) / events}
        with fresh(self._directory) as place:
            store = peer(contender)(place)
            try:
                while step := list(islice(made, 1_000)):
                    store.commit(step)
                store.settle()
                one = list(attempts("space", self._streams, self._each))[:: self._streams]
                prove(f"{contender} after {self.name}", store.events(store.load(one[0].stream_id)), one)
            finally:
                store.close()
            return {"disk": _bytes_on_disk(place) / events}


def _bytes_on_disk(place: Path) -> int:
    """What the file system has given away, not what the files say they hold."""
    return sum(one.lstat().st_blocks * 512 for one in place.rglob("*"))


def cases() -> list[Case]:
    """The one."""
    return [Space()]
