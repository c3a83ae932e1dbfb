"""`tools/soak` on the simulated disk: many schedules, many races, or every crash of every short workload.

Says now and then how far it is, at once what failed and how that is seen again, and at the end what happened in all of
them. Exits with 1 when one failed. What one does depends neither on the others nor on the number of processes.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import product
from multiprocessing import get_context
from typing import TypeVar

from crashes.exploring import Tally, explore, prepared
from crashes.processes import race_seed
from crashes.schedules import run_seed
from crashes.workloads import OPERATIONS, Run
from fsstore.testing import SimulatedDisk
from fsstore.testing.simulation import keep_everything

TELL_EVERY_SECONDS = 60
MOST_OUTCOMES = 12

T = TypeVar("T")
_begin = cache(prepared)


def schedule(seed: int) -> Counter[str]:
    return run_seed(seed, _begin()).counts


def workload(operations: tuple[str, ...]) -> Counter[str]:
    """Every crash within the last of the operations, on a store with history and on one that they make."""
    tally = Tally()
    try:
        explore(_begin(), operations, tally, most=MOST_OUTCOMES)
        explore(Run(SimulatedDisk(keep_everything)), operations, tally, most=MOST_OUTCOMES)
    except AssertionError as error:
        raise AssertionError(f"{' '.join(operations)}: {error}") from error
    return Counter({"crashes": tally.schedules, "different ones, recovered": tally.recoveries})


def soak(what: str, carry_out: Callable[[T], Counter[str]], each: Iterable[T], workers: int, *, chunk: int) -> int:
    """Carry out each; gives how many failed."""
    started = told = time.monotonic()
    counts: Counter[str] = Counter()
    done = failed = 0

    def rate() -> str:
        return f"{done / (time.monotonic() - started):,.1f} a second"

    with ProcessPoolExecutor(workers, get_context("fork")) as pool:
        for happened, failure in pool.map(partial(_tried, carry_out), each, chunksize=chunk):
            done += 1
            counts.update(happened)
            if failure:
                failed += 1
                print(f"{failure}\n", flush=True)
            if time.monotonic() - told >= TELL_EVERY_SECONDS:
                told = time.monotonic()
                print(f"{done:,} {what}, {failed} failed, {rate()}", flush=True)
    print(
        f"{done:,} {what} in {time.monotonic() - started:,.0f} s ({rate()}, {workers} workers): "
        + ", ".join(f"{count:,} {event}" for event, count in sorted(counts.items()))
        + f"; {failed} failed",
        flush=True,
    )
    return failed


def _tried(carry_out: Callable[[T], Counter[str]], one: T) -> tuple[Counter[str], str]:
    logging.disable(logging.WARNING)  # the engine's words about failing disks
    try:
        return carry_out(one), ""
    except AssertionError as error:
        return Counter(), str(error)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="tools/soak", description="Crashes on the simulated disk.")
    kinds = parser.add_mutually_exclusive_group(required=True)
    kinds.add_argument("--simulated", type=int, metavar="N", help="N schedules of one process, each from a seed")
    kinds.add_argument("--races", type=int, metavar="N", help="N races of two or three processes, each from a seed")
    kinds.add_argument("--every-crash", action="store_true", help="every workload of up to three operations")
    parser.add_argument("seed", type=int, nargs="?", default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; one for each core")
    given = parser.parse_args(arguments)
    if given.every_crash:
        workloads = [each for length in (1, 2, 3) for each in product(OPERATIONS, repeat=length)]
        return min(1, soak("workloads", workload, workloads, given.workers, chunk=4))
    count = given.races if given.simulated is None else given.simulated
    what, carry_out = ("schedules", schedule) if given.races is None else ("races", race_seed)
    seeds = range(given.seed, given.seed + count)
    what = f"{what} from seed {given.seed}"
    return min(1, soak(what, carry_out, seeds, given.workers, chunk=min(250, 1 + count // 8)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
