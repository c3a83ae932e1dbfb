"""Every bit flip and every truncation of every file of a small store, judged one by one: `tools/corruption`.

Bytes that a look at the undamaged store never reads are counted as that, and not tried: the engine is told everything
it knows by its reads, so it cannot answer differently. The same holds for truncations between two such bytes.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import corruption
from corruption import WRONG, Judge
from memory_disk import MemoryDisk

NEVER_READ = "never read: same data"


def file_counts(judge: Judge, disk: MemoryDisk, file: str, looked: corruption.Looked, step: int) -> Counter[str]:
    """How often each outcome was met, over every `step`-th byte of one file."""
    counts: Counter[str] = Counter()
    cut = None
    for offset in reversed(range(0, len(looked.bytes), step)):
        read = looked.bytes[offset]
        if read:
            for bit, case in enumerate(corruption.flips(disk, file, offset)):
                # One bit of each byte also through the long way: read-only, writing, folding, opening again.
                counts[f"flip: {judge.outcome(disk, case, deep=bit == offset % 8)}"] += 1
        else:
            counts[f"flip: {NEVER_READ}"] += 8
        if cut is None or read or looked.measured:
            cut = judge.outcome(disk, corruption.cut(disk, file, offset), deep=offset % 4 == 0)
        counts[f"cut: {cut}"] += 1
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commits", type=int, default=100, help="how many commits the store has, about")
    parser.add_argument("--step", type=int, default=1, help="damage only every so many bytes")
    options = parser.parse_args()
    logging.disable()
    begun, total = time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.store"
        disk, content = corruption.build(path, options.commits)
        judge = Judge(str(path), content)
        print(f"a store of {sum(map(len, content.commits.values()))} commits in {len(content.commits)} streams")
        for file, looked in sorted(corruption.looked_at(judge, disk).items()):
            counts = file_counts(judge, disk, file, looked, options.step)
            total += counts
            print(f"\n{file[len(str(path)) + 1 :]}, {len(looked.bytes):,} bytes")
            _print(counts)
    print(f"\nall files, in {time.monotonic() - begun:,.0f} s")
    _print(total)
    for detail in judge.details:
        print(detail)
    wrong = sum(number for outcome, number in total.items() if WRONG in outcome)
    print(f"wrong answers: {wrong}")
    return 1 if wrong else 0


def _print(counts: Counter[str]) -> None:
    for outcome, number in sorted(counts.items()):
        print(f"{number:>11,}  {outcome}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
