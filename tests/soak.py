"""Minutes of trouble: `python -m soak --minutes M`, what `tools/soak` runs.

Processes commit to one store while they are killed, stopped and continued, and others take their place; a poller reads
along all the time, and the store is closed by everybody and opened again now and then. Nothing acknowledged may be
missing and nobody may see a hole.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from writers import Writers, check_nothing_is_lost

from fsstore.engines.file import FileEngine
from fsstore.errors import EventStoreError

PROCESSES = 4
LIFE_SECONDS = 15.0  # of all processes, before the store is opened anew


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/soak", description="Kills and stops processes that use one store.")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of what is done to whom")
    options = parser.parse_args()
    print(f"{options.minutes:g} minutes, {PROCESSES} processes, seed {options.seed}", flush=True)
    here = Path(tempfile.mkdtemp(prefix="soak."))
    soak = Soak(here, random.Random(options.seed))
    until = time.monotonic() + options.minutes * 60
    try:
        while time.monotonic() < until:
            soak.live(min(LIFE_SECONDS, max(1.0, until - time.monotonic())))
    except (AssertionError, EventStoreError) as error:
        print(f"{error}\nthe store is in {here}")
        return 1
    shutil.rmtree(here)
    print(
        f"{soak.kills} kills, {soak.stops} stops, {soak.lives} times opened: all of {soak.acknowledged:,} acknowledged "
        f"commits found, {soak.stored - soak.acknowledged:,} more that were under way"
    )
    return 0


class Soak:
    """One store and what was done to those who used it."""

    def __init__(self, here: Path, chance: random.Random) -> None:
        self._store = here / "soaked.store"
        acknowledged = here / "acknowledged"
        acknowledged.mkdir()
        self._chance = chance
        self._writers = Writers(self._store, acknowledged, errors=subprocess.DEVNULL)
        self._seen = 0
        self.kills = self.stops = self.lives = self.acknowledged = self.stored = 0

    def live(self, seconds: float) -> None:
        """Open, trouble, and a look at what is there once nobody but this process has the store open."""
        poller = self._opened()
        until = time.monotonic() + seconds
        try:
            for _ in range(PROCESSES):
                self._writers.start(seconds)
            while (now := time.monotonic()) < until:
                self._trouble(until - now)
                self._poll(poller)
                time.sleep(self._chance.uniform(0, 0.5))
        finally:
            self._writers.stop()
            poller.close()
        self._look()

    def _opened(self) -> FileEngine:
        engine = FileEngine(self._store)
        engine.initialize()
        return engine

    def _trouble(self, seconds_left: float) -> None:
        number = self._chance.randrange(len(self._writers.running))
        if self._chance.random() < 0.5:
            self._writers.kill_one(number)
            self._writers.start(seconds_left)
            self.kills += 1
        else:
            process = self._writers.running[number]
            process.send_signal(signal.SIGSTOP)
            time.sleep(self._chance.uniform(0, 0.5))
            process.send_signal(signal.SIGCONT)
            self.stops += 1

    def _poll(self, poller: FileEngine) -> None:
        for commit in poller.get_from_checkpoint(self._seen):
            assert commit.checkpoint_token == self._seen + 1, f"{commit.checkpoint_token} was seen after {self._seen}"
            self._seen = commit.checkpoint_token

    def _look(self) -> None:
        engine = self._opened()
        try:
            acknowledged = self._writers.acknowledgements()
            self.stored = check_nothing_is_lost(engine, acknowledged)
            assert self.stored >= self._seen, f"the store ends at {self.stored}, seen was {self._seen}"
            findings = [str(each) for each in engine.verify()]
            assert not findings, findings
        finally:
            engine.close()
        self.acknowledged = len(acknowledged)
        self.lives += 1


if __name__ == "__main__":
    sys.exit(main())
