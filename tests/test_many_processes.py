"""Many processes on one file store, some of them killed: nothing acknowledged is lost, nobody sees a hole."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from writers import Writers, check_nothing_is_lost

from fsstore.engines.file import FileEngine

PROCESSES = 8
SECONDS = 6.0


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
    assert check_nothing_is_lost(engine, writers.acknowledgements()) >= seen > 0
    engine.close()
