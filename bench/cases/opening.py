"""How long opening takes, of a store with many streams: after a clean stop, and after SIGKILL with a full journal."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.case import Case, Figures, worker_command
from bench.floor import records
from bench.work import attempts, batches
from fsstore.engines.file import FileEngine

_EVENTS = 10
# The journal as it is just before folding begins.
_UNFOLDED_BYTES = 15 << 20


class Opening(Case):
    """1M events in 100k streams. Each round leaves the store as the next one needs it."""

    name = "open"
    title = "open a store of 1M events in 100k streams"
    units: Mapping[str, str] = {"open": "ms"}
    contenders: tuple[str, ...] = ("clean", "killed")
    rounds = 5

    def prepare(self, directory: Path, scale: int) -> None:
        self._place = Path(tempfile.mkdtemp(prefix="bench-", dir=directory))
        self._streams = 100_000 // scale
        self._unfolded = _UNFOLDED_BYTES // scale
        self._killed = 0
        engine = self._open()[0]
        for step in batches(attempts("open", self._streams, 1, events=_EVENTS), 1_000):
            engine.commit_many(step)
        engine.close()

    def _open(self) -> tuple[FileEngine, float]:
        began = time.perf_counter()
        engine = FileEngine(self._place / "bench.store")
        engine.initialize()
        return engine, time.perf_counter() - began

    def measure(self, contender: str) -> Figures:
        added = 0
        if contender == "killed":
            self._killed += 1
            command = worker_command("opening", self._place, self._killed, self._unfolded)
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            assert done.returncode == -signal.SIGKILL, "the process to be killed ended otherwise; see above"
            added = int(done.stdout)
        engine, seconds = self._open()
        try:
            last = list(engine.get_from("default", f"open-{self._streams - 1:07}"))
            assert [len(commit.events) for commit in last] == [_EVENTS]
            if added:
                assert len(list(engine.get_from("default", f"killed{self._killed}-0000000"))) == added
        finally:
            engine.close()
        return {"open": seconds * 1e3}


def work(place: str, number: str, unfolded: str) -> None:
    """Commit until that much is unfolded, say how many commits went to the first stream, and be killed."""
    left_bytes = int(unfolded)
    engine = FileEngine(Path(place) / "bench.store")
    engine.initialize()
    each = 0
    for step in batches(attempts(f"killed{number}", 100, 1 + left_bytes // 40_000), 100):
        engine.commit_many(step)
        each += 1
        left_bytes -= sum(map(len, records(step)))
        if left_bytes <= 0:
            break
    print(each, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def cases() -> list[Case]:
    """The one, two ways."""
    return [Opening()]
