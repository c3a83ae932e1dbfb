"""Many processes, a server that is killed, one that stands alone: nothing acknowledged is lost, no hole is seen."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from servers import mongodb
from servers.process import Server

from fsstore import CommitAttempt, DuplicateCommitError, StorageError, StorageUnavailableError
from fsstore.engine import PersistenceEngine
from fsstore.engines.mongo import open_engine
from fsstore.testing.attempts import fill, first_attempt, next_attempt

PROCESSES = 4
EACH = 8
_PROGRAM = Path(__file__).with_name("racing_process.py")


def test_four_processes_race_for_one_stream(url: str) -> None:
    """Half of them wait as tasks."""
    engine = open_engine(url)
    engine.initialize()
    arguments = [sys.executable, str(_PROGRAM), url, "one", str(EACH)]
    writers = [
        subprocess.Popen([*arguments, who], stdout=subprocess.PIPE, text=True)
        for who in ("threads", "tasks") * (PROCESSES // 2)
    ]
    seen: list[int] = []
    try:
        while True:
            running = any(writer.poll() is None for writer in writers)
            seen += [commit.checkpoint_token for commit in engine.get_from_checkpoint(len(seen))]
            assert seen == list(range(1, len(seen) + 1)), "a reader found a hole"
            if not running:
                break
            time.sleep(0.02)
        acknowledged = [line.split() for writer in writers for line in writer.communicate()[0].splitlines()]
        assert [writer.returncode for writer in writers] == [0] * PROCESSES
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    stored = list(engine.get_from("default", "one"))
    engine.close()
    assert [commit.commit_sequence for commit in stored] == list(range(1, PROCESSES * EACH + 1))
    assert sorted(acknowledged, key=lambda line: int(line[0])) == [
        [str(commit.checkpoint_token), str(commit.commit_id), str(commit.commit_sequence)] for commit in stored
    ]


class Writer(threading.Thread):
    """Commits to a stream of its own; while the server is away it tries the same attempt again."""

    def __init__(self, engine: PersistenceEngine, stream_id: str, commits: int) -> None:
        super().__init__(daemon=True)
        self.attempts: list[CommitAttempt] = []
        self.acknowledged = 0
        self.doubts = 0
        self.failure: BaseException | None = None
        self._engine = engine
        self._stream_id = stream_id
        self._commits = commits

    def run(self) -> None:
        try:
            for _ in range(self._commits):
                last = self.attempts[-1] if self.attempts else None
                attempt = next_attempt(last) if last else first_attempt(self._stream_id)
                self._commit(attempt)
                self.attempts.append(attempt)
                self.acknowledged += 1
        except BaseException as error:
            self.failure = error

    def _commit(self, attempt: CommitAttempt) -> None:
        doubtful = False
        while True:
            try:
                self._engine.commit(attempt)
                return
            except StorageUnavailableError as error:
                doubtful |= error.in_doubt
                self.doubts += error.in_doubt
                time.sleep(0.05)
            except DuplicateCommitError:
                assert doubtful, "a commit that was never in doubt was there already"
                return


def test_a_killed_server_has_every_acknowledged_commit(killable: tuple[Server, str], who: str) -> None:
    server, url = killable
    engines = [mongodb.waiting(who, url, database="killed", serverSelectionTimeoutMS=500) for _ in range(4)]
    for engine in engines:
        engine.initialize()
    writers = [Writer(engine, f"stream {number}", 40) for number, engine in enumerate(engines)]
    for writer in writers:
        writer.start()
    for enough in (5, 20):
        while any(writer.acknowledged < enough and writer.is_alive() for writer in writers):
            time.sleep(0.01)
        server.kill()
        server.start()
    for writer in writers:
        writer.join(90)
    assert [(writer.failure, writer.is_alive()) for writer in writers] == [(None, False)] * 4
    commits = list(engines[0].get_from_checkpoint())
    assert [commit.checkpoint_token for commit in commits] == list(range(1, 161))
    for number, writer in enumerate(writers):
        stream = list(engines[0].get_from("default", f"stream {number}"))
        assert [commit.commit_id for commit in stream] == [attempt.commit_id for attempt in writer.attempts]
    for engine in engines:
        engine.close()


def test_a_server_that_is_away_says_so_and_leaves_no_doubt_when_it_was_never_asked(
    killable: tuple[Server, str], who: str
) -> None:
    server, url = killable
    engine = mongodb.waiting(who, url, database="away", serverSelectionTimeoutMS=200)
    engine.initialize()
    [head] = fill(engine, "stream")
    server.kill()
    with pytest.raises(StorageUnavailableError):
        engine.commit(next_attempt(head))
    with pytest.raises(StorageUnavailableError) as raised:
        engine.commit(next_attempt(head))
    assert raised.value.in_doubt is False
    with pytest.raises(StorageUnavailableError):
        list(engine.get_from_checkpoint())
    engine.close()


def test_a_server_that_stands_alone_stores_commits_one_by_one(tmp_path: Path) -> None:
    server, url = mongodb.standing(tmp_path / "server", "--standalone")
    server.start()
    try:
        engine = open_engine(url, database="alone", directConnection=True)
        engine.initialize()
        stored = fill(engine, "stream", commits=3)
        assert engine.commit_many([next_attempt(stored[-1])])[0].checkpoint_token == 4
        with pytest.raises(StorageError, match="replica set"):
            engine.commit_many([first_attempt("a"), first_attempt("b")])
        assert len(list(engine.get_from_checkpoint())) == 4
        waiting = threading.Timer(0.1, fill, (engine, "other"))
        waiting.start()
        assert engine.wait_for_commits(4, 30.0) is True  # type: ignore[attr-defined]
        waiting.join()
        engine.close()
    finally:
        server.kill()
