"""The sample history copied from engine to engine and compared at each hop; run as a program, from the root:

    PYTHONPATH=tests python tests/copy_around.py [postgresql mariadb sqlite mongodb]

History → file → PostgreSQL → MariaDB → SQLite → file, or by way of those that are named, with private servers. Prints
a line a hop; ends with an error when a digest differs. SecantusDB, which speaks for MongoDB, takes minutes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
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


def place(engine: str, here: Path, servers: ExitStack) -> str:
    """A store of that engine that is not there yet; what it needs runs until `servers` ends."""
    if engine == "sqlite":
        return f"sqlite:///{here}/copy.db"
    if engine == "mongodb":
        return servers.enter_context(mongodb.running()).rstrip("/") + "/" + mongodb.database(here)
    server = {"postgresql": postgresql, "mariadb": mariadb}[engine]
    return Databases(servers.enter_context(server.running()), "").url(here)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="*", default=["postgresql", "mariadb", "sqlite"], metavar="ENGINE")
    engines = parser.parse_args().engines
    with tempfile.TemporaryDirectory() as directory, ExitStack() as servers:
        here = Path(directory)
        source = opened(str(here / "first.store"))
        fill(source)
        summary = Summary()
        for _ in summarize(source, summary):
            pass
        digest = summary.digest
        print(f"{'history → file':24} {summary.commits:,} commits, {len(summary.streams)} streams, {digest}")
        before = "file"
        for engine in [*engines, "file"]:
            target = opened(str(here / "last.store") if engine == "file" else place(engine, here, servers))
            began, copied = time.monotonic(), Summary()
            for _ in copy_store(source, target, EVERYTHING, copied):
                pass
            seconds = time.monotonic() - began
            print(
                f"{before + ' → ' + engine:24} {copied.commits:,} commits, {len(copied.streams)} streams, "
                f"{copied.digest} {seconds:.1f} s",
                flush=True,
            )
            assert copied.digest == digest, "the digests differ"
            source.close()
            source, before = target, engine
        source.close()


if __name__ == "__main__":
    main()
