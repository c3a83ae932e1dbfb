"""`python -m fuzz TARGET`, what `tools/fuzz` runs."""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import time
from collections import Counter

from fuzz import FuzzError, case
from fuzz.interchange import interchange
from fuzz.record import record
from fuzz.wrapped import wrapped

TARGETS = {"record": record, "interchange": interchange, "wrapped": wrapped}
MOST_BYTES = 1 << 30


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/fuzz", description="Made-up bytes for everything that reads bytes.")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seed", type=int, default=1, help="another seed, other cases")
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--only", type=int, help="only the case of this number")
    options = parser.parse_args()
    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    begun, counts = time.monotonic(), Counter[str]()
    numbers = range(options.cases) if options.only is None else (options.only,)
    try:
        for number in numbers:
            counts[case(TARGETS[options.target], options.seed, number)] += 1
    except FuzzError as error:
        print(f"{error}\nagain: tools/fuzz {options.target} --seed {options.seed} --only {number}")
        raise
    print(f"{options.target}: {counts.total():,} cases of seed {options.seed} in {time.monotonic() - begun:,.0f} s")
    for outcome, count in counts.most_common():
        print(f"{count:>11,}  {outcome}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
