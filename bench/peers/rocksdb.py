"""RocksDB through rocksdict: every step is one write batch, its WAL synced. One process only."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rocksdict import Options, Rdict, WriteBatch, WriteOptions

from bench.peers.key_values import commit_of_entry, entries, stream_prefix
from bench.work import Event, events_of
from fsstore.model import Commit, CommitAttempt


class RocksDb:
    """A check before the batch stands for the constraints that it does not have."""

    def __init__(self, place: Path, **_: Any) -> None:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        self._db: Any = Rdict(str(place / "bench.rocksdb"), options=options)
        self._durable = WriteOptions()
        self._durable.sync = True
        self._lock = threading.Lock()
        orders: Any = self._db.keys(from_key=b"o")
        self._token = sum(1 for key in orders if key.startswith(b"o"))

    def commit(self, attempts: Sequence[CommitAttempt]) -> None:
        with self._lock:
            batch = WriteBatch(raw_mode=True)
            token = self._token
            for attempt in attempts:
                token += 1
                row, order, identity = entries(attempt, token)
                if row[0] in self._db or identity[0] in self._db:
                    raise ValueError(f"{row[0]!r} is there already")
                for key, value in (row, order, identity):
                    batch.put(key, value)
            self._db.write(batch, self._durable)
            self._token = token

    def settle(self) -> None:
        self._db.flush()

    def load(self, stream_id: str) -> list[Commit]:
        prefix = stream_prefix("default", stream_id)
        found = []
        for key, value in self._db.items(from_key=prefix):
            if not key.startswith(prefix):
                break
            found.append(commit_of_entry(key, value))
        return found

    def read_all(self) -> Iterable[Commit]:
        for order, key in self._db.items(from_key=b"o"):
            if order[:1] != b"o":
                break
            yield commit_of_entry(key, self._db[key])

    def events(self, found: Iterable[Commit]) -> Iterator[Event]:
        return events_of(found)

    def close(self) -> None:
        self._db.close()
