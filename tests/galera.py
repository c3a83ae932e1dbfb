"""Processes race on the same streams over the three nodes of a Galera cluster, a poller on each node, one node killed.

Galera locks no row on another node: of two transactions that took the same token, the later one fails when it
commits, with error 1213, and is tried again. What must hold all the same, on every node: each sequence number of a
stream has one winner, nobody is told of a conflict that was none, nothing acknowledged is lost, and who polls sees
tokens without a gap. Run by tools/galera.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread

import pymysql
from servers.galera import cluster
from sqlalchemy import Connection, event, make_url

from fsstore.engines import engine_for
from fsstore.engines.sql.engine import SqlEngine
from fsstore.errors import ConcurrencyError, StorageUnavailableError
from fsstore.model import Commit
from fsstore.testing.attempts import first_attempt, next_attempt

STREAMS = 5
_RACING = Path(__file__).with_name("committing_process.py")


class Poller:
    """A reader on one node, which asks again and again for what comes after the last it saw."""

    def __init__(self, url: str) -> None:
        self.seen = 0
        self.gaps: list[str] = []
        self.lost_node = False
        self._engine = engine_for(url, create=False, timeout_seconds=10)
        self._engine.initialize()
        self._stopping = Event()
        self._thread = Thread(target=self._poll)
        self._thread.start()

    def _poll(self) -> None:
        while not self._stopping.wait(0.005):
            try:
                for commit in self._engine.get_from_checkpoint(self.seen):
                    if commit.checkpoint_token != self.seen + 1:
                        self.gaps.append(f"{commit.checkpoint_token} came after {self.seen}")
                    self.seen = commit.checkpoint_token
            except StorageUnavailableError:
                self.lost_node = True
                return

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._engine.close()


@contextmanager
def _racing(urls: Sequence[str], processes: int, seconds: float, out: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    racing = []
    try:
        for number in range(processes):
            arguments = [urls[number % len(urls)], str(seconds), str(STREAMS), str(number)]
            with (out / f"{number}").open("wb") as printed, (out / f"{number}.errors").open("wb") as errors:
                racing.append(subprocess.Popen([sys.executable, _RACING, *arguments], stdout=printed, stderr=errors))
        yield racing
    finally:
        for process in racing:
            process.kill()
            process.wait()


def _acknowledged(out: Path, number: int) -> list[tuple[int, str, int, str]]:
    lines = [line.split(" ", 3) for line in (out / f"{number}").read_text().splitlines()]
    return [(int(token), commit_id, int(sequence), stream_id) for token, commit_id, sequence, stream_id in lines]


def _stored(url: str) -> list[Commit]:
    with closing(engine_for(url, create=False)) as engine:
        engine.initialize()
        return list(engine.get_from_checkpoint())


def _certification_failures(url: str) -> int:
    found = make_url(url)
    with closing(pymysql.connect(host=found.host, port=found.port or 0, user="root")) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT SUM(VARIABLE_VALUE) FROM information_schema.GLOBAL_STATUS"
            " WHERE VARIABLE_NAME IN ('WSREP_LOCAL_CERT_FAILURES', 'WSREP_LOCAL_BF_ABORTS')"
        )
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])


def _check_streams(commits: Sequence[Commit]) -> None:
    assert [commit.checkpoint_token for commit in commits] == list(range(1, len(commits) + 1)), "tokens have a gap"
    for number in range(STREAMS):
        sequences = [commit.commit_sequence for commit in commits if commit.stream_id == f"stream {number}"]
        assert sequences == list(range(1, len(sequences) + 1)), f"stream {number} has a gap or two winners"


def _check_deleting(urls: Sequence[str]) -> None:
    """A stream that another node deletes while a commit to it ends is gone: no commit stays behind without those
    before it."""
    with closing(SqlEngine(urls[0])) as deleting, closing(SqlEngine(urls[1])) as committing:
        deleting.initialize()
        committing.initialize()
        first = first_attempt("deleted")
        committing.commit(first)
        list(deleting.get_from("default", "deleted"))

        def delete(connection: Connection) -> None:
            deleting.delete_stream("default", "deleted")

        event.listen(committing.sqlalchemy_engine, "commit", delete, once=True)
        try:
            committing.commit(next_attempt(first))
        except ConcurrencyError:
            pass
        else:
            raise AssertionError("a commit follows one that was deleted on another node")
        deleting.purge()


def run(processes: int, seconds: float) -> None:
    """One race: the last node is killed half-way and joins again at the end."""
    with cluster() as nodes, tempfile.TemporaryDirectory(prefix="fsstore-galera-race-") as directory:
        out, urls = Path(directory), [url for _, url in nodes]
        with closing(engine_for(urls[0])) as engine:
            engine.initialize()
        pollers = [Poller(url) for url in urls]
        with _racing(urls, processes, seconds, out) as racing:
            time.sleep(seconds / 2)
            killed = len(nodes) - 1
            nodes[killed][0].kill()
            for process in racing:
                process.wait(seconds + 120)
        failures = sum(_certification_failures(url) for url in urls[:killed])
        nodes[killed][0].start()
        for poller in pollers:
            poller.stop()

        held = {url: _stored(url) for url in urls}
        commits = held[urls[0]]
        assert all(each == commits for each in held.values()), "the nodes hold different commits"
        _check_streams(commits)
        known = {(c.checkpoint_token, str(c.commit_id), c.commit_sequence, c.stream_id) for c in commits}
        for number, process in enumerate(racing):
            lost = set(_acknowledged(out, number)) - known
            assert not lost, f"process {number}: acknowledged and not stored: {sorted(lost)}"
            errors = (out / f"{number}.errors").read_text()
            on_killed = number % len(nodes) == killed
            may_end = on_killed and "StorageUnavailableError" in errors
            assert process.returncode == 0 or may_end, f"process {number} on node {number % len(nodes)}:\n{errors}"
        for number, poller in enumerate(pollers):
            assert not poller.gaps, f"the poller on node {number} saw gaps: {poller.gaps[:5]}"
            assert not poller.lost_node or number == killed, f"the poller on node {number} lost it"
        _check_deleting(urls)
        print(
            f"{len(commits)} commits by {processes} processes in {seconds:g} s, {failures} transactions failed "
            f"certification and were tried again; pollers saw {[poller.seen for poller in pollers]}"
        )


def main() -> None:
    arguments = argparse.ArgumentParser(prog="tools/galera", description=__doc__)
    arguments.add_argument("--processes", type=int, default=6)
    arguments.add_argument("--seconds", type=float, default=20.0)
    given = arguments.parse_args()
    run(given.processes, given.seconds)


if __name__ == "__main__":
    main()
