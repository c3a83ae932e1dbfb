"""The sample history copied from engine to engine and compared at each hop; run as a program, from the root:

    PYTHONPATH=tests python tests/copy_around.py

History → file → PostgreSQL → MariaDB → SQLite → MongoDB → file, with private servers. Prints a line a hop; ends with
an error when a digest differs.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from servers import mariadb, mongodb, postgresql
from servers.databases import Databases

from fsstore.copying import Summary, copy_store, summarize
from fsstore.demo.sample import history
from fsstore.engine import PersistenceEngine
from fsstore.engines import engine_for
from fsstore.importing import import_commits
from fsstore.model import Snapshot

EVERYTHING = 1 << 40
SNAPSHOT_EVERY, MARK_EVERY = 7, 10


def opened(target: str) -> PersistenceEngine:
    engine = engine_for(target)
    engine.initialize()
    return engine


def fill(engine: PersistenceEngine) -> None:
    """The history, with snapshots and dispatch marks here and there."""
    for batch in import_commits(engine, history()):
        for commit in batch.stored:
            if commit.checkpoint_token % SNAPSHOT_EVERY == 0:
                state = {"at": commit.stream_revision, "by": str(commit.commit_id)}
                engine.add_snapshot(Snapshot(commit.stream_id, commit.stream_revision, state, commit.bucket_id))
            if commit.checkpoint_token % MARK_EVERY == 0:
                engine.mark_commit_as_dispatched(commit)


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        postgresql.running() as one,
        mariadb.running() as other,
        mongodb.running(Path(directory) / "mongodb") as third,
    ):
        databases = [Databases(url, "") for url in (one, other)]
        here = Path(directory)
        source = opened(str(here / "first.store"))
        fill(source)
        summary = Summary()
        for _ in summarize(source, summary):
            pass
        digest = summary.digest
        print(f"{'history → file':24} {summary.commits:,} commits, {len(summary.streams)} streams, {digest}")
        hops = [
            ("file → PostgreSQL", databases[0].url(here)),
            ("PostgreSQL → MariaDB", databases[1].url(here)),
            ("MariaDB → SQLite", f"sqlite:///{here}/third.db"),
            ("SQLite → MongoDB", third.rstrip("/") + "/" + mongodb.database(here)),
            ("MongoDB → file", str(here / "last.store")),
        ]
        for name, place in hops:
            began = time.monotonic()
            target, copied = opened(place), Summary()
            for _ in copy_store(source, target, EVERYTHING, copied):
                pass
            seconds = time.monotonic() - began
            print(
                f"{name:24} {copied.commits:,} commits, {len(copied.streams)} streams, {copied.digest} {seconds:.1f} s"
            )
            assert copied.digest == digest, "the digests differ"
            source.close()
            source = target
        source.close()


if __name__ == "__main__":
    main()
