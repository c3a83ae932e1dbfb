"""Real power cuts: `python -m powercut --rounds N --fs ext4`, what `tools/powercut` runs.

Several processes commit to a store on a file system in a loop device until that is shut down in the middle of it;
then it is unmounted, mounted again and looked at. Everything acknowledged has to be there, `verify` has to find
nothing, and the store goes on through the next round. Every tenth round begins a new store, so that making one is
cut off too. What a device does with its own cache is not shown: a loop device has none that could be lost.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from loop_device import MAKE, LoopDevice, lacking
from writers import Writers, check_nothing_is_lost

from fsstore.engines.file import FileEngine
from fsstore.errors import EventStoreError

PROCESSES = 4
ROUNDS_OF_A_STORE = 10
IMAGE_BYTES = 1 << 30
LONGER_THAN_A_ROUND_SECONDS = 60
PART_AMONG_COMMITS = 0.8


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/powercut", description="Cuts the power of a file system in use.")
    parser.add_argument("--rounds", type=int, default=50, help="power cuts (default: 50)")
    parser.add_argument("--fs", choices=sorted(MAKE), default="ext4", help="the file system (default: ext4)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of the moments of the cuts")
    options = parser.parse_args()
    missing = lacking(options.fs)
    if missing:
        print(f"skipped: {missing}")
        return 0
    print(f"{options.rounds} power cuts on {options.fs}, {PROCESSES} processes, seed {options.seed}", flush=True)
    here = Path(tempfile.mkdtemp(prefix="powercut."))
    device = LoopDevice(here / "image", here / "disk", kind=options.fs, size_bytes=IMAGE_BYTES)
    try:
        cuts = PowerCuts(device, here, random.Random(options.seed))
        for number in range(options.rounds):
            cuts.round(number)
    except (AssertionError, EventStoreError) as error:
        print(f"round {number + 1}: {error}\nthe file system as it was found is in {here / 'image'}")
        return 1
    finally:
        device.unmount()
    shutil.rmtree(here)
    print(
        f"{options.fs}: {cuts.done} of {options.rounds} power cuts, all of {cuts.acknowledged:,} acknowledged commits "
        f"found, {cuts.unacknowledged:,} more that were under way"
    )
    if not cuts.acknowledged:
        print("nobody committed before a cut, so this shows nothing; try again with more rounds")
    return 0 if cuts.acknowledged else 1


class PowerCuts:
    """Rounds on one device. Counts what was acknowledged and what was stored beside it."""

    def __init__(self, device: LoopDevice, here: Path, chance: random.Random) -> None:
        self._device = device
        self._here = here
        self._chance = chance
        self._before = (0, 0)
        self._stored = (0, 0)
        self.done = 0

    @property
    def acknowledged(self) -> int:
        return self._before[0] + self._stored[0]

    @property
    def unacknowledged(self) -> int:
        return self._before[1] + self._stored[1] - self.acknowledged

    def round(self, number: int) -> None:
        if number % ROUNDS_OF_A_STORE == 0:
            self._begin(f"{number}.store")
        self._cut_off()
        self._device.unmount()
        self._device.mount()
        self._look()
        self.done += 1

    def _begin(self, name: str) -> None:
        self._before = (self._before[0] + self._stored[0], self._before[1] + self._stored[1])
        self._stored = (0, 0)
        self._store = self._device.where / name
        acknowledged = self._here / f"{name}.acknowledged"
        acknowledged.mkdir()
        self._writers = Writers(self._store, acknowledged, errors=subprocess.DEVNULL)

    def _cut_off(self) -> None:
        try:
            for _ in range(PROCESSES):
                self._writers.start(LONGER_THAN_A_ROUND_SECONDS)
            if self._chance.random() < PART_AMONG_COMMITS:
                self._until_somebody_committed()
            time.sleep(self._chance.uniform(0.3, 3))
            self._device.cut_power()
            time.sleep(0.1)  # who does not notice goes on acknowledging
        finally:
            self._writers.stop()

    def _until_somebody_committed(self) -> None:
        """On a busy machine processes take long to begin, and a cut before that shows little."""
        before = len(self._writers.acknowledgements())
        until = time.monotonic() + LONGER_THAN_A_ROUND_SECONDS / 2
        while len(self._writers.acknowledgements()) == before and time.monotonic() < until:
            time.sleep(0.05)

    def _look(self) -> None:
        acknowledged = self._writers.acknowledgements()
        engine = FileEngine(self._store)
        engine.initialize()
        try:
            self._stored = (len(acknowledged), check_nothing_is_lost(engine, acknowledged))
            findings = [str(each) for each in engine.verify()]
            assert not findings, findings
        finally:
            engine.close()


if __name__ == "__main__":
    sys.exit(main())
