"""Whether a store gets slower or larger in memory as it grows: the same commits to an empty store, to a stream that
has a million, and to a store of very many streams. Each in a process of its own, so that its memory can be told.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

from bench.case import Case, Figures, fresh, worker_command
from bench.work import attempts
from fsstore.engines.file import FileEngine
from fsstore.model import CommitAttempt

_AMOUNT = 1_000_000
_COMMITS = 2_000


class Growing(Case):
    """Median time of a commit, resident memory and open files afterwards."""

    name = "growing"
    title = "append to an empty store, to a stream of 1M commits, to the streams of a store of 1M"
    units: Mapping[str, str] = {"commit": "µs", "memory": "MiB", "files": "handles"}
    contenders: tuple[str, ...] = ("empty", "long-stream", "many-streams")
    rounds = 3

    def prepare(self, directory: Path, scale: int) -> None:
        self._directory = directory
        self._commits = max(20, _COMMITS // scale)
        amount = _AMOUNT // scale**2
        self._grown = {"long-stream": self._fill(1, amount), "many-streams": self._fill(amount, 1)}
        self._streams = {"long-stream": 1, "many-streams": amount}
        self._round = {"long-stream": 0, "many-streams": 0}

    def _fill(self, streams: int, commits_each: int) -> Path:
        place = Path(tempfile.mkdtemp(prefix="bench-", dir=self._directory))
        engine = FileEngine(place / "bench.store")
        engine.initialize()
        made = attempts("grown", streams, commits_each, events=1)
        while step := list(islice(made, 2_000)):
            engine.commit_many(step)
        engine.close()
        return place

    def measure(self, contender: str) -> Figures:
        if contender == "empty":
            with fresh(self._directory) as place:
                return self._measure(place, 1, 0)
        number = self._round[contender]
        self._round[contender] += 1
        return self._measure(self._grown[contender], self._streams[contender], number)

    def _measure(self, place: Path, streams: int, number: int) -> Figures:
        command = worker_command("growing", place, streams, number, self._commits)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        figures: Figures = json.loads(done.stdout)
        return figures


def _following(engine: FileEngine, streams: int, number: int, count: int) -> list[CommitAttempt]:
    """The next commits of `count` streams, or of the only one; others in each round."""
    made = list(attempts(f"more{number}", 1 if streams == 1 else count, count if streams == 1 else 1, events=1))
    if streams == 1:
        head = next(iter(engine.get_streams_to_snapshot("default", 0)), None)
        last = head.head_revision if head is not None else 0
        return [
            replace(one, stream_id="grown-0000000", commit_sequence=n, stream_revision=n)
            for n, one in enumerate(made, last + 1)
        ]
    apart = max(1, streams // count)
    return [
        replace(one, stream_id=f"grown-{(n * apart + number) % streams:07}", commit_sequence=2, stream_revision=2)
        for n, one in enumerate(made)
    ]


def work(place: str, streams: str, number: str, count: str) -> None:
    """The process that commits and measures itself."""
    engine = FileEngine(Path(place) / "bench.store")
    engine.initialize()
    made = _following(engine, int(streams), int(number), int(count))
    seconds = []
    for attempt in made:
        began = time.perf_counter()
        engine.commit(attempt)
        seconds.append(time.perf_counter() - began)
    with open("/proc/self/status", encoding="ascii") as status:
        resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    figures = {
        "commit": statistics.median(seconds) * 1e6,
        "memory": resident / 1024,
        "files": float(len(os.listdir("/proc/self/fd"))),
    }
    last = made[-1]
    found = list(engine.get_from("default", last.stream_id, last.stream_revision))
    assert [commit.commit_id for commit in found] == [last.commit_id]
    engine.close()
    print(json.dumps(figures))


def cases() -> list[Case]:
    """The one, three ways."""
    return [Growing()]
