"""`python -m crashes N [SEED] [--workers W]`: N schedules, each from its own seed, on so many processes.

Says now and then how far it is, what was lost and with which seed that is seen again, and at the end what happened in
all of them. Exits with 1 when one failed. What a seed does depends neither on the others nor on the workers.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context

from crashes.exploring import prepared
from crashes.schedules import run_seed

CHUNK = 250
TELL_EVERY_SECONDS = 60

_begin = cache(prepared)


def _run(seeds: range) -> tuple[Counter[str], list[str]]:
    logging.disable(logging.WARNING)  # the engine's words about failing disks
    counts: Counter[str] = Counter()
    failures = []
    for seed in seeds:
        try:
            counts += run_seed(seed, _begin()).counts
        except AssertionError as error:
            failures.append(f"{error}\n  again with: tools/soak --simulated 1 {seed}")
    return counts, failures


def main(schedules: int, first_seed: int, workers: int) -> int:
    chunks = [
        range(seed, min(seed + CHUNK, first_seed + schedules))
        for seed in range(first_seed, first_seed + schedules, CHUNK)
    ]
    started = told = time.monotonic()
    counts: Counter[str] = Counter()
    done = failed = 0

    def rate() -> str:
        return f"{done / (time.monotonic() - started):,.0f} a second"

    with ProcessPoolExecutor(workers, get_context("fork")) as pool:
        for seeds, (some, failures) in zip(chunks, pool.map(_run, chunks), strict=True):
            counts += some
            done += len(seeds)
            failed += len(failures)
            for failure in failures:
                print(failure, flush=True)
            if time.monotonic() - told >= TELL_EVERY_SECONDS:
                told = time.monotonic()
                print(f"{done:,} schedules, {failed} failed, {rate()}", flush=True)
    seconds = time.monotonic() - started
    happened = ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()))
    print(
        f"{done:,} schedules from seed {first_seed} in {seconds:,.0f} s ({rate()}, {workers} workers): "
        f"{happened}; {failed} failed"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="tools/soak --simulated", description="Crash schedules on the simulated disk."
    )
    parser.add_argument("schedules", type=int)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; one for each core")
    given = parser.parse_args()
    sys.exit(main(given.schedules, given.seed, given.workers))
