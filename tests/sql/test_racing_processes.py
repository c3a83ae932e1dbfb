"""Four processes race on the same streams while one polls: no hole is seen late, no conflict was none."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fsstore.engines import engine_for

PROCESSES, STREAMS, SECONDS = 4, 5, 2.5
_PROGRAM = Path(__file__).with_name("racing_process.py")


@pytest.mark.parametrize("server", ["postgresql", "mariadb"])
def test_four_processes_on_the_same_streams(server: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    databases: Any = request.getfixturevalue(f"{server}_databases")
    url = databases.url(tmp_path)
    poller = engine_for(url)
    poller.initialize()
    racing, seen = [], 0
    try:
        for number in range(PROCESSES):
            arguments = [url, str(SECONDS), str(STREAMS), str(number)]
            with open(tmp_path / f"{number}", "wb") as out:
                racing.append(subprocess.Popen([sys.executable, _PROGRAM, *arguments], stdout=out))
        while any(process.poll() is None for process in racing):
            for commit in poller.get_from_checkpoint(seen):
                assert commit.checkpoint_token == seen + 1
                seen = commit.checkpoint_token
            time.sleep(0.002)
        assert [process.returncode for process in racing] == [0] * PROCESSES
        stored = {commit.checkpoint_token: commit for commit in poller.get_from_checkpoint()}
    finally:
        for process in racing:
            process.kill()
            process.wait()
        poller.close()
        databases.drop(tmp_path)

    assert list(stored) == list(range(1, len(stored) + 1))
    assert len(stored) >= seen > 0
    acknowledged = [
        line.split(" ", 3) for n in range(PROCESSES) for line in (tmp_path / f"{n}").read_text().splitlines()
    ]
    assert sorted(int(line[0]) for line in acknowledged) == list(stored)
    for token, commit_id, sequence, stream_id in acknowledged:
        commit = stored[int(token)]
        assert (str(commit.commit_id), commit.commit_sequence, commit.stream_id) == (
            commit_id,
            int(sequence),
            stream_id,
        )
    for number in range(STREAMS):
        commits = [commit for commit in stored.values() if commit.stream_id == f"stream {number}"]
        assert [commit.commit_sequence for commit in commits] == list(range(1, len(commits) + 1))
