"""The eventsourcing library at its lowest level: its SQLite recorder, events as rows.

It stores events, not commits, so a commit's events go in one call and come back as `EventMessage`s. It sets WAL
itself and leaves SQLite's synchronous at FULL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import msgpack
from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

from bench.work import Event
from fsstore.model import CommitAttempt, EventMessage, stored_event

_PAGE = 1_000
Found = tuple[UUID, int, EventMessage]


def originator(stream_id: str) -> UUID:
    """The library wants UUIDs for names."""
    return uuid5(NAMESPACE_OID, stream_id)


class Recorder:
    """One database file."""

    def __init__(self, place: Path, **_: Any) -> None:
        self._datastore = SQLiteDatastore(str(place / "bench.eventsourcing.db"), lock_timeout=60)
        self._recorder = SQLiteApplicationRecorder(self._datastore)
        self._recorder.create_table()
        with self._datastore.transaction(commit=False) as cursor:
            cursor.execute("PRAGMA synchronous")
            assert cursor.fetchone()[0] == 2

    def commit(self, attempts: Sequence[CommitAttempt]) -> None:
        rows = []
        for attempt in attempts:
            first = attempt.stream_revision - len(attempt.events) + 1
            name = originator(attempt.stream_id)
            for number, event in enumerate(attempt.events):
                headers = {**event.headers, **attempt.headers, "stream": attempt.stream_id}
                state = msgpack.packb([event.body, headers])
                rows.append(StoredEvent(name, first + number, event.body["type"], state))
        self._recorder.insert_events(rows)

    def settle(self) -> None:
        with self._datastore.get_connection(commit=True) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def load(self, stream_id: str) -> list[Found]:
        return [self._found(each) for each in self._recorder.select_events(originator(stream_id))]

    @staticmethod
    def _found(stored: Any) -> Found:
        return stored.originator_id, stored.originator_version, stored_event(*msgpack.unpackb(stored.state))

    def read_all(self) -> Iterable[Found]:
        start = 1
        while page := self._recorder.select_notifications(start, _PAGE):
            for each in page:
                yield self._found(each)
            start = page[-1].id + 1

    def events(self, found: Iterable[Found]) -> Iterator[Event]:
        for name, version, event in found:
            stream_id = event.headers["stream"]
            assert originator(stream_id) == name
            yield stream_id, version, event.body

    def close(self) -> None:
        self._datastore.close()
