"""Durable commits, fsstore's file engine against SQLite, side by side in one run.

    python bench/against_sqlite.py [--quick] [--rounds 5] [DIRECTORY]

Every commit has two events, about 500 bytes as stored, and is on the device when the call returns: fsstore with
durability="commit", SQLite in WAL mode with synchronous=FULL. Both encode the events with msgpack within the
clock. SQLite keeps commits in one table, unique by stream and sequence and by stream and commit id, through one
connection that the threads share under a lock: a connection for each thread is slower, as they wait for one
another by sleeping. The rounds alternate, and who goes first in them does too. "with close" adds what closing
costs: folding the journal, or checkpointing the WAL. After each run the store is opened again and everything is
read and counted. Only the ratios mean anything on another machine; disks decide the rest.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from fsstore.engines.file import open_engine
from fsstore.model import CommitAttempt, EventMessage
from fsstore.serialization import MsgpackSerializer, decode_payload, encode_payload

THREADS, BATCH, STREAMS = 8, 100, 100


class Store(Protocol):
    """What is measured: commits of one batch each, durable on return."""

    def commit(self, attempts: Sequence[CommitAttempt]) -> None: ...

    def close(self) -> None: ...

    def count(self) -> tuple[int, int]: ...


class Fsstore:
    """The file engine as a user gets it."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._engine = open_engine(place / "bench.store")
        self._engine.initialize()

    def commit(self, attempts: Sequence[CommitAttempt]) -> None:
        """One durable step."""
        if len(attempts) == 1:
            self._engine.commit(attempts[0])
        else:
            self._engine.commit_many(attempts)

    def close(self) -> None:
        """Folds the journal."""
        self._engine.close()

    def count(self) -> tuple[int, int]:
        """Commits and events that are there when the store is opened again."""
        engine = open_engine(self._place / "bench.store", create=False)
        engine.initialize()
        events = [len(commit.events) for commit in engine.get_from_checkpoint()]
        engine.close()
        return len(events), sum(events)


