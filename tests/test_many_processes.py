"""Many processes on one file store, some of them killed: nothing acknowledged is lost, nobody sees a hole."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fsstore.engines.file import FileEngine

PROCESSES = 8
STREAMS = 20
SECONDS = 10.0
_PROGRAM = Path(__file__).with_name("committing_process.py")


class Writers:
    """The writing processes, each with a file that takes its acknowledgements."""

    def __init__(self, store: Path, acknowledged: Path) -> None:
        self._store = store
        self._acknowledged = acknowledged
        self._started = 0
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, seconds: float) -> None:
        self._started += 1
        arguments = [self._store, str(seconds), str(STREAMS), str(self._started)]
        with open(self._acknowledged / f"{self._started}", "wb") as out:
            self.running.append(subprocess.Popen([sys.executable, _PROGRAM, *arguments], stdout=out))

    def kill_one(self, number: int) -> None:
        process = self.running.pop(number)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()

    def acknowledgements(self) -> dict[int, tuple[str, int, str]]:
        """Checkpoint token -> commit id, sequence, stream; a line cut off by a kill does not count."""
        found = {}
        for path in self._acknowledged.iterdir():
            for line in path.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    token, commit_id, sequence, stream_id = line.rstrip("\n").split(" ", 3)
                    found[int(token)] = (commit_id, int(sequence), stream_id)
        return found


@pytest.mark.parametrize("poll_read_only", [False, True], ids=["polled by a writer", "polled read-only"])
def test_eight_processes_with_kills_lose_nothing_and_show_no_hole(tmp_path: Path, poll_read_only: bool) -> None:
    store, acknowledged = tmp_path / "many.store", tmp_path / "acknowledged"
    acknowledged.mkdir()
    first = FileEngine(store)
    first.initialize()
    first.close()
    poller = FileEngine(store, read_only=poll_read_only)
    poller.initialize()
    seconds = SECONDS if not poll_read_only else SECONDS / 3
    writers = Writers(store, acknowledged)
    chance = random.Random(7)
    seen = 0
    try:
        for _ in range(PROCESSES):
            writers.start(seconds)
        until, next_kill = time.monotonic() + seconds, time.monotonic() + 1
        while any(process.poll() is None for process in writers.running):
            for commit in poller.get_from_checkpoint(seen):
                assert commit.checkpoint_token == seen + 1
                seen = commit.checkpoint_token
            now = time.monotonic()
            if next_kill < now < until - 1:
                writers.kill_one(chance.randrange(PROCESSES))
                writers.start(until - now)
                next_kill = now + 1
            time.sleep(0.002)
        assert [process.returncode for process in writers.running] == [0] * PROCESSES
    finally:
        writers.stop()
        poller.close()

    engine = FileEngine(store)
    engine.initialize()
    stored = {commit.checkpoint_token: commit for commit in engine.get_from_checkpoint()}
    assert list(stored) == list(range(1, len(stored) + 1))
    assert len(stored) >= seen > 0
    for token, (commit_id, sequence, stream_id) in writers.acknowledgements().items():
        commit = stored[token]
        assert (str(commit.commit_id), commit.commit_sequence, commit.stream_id) == (commit_id, sequence, stream_id)
    for number in range(STREAMS):
        stream_id = f"stream {number}"
        commits = list(engine.get_from("default", stream_id))
        assert commits == [commit for commit in stored.values() if commit.stream_id == stream_id]
        assert [commit.commit_sequence for commit in commits] == list(range(1, len(commits) + 1))
    engine.close()
