"""Four processes race on the same streams while one polls: no hole is seen late, no conflict was none."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from writers import Writers, check_nothing_is_lost

from fsstore.engines import engine_for

PROCESSES, STREAMS, SECONDS = 4, 5, 2.5


@pytest.mark.parametrize("server", ["postgresql", "mariadb"])
def test_four_processes_on_the_same_streams(server: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    databases: Any = request.getfixturevalue(f"{server}_databases")
    url = databases.url(tmp_path)
    poller = engine_for(url)
    poller.initialize()
    writers, seen = Writers(url, tmp_path, streams=STREAMS), 0
    try:
        for _ in range(PROCESSES):
            writers.start(SECONDS)
        while any(process.poll() is None for process in writers.running):
            for commit in poller.get_from_checkpoint(seen):
                assert commit.checkpoint_token == seen + 1
                seen = commit.checkpoint_token
            time.sleep(0.002)
        assert [process.returncode for process in writers.running] == [0] * PROCESSES
        acknowledged = writers.acknowledgements()
        assert check_nothing_is_lost(poller, acknowledged) == len(acknowledged) >= seen > 0
    finally:
        writers.stop()
        poller.close()
        databases.drop(tmp_path)
