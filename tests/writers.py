"""Processes that commit to one store, what they were told is stored, and whether it is.

Each runs `committing_process.py` and has a file, kept apart from the store, that takes its acknowledgements. When a
process is killed, stopped or cut off from its disk is for the caller to say.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from fsstore.engine import PersistenceEngine
from fsstore.model import Commit

STREAMS = 20
_PROGRAM = Path(__file__).with_name("committing_process.py")


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What a writer said of a commit once that had returned."""

    commit_id: UUID
    sequence: int
    stream_id: str


class Writers:
    """The writing processes of one store. Their acknowledgements are in files of the directory `acknowledged`."""

    def __init__(
        self, store: Path | str, acknowledged: Path, *, streams: int = STREAMS, errors: int | None = None
    ) -> None:
        self._store = store
        self._acknowledged = acknowledged
        self._streams = streams
        self._errors = errors
        self._started = 0
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, seconds: float) -> None:
        self._started += 1
        command = [sys.executable, _PROGRAM, self._store, str(seconds), str(self._streams), str(self._started)]
        with open(self._acknowledged / f"{self._started}", "wb") as out:
            self.running.append(subprocess.Popen(command, stdout=out, stderr=self._errors))

    def kill_one(self, number: int) -> None:
        process = self.running.pop(number)
        process.kill()
        process.wait()

    def stop(self) -> None:
        while self.running:
            self.kill_one(0)

    def acknowledgements(self) -> dict[int, Acknowledged]:
        """By checkpoint token; a line cut off by a kill does not count."""
        found = {}
        for path in self._acknowledged.iterdir():
            for line in path.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    token, commit_id, sequence, stream_id = line.rstrip("\n").split(" ", 3)
                    found[int(token)] = Acknowledged(UUID(commit_id), int(sequence), stream_id)
        return found


def check_nothing_is_lost(engine: PersistenceEngine, acknowledged: Mapping[int, Acknowledged]) -> int:
    """Everything acknowledged is stored, tokens have no hole, streams agree; gives the number of commits."""
    streams: dict[str, list[Commit]] = {}
    last = 0
    for commit in engine.get_from_checkpoint():
        last += 1
        assert commit.checkpoint_token == last, f"checkpoint {commit.checkpoint_token} comes after {last - 1}"
        said = acknowledged.get(last)
        found = Acknowledged(commit.commit_id, commit.commit_sequence, commit.stream_id)
        assert said in (None, found), f"checkpoint {last} is {found}, acknowledged was {said}"
        streams.setdefault(commit.stream_id, []).append(commit)
    newest = max(acknowledged, default=0)
    assert last >= newest, f"the store ends at checkpoint {last}, acknowledged was {newest}"
    for stream_id, commits in streams.items():
        assert list(engine.get_from("default", stream_id)) == commits, f"{stream_id} differs when read by itself"
        assert [commit.commit_sequence for commit in commits] == list(range(1, len(commits) + 1))
    return last
