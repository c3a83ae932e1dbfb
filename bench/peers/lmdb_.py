"""LMDB: one environment, a synced write transaction for each step; readers see a snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lmdb

from bench.peers.key_values import commit_of_entry, entries, stream_prefix, token_of
from bench.work import Event, events_of
from fsstore.model import Commit, CommitAttempt

_MAP_BYTES = 16 << 30


class Lmdb:
    """Its defaults are its durable setting."""

    def __init__(self, place: Path, **_: Any) -> None:
        self._env = lmdb.open(str(place / "bench.lmdb"), map_size=_MAP_BYTES)

    def commit(self, attempts: Sequence[CommitAttempt]) -> None:
        with self._env.begin(write=True) as transaction:
            cursor = transaction.cursor()
            token = token_of(cursor.key()) if cursor.set_range(b"s") and cursor.prev() else 0
            for attempt in attempts:
                token += 1
                for key, value in entries(attempt, token):
                    if not transaction.put(key, value, overwrite=False):
                        raise ValueError(f"{key!r} is there already")

    def settle(self) -> None:
        """Nothing to do: a transaction leaves its pages in place."""

    def load(self, stream_id: str) -> list[Commit]:
        prefix = stream_prefix("default", stream_id)
        found = []
        with self._env.begin() as transaction:
            cursor = transaction.cursor()
            cursor.set_range(prefix)
            for key, value in cursor:
                if not key.startswith(prefix):
                    break
                found.append(commit_of_entry(key, value))
        return found

    def read_all(self) -> Iterable[Commit]:
        with self._env.begin() as transaction:
            cursor = transaction.cursor()
            cursor.set_range(b"o")
            for order, key in cursor:
                if order[:1] != b"o":
                    break
                value = transaction.get(key)
                assert value is not None
                yield commit_of_entry(key, value)

    def events(self, found: Iterable[Commit]) -> Iterator[Event]:
        return events_of(found)

    def close(self) -> None:
        self._env.close()
