"""`fsstore tail`: the last commits, and with -f those to come."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fsstore import Commit, EventStoreError
from fsstore.cli.walk import last_commits
from fsstore.dispatch.following import head_token
from fsstore.engines import engine_for
from fsstore.interchange import write_line
from fsstore.testing.attempts import fill, next_attempt

from .conftest import Run


@pytest.mark.parametrize(("options", "first"), [([], 0), (["-n", 2], 7), (["-n", 0], 9), (["--after", 4], 4)])
def test_the_last_commits(fsstore: Run, store: Path, commits: list[Commit], options: list[object], first: int) -> None:
    outcome = fsstore("tail", store, "--json", *options)
    assert outcome.code == 0
    assert outcome.out.splitlines() == [write_line(commit) for commit in commits[first:]]


def test_of_one_bucket(fsstore: Run, store: Path) -> None:
    assert [row["checkpoint_token"] for row in fsstore("tail", store, "--json", "-n", 2, "-b", "eu").json] == [6, 9]


def test_following_prints_what_another_process_commits(store: Path, commits: list[Commit]) -> None:
    command = [sys.executable, "-m", "fsstore", "tail", store, "-f", "-n", "1", "--json", "--poll-seconds", "0.01"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["checkpoint_token"] == 9
            engine = engine_for(store)
            engine.initialize()
            last = commits[-1]
            for token in (10, 11):
                last = engine.commit(next_attempt(last))
                line = json.loads(process.stdout.readline())
                assert (line["checkpoint_token"], line["stream_id"]) == (token, last.stream_id)
            engine.close()
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130


@pytest.mark.parametrize("deleted", [[], ["a"], ["b"], ["a", "b"], ["a", "b", "c"]])
def test_the_head_and_the_last_are_found_over_holes_in_the_tokens(deleted: list[str]) -> None:
    engine = engine_for("memory:")
    engine.initialize()
    for stream_id in "abc":
        fill(engine, stream_id, commits=23)
    for stream_id in deleted:
        engine.delete_stream("default", stream_id)
    left = list(engine.get_from_checkpoint())
    assert head_token(engine) == (left[-1].checkpoint_token if left else 0)
    for count in (0, 1, 5, 30, 100):
        assert last_commits(engine, count) == left[len(left) - min(count, len(left)) :]
    engine.close()
    with pytest.raises(EventStoreError):
        head_token(engine)
