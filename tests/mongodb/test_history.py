"""The history of a real repository goes into MongoDB and from there into a file store, and is the same everywhere.

Its beginning, so that the suite stays short; all of it with FSSTORE_TEST_WHOLE_HISTORY=1.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from hashlib import sha256
from itertools import islice
from pathlib import Path

import pytest

from fsstore import Commit
from fsstore.demo.sample import history
from fsstore.engines import engine_for
from fsstore.importing import import_commits
from fsstore.interchange import read_line, write_line

COMMITS = None if os.environ.get("FSSTORE_TEST_WHOLE_HISTORY") else 1_500


def digest(commits: Iterable[Commit]) -> str:
    """Of every field of every commit, the token too."""
    found = sha256()
    for commit in commits:
        found.update(write_line(commit).encode() + b"\n")
    return found.hexdigest()


@pytest.mark.timeout(600)
def test_history_to_mongodb_to_a_file(url: str, tmp_path: Path) -> None:
    mongo, file = engine_for(url), engine_for(tmp_path / "history.store")
    for engine in (mongo, file):
        engine.initialize()
    attempts = list(islice(history(), COMMITS))
    wanted = digest(Commit.of(attempt, number) for number, (_, attempt) in enumerate(attempts, 1))
    for _ in import_commits(mongo, attempts, batch_commits=500):
        pass
    stored = list(mongo.get_from_checkpoint())
    assert digest(stored) == wanted
    for _ in import_commits(file, enumerate((read_line(write_line(commit)) for commit in stored), 1)):
        pass
    assert digest(file.get_from_checkpoint()) == wanted
    mongo.close()
    file.close()
