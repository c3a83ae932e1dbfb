"""The standard library's SQLite: WAL, synchronous=FULL, one table with the two unique keys.

Threads share one connection under a lock: a connection each is slower, since they wait for one another by
sleeping. Processes have one each, and wait as SQLite makes them wait.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.peers.rows import commit_of, row_of
from bench.work import Event, events_of
from fsstore.model import Commit, CommitAttempt

_TABLE = """
    CREATE TABLE IF NOT EXISTS commits (
        checkpoint_token INTEGER PRIMARY KEY AUTOINCREMENT,
        bucket_id TEXT NOT NULL, stream_id TEXT NOT NULL,
        stream_revision INTEGER NOT NULL, commit_sequence INTEGER NOT NULL,
        commit_id BLOB NOT NULL, commit_stamp INTEGER NOT NULL, payload BLOB NOT NULL,
        UNIQUE (bucket_id, stream_id, commit_sequence), UNIQUE (bucket_id, stream_id, commit_id)
    )"""
_INSERT = (
    "INSERT INTO commits (bucket_id, stream_id, stream_revision, commit_sequence, commit_id, commit_stamp, payload) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_SELECT = (
    "SELECT bucket_id, stream_id, checkpoint_token, stream_revision, commit_sequence, commit_id, commit_stamp, payload "
    "FROM commits "
)


class Sqlite:
    """One database file."""

    def __init__(self, place: Path, **_: Any) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            place / "bench.db", isolation_level=None, check_same_thread=False, timeout=60
        )
        mode = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        self._connection.execute("PRAGMA synchronous = FULL")
        synchronous = self._connection.execute("PRAGMA synchronous").fetchone()[0]
        assert (mode, synchronous) == ("wal", 2), (mode, synchronous)
        self._connection.execute(_TABLE)

    def commit(self, attempts: Sequence[CommitAttempt]) -> None:
        rows = [(attempt.bucket_id, attempt.stream_id, *row_of(attempt)) for attempt in attempts]
        with self._lock:
            if len(rows) == 1:
                self._connection.execute(_INSERT, rows[0])
                return
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(_INSERT, rows)
            self._connection.execute("COMMIT")

    def settle(self) -> None:
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def load(self, stream_id: str) -> list[Commit]:
        rows = self._connection.execute(
            _SELECT + "WHERE bucket_id = ? AND stream_id = ? ORDER BY commit_sequence", ("default", stream_id)
        )
        return [commit_of(*row) for row in rows]

    def read_all(self) -> Iterable[Commit]:
        for row in self._connection.execute(_SELECT + "ORDER BY checkpoint_token"):
            yield commit_of(*row)

    def events(self, found: Iterable[Commit]) -> Iterator[Event]:
        return events_of(found)

    def close(self) -> None:
        self._connection.close()
