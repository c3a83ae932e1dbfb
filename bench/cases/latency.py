"""How long a single durable commit takes at worst while another process folds the same store."""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from bench.case import Case, Figures, fresh, worker_command
from bench.floor import Floor, records
from bench.peers.fsstore_file import FsstoreFile
from bench.work import attempts, batches, prove
from fsstore.engines.file import FileEngine
from fsstore.model import CommitAttempt


class BesideAFold(Case):
    """Another process brings in commits on many streams and folds, over and over, while this one commits."""

    name = "beside-a-fold"
    title = "one commit while another process folds"
    units: Mapping[str, str] = {"p50": "µs", "p99": "µs", "max": "µs"}
    contenders: tuple[str, ...] = ("floor", "fsstore")
    rounds = 5

    def prepare(self, directory: Path, scale: int) -> None:
        self._directory = directory
        self._scale = scale
        self._attempts = list(attempts("late", 20, max(2, 100 // scale)))

    def measure(self, contender: str) -> Figures:
        with fresh(self._directory) as place:
            seconds = self._floor(place) if contender == "floor" else self._fsstore(place)
        seconds.sort()
        at = [seconds[int(len(seconds) * share)] for share in (0.5, 0.99)]
        return {"p50": at[0] * 1e6, "p99": at[1] * 1e6, "max": seconds[-1] * 1e6}

    def _floor(self, place: Path) -> list[float]:
        parts = records(self._attempts)
        floor = Floor(place, sum(map(len, parts)))
        seconds = floor.append(parts)
        floor.close()
        return seconds

    def _fsstore(self, place: Path) -> list[float]:
        store = FsstoreFile(place)
        command = worker_command("latency", place, self._scale)
        folding = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert folding.stdout is not None
            assert folding.stdout.readline().strip() == "folding", "the folding process failed; its error is above"
            seconds = []
            for attempt in self._attempts:
                began = time.perf_counter()
                store.commit((attempt,))
                seconds.append(time.perf_counter() - began)
            folds, errors = folding.communicate("stop\n", timeout=60)
            assert folding.returncode == 0, errors
            assert int(folds) > 0
            found = (event for event in store.events(store.read_all()) if event[0].startswith("late"))
            prove(f"fsstore after {self.name}", found, self._attempts)
        finally:
            if folding.poll() is None:
                folding.kill()
            folding.communicate()
            store.close()
        return seconds


def work(place: str, scale: str) -> None:
    """The other process: it says when it begins, and at the end how often it folded."""
    engine = FileEngine(Path(place) / "bench.store")
    engine.initialize()
    folds = 0
    print("folding", flush=True)
    while not folds or not select.select([sys.stdin], [], [], 0)[0]:
        made: list[CommitAttempt] = list(attempts(f"fold{folds}", max(1, 500 // int(scale)), 4))
        for step in batches(made, 200):
            engine.commit_many(step)
        engine.fold()
        folds += 1
    engine.close()
    print(folds, flush=True)


def cases() -> list[Case]:
    """The one."""
    return [BesideAFold()]