class Sqlite:
    """The same promises in the plainest SQLite."""

    TABLE = """
        CREATE TABLE commits (
            checkpoint_token INTEGER PRIMARY KEY AUTOINCREMENT,
            bucket_id TEXT NOT NULL, stream_id TEXT NOT NULL,
            stream_revision INTEGER NOT NULL, commit_sequence INTEGER NOT NULL,
            commit_id BLOB NOT NULL, commit_stamp INTEGER NOT NULL, payload BLOB NOT NULL,
            UNIQUE (bucket_id, stream_id, commit_sequence), UNIQUE (bucket_id, stream_id, commit_id)
        )"""
    INSERT = (
        "INSERT INTO commits (bucket_id, stream_id, stream_revision, commit_sequence, commit_id, commit_stamp, "
        "payload) VALUES (?, ?, ?, ?, ?, ?, ?)"
    )

    def __init__(self, place: Path) -> None:
        self._path = place / "bench.db"
        self._lock = threading.Lock()
        self._serializer = MsgpackSerializer()
        self._connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        mode = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        assert mode == "wal", mode
        self._connection.execute("PRAGMA synchronous = FULL")
        assert self._connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        self._connection.execute(self.TABLE)

    def commit(self, attempts: Sequence[CommitAttempt]) -> None:
        """One transaction."""
        rows = [
            (
                attempt.bucket_id,
                attempt.stream_id,
                attempt.stream_revision,
                attempt.commit_sequence,
                attempt.commit_id.bytes,
                int(attempt.commit_stamp.timestamp() * 1e6),
                encode_payload(self._serializer, attempt.headers, attempt.events),
            )
            for attempt in attempts
        ]
        with self._lock:
            if len(rows) == 1:
                self._connection.execute(self.INSERT, rows[0])
                return
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(self.INSERT, rows)
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Checkpoints the WAL."""
        self._connection.close()

    def count(self) -> tuple[int, int]:
        """Commits and events that are there when the database is opened again."""
        connection = sqlite3.connect(self._path)
        payloads = connection.execute("SELECT payload FROM commits ORDER BY checkpoint_token")
        events = [len(decode_payload(self._serializer, payload)[1]) for (payload,) in payloads]
        connection.close()
        return len(events), sum(events)


def work(commits: int, streams: int, prefix: str) -> list[CommitAttempt]:
    """Attempts on `streams` streams in turn, two events each."""
    attempts = []
    for number in range(commits):
        sequence = number // streams + 1
        events = tuple(
            EventMessage(
                {"type": "ItemAdded", "sku": f"SKU-{number:08}", "quantity": 3, "note": "x" * 120}, {"schema": 1}
            )
            for _ in range(2)
        )
        attempts.append(
            CommitAttempt(
                stream_id=f"{prefix}-{number % streams}",
                stream_revision=2 * sequence,
                commit_id=uuid4(),
                commit_sequence=sequence,
                commit_stamp=datetime.now(UTC),
                headers={"correlation_id": str(uuid4())},
                events=events,
            )
        )
    return attempts


Case = Callable[[Store, int], Callable[[], None]]


def single(store: Store, commits: int) -> Callable[[], None]:
    """One thread, one commit at a time."""
    attempts = work(commits, STREAMS, "single")

    def run() -> None:
        for attempt in attempts:
            store.commit((attempt,))

    return run


def threads(store: Store, commits: int) -> Callable[[], None]:
    """Eight threads with streams of their own, one commit at a time each."""
    parts = [work(commits // THREADS, STREAMS // THREADS, f"thread-{number}") for number in range(THREADS)]
    errors: list[BaseException] = []

    def one(attempts: list[CommitAttempt]) -> None:
        try:
            for attempt in attempts:
                store.commit((attempt,))
        except BaseException as error:
            errors.append(error)
            raise

    def run() -> None:
        running = [threading.Thread(target=one, args=(part,)) for part in parts]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        if errors:
            raise errors[0]

    return run


def bulk(store: Store, commits: int) -> Callable[[], None]:
    """One thread, a hundred commits at a time."""
    attempts = work(commits, STREAMS, "bulk")

    def run() -> None:
        for start in range(0, len(attempts), BATCH):
            store.commit(attempts[start : start + BATCH])

    return run


def measure(kind: type[Store], case: Case, commits: int, directory: Path) -> tuple[float, float]:
    """Seconds of committing, and with closing; checked by reading everything back."""
    place = Path(tempfile.mkdtemp(dir=directory))
    try:
        store = kind(place)
        run = case(store, commits)
        began = time.perf_counter()
        run()
        committed = time.perf_counter()
        store.close()
        closed = time.perf_counter()
        found = store.count()
        if found != (commits, 2 * commits):
            raise SystemExit(f"{kind.__name__} lost something: {found} commits and events, not {commits, 2 * commits}")
    finally:
        shutil.rmtree(place)
    return committed - began, closed - began


def main() -> None:
    """Run the cases and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", type=Path, help="on the disk to measure; default: here")
    parser.add_argument("--quick", action="store_true", help="tiny amounts: shows that it works, measures nothing")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    directory = options.directory or Path.cwd()
    scale, rounds = (100, 1) if options.quick else (1, options.rounds)
    cases = {"single commits": (single, 4_000), "8 threads": (threads, 16_000), "bulk by 100": (bulk, 50_000)}
    print(
        f"SQLite {sqlite3.sqlite_version}, Python {sys.version.split()[0]}, median of {rounds} rounds, in {directory}"
    )
    print(f"{'':<16}{'fsstore/s':>12}{'SQLite/s':>12}{'ratio':>8}{'with close':>12}")
    for name, (case, amount) in cases.items():
        commits = amount // scale
        seconds: dict[type[Store], list[tuple[float, float]]] = {Fsstore: [], Sqlite: []}
        for number in range(rounds):
            for kind in sorted(seconds, key=lambda kind: kind.__name__, reverse=bool(number % 2)):
                seconds[kind].append(measure(kind, case, commits, directory))
        ours, theirs = ([commits / each[0] for each in seconds[kind]] for kind in (Fsstore, Sqlite))
        ratios = [one[0] / other[0] for other, one in zip(seconds[Fsstore], seconds[Sqlite], strict=True)]
        closing = [one[1] / other[1] for other, one in zip(seconds[Fsstore], seconds[Sqlite], strict=True)]
        print(
            f"{name:<16}{statistics.median(ours):>12,.0f}{statistics.median(theirs):>12,.0f}"
            f"{statistics.median(ratios):>8.2f}{statistics.median(closing):>12.2f}   "
            f"{rounds * commits:,} commits read back from each",
            flush=True,
        )


if __name__ == "__main__":
    main()
