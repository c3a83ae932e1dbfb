"""`python -m crashes N [SEED]`: N schedules, each from its own seed; says how many there were and which were lost."""

from __future__ import annotations

import logging
import sys
import time

from crashes.exploring import prepared
from crashes.schedules import run_seed


def main(schedules: int, first_seed: int) -> int:
    logging.disable(logging.WARNING)  # the engine's words about failing disks
    begin = prepared()
    started = time.monotonic()
    power_cuts = deaths = failures = 0
    for number in range(schedules):
        try:
            diary = run_seed(first_seed + number, begin)
        except AssertionError as error:
            failures += 1
            print(error, flush=True)
            continue
        power_cuts += diary.power_cuts
        deaths += diary.deaths
        if (number + 1) % 10_000 == 0:
            rate = (number + 1) / (time.monotonic() - started)
            print(f"{number + 1:,} schedules, {failures} failed, {rate:.0f} a second", flush=True)
    seconds = time.monotonic() - started
    print(
        f"{schedules:,} schedules from seed {first_seed} in {seconds:.0f} s: {power_cuts:,} power cuts, "
        f"{deaths:,} other ends of a process, {failures} failed"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
