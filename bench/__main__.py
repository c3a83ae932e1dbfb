"""The command: which cases, how thorough, and where the results go."""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from pathlib import Path

from bench.case import Case
from bench.cases import all_cases
from bench.report import Report, table, verdicts
from bench.rounds import run

_QUICK_SCALE = 100


def main() -> int:
    """Run the cases named, or all."""
    cases = {case.name: case for case in all_cases()}
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="fsstore against the disk's floor and its peers, each at its durable setting, on your disk.",
        epilog="cases: " + ", ".join(cases),
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases to run; all when none is named")
    parser.add_argument("--quick", action="store_true", help="tiny amounts: shows that it works, measures nothing")
    parser.add_argument("--rounds", type=int, help="instead of each case's own number")
    parser.add_argument("--against", nargs="+", metavar="CONTENDER", help="leave out the contenders not named")
    parser.add_argument("--directory", type=Path, default=Path(), help="where to measure; default: here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value there")
    parser.add_argument("--docs", type=Path, metavar="DIRECTORY", help="bring its performance.md and .svg up to date")
    parser.add_argument(
        "--read", type=Path, metavar="FILE", help="measure nothing; take the results of an earlier --json"
    )
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(cases))
    if unknown:
        parser.error(f"no case is called {unknown[0]!r}; there are: {', '.join(cases)}")

    if options.read:
        _give(Report.load(options.read), options)
        return 0
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=options.directory))
    try:
        _give(measure([cases[name] for name in options.names or cases], directory, options), options)
        print(f"\n{time.monotonic() - began:.0f} seconds; every contender gave back what was stored")
    finally:
        shutil.rmtree(directory)  # takes minutes: it may hold millions of files
    return 0


def _give(report: Report, options: argparse.Namespace) -> None:
    print(verdicts(report.outcomes))
    if options.json:
        report.save(options.json)
    if options.docs:
        report.write_docs(options.docs)


def measure(cases: list[Case], directory: Path, options: argparse.Namespace) -> Report:
    """Each case in turn, as the command's options say."""
    outcomes = []
    settings = {
        "scale": _QUICK_SCALE if options.quick else 1,
        "rounds": 1 if options.quick else options.rounds,
        "against": options.against,
        "say": _say if sys.stderr.isatty() else _nothing,
    }
    for case in cases:
        # In a process of its own: what a case leaves behind in memory changes the ratios of the next by a third.
        with multiprocessing.get_context("fork").Pool(1) as alone:
            outcome = alone.apply(run, (case, directory), settings)
        print(f"{table(outcome)}\n", flush=True)
        outcomes.append(outcome)
    return Report.of(outcomes, directory, quick=options.quick)


def _say(what: str) -> None:
    print(f"\r\033[K{what}", end="\r", file=sys.stderr, flush=True)


def _nothing(_: str) -> None:
    """Progress is for people."""


if __name__ == "__main__":
    raise SystemExit(main())
