"""Schedules of one process: lives of a store that end in a power cut, a death, a failure of the disk or a close.

Everything comes out of two sources of choices: `decide` says what happens, `choose` what the disk makes of it. With
hypothesis behind them a schedule that fails is shrunk; with a seed it is repeated.
"""

from __future__ import annotations

import errno
import random
from collections import Counter
from dataclasses import dataclass, field

from crashes.exploring import continued
from crashes.workloads import (
    FOLD_AT_ONCE_BYTES,
    FOLD_OFTEN_BYTES,
    MORE_OPERATIONS,
    OPERATIONS,
    Run,
    goes_on,
    recovered,
    settle,
)
from fsstore.errors import StorageError
from fsstore.model import Commit, Snapshot
from fsstore.testing import EngineModel, PowerCut, ProcessKilled, SimulatedDisk
from fsstore.testing.simulation import Choose, seeded

FAULTS = (
    ("flush", errno.EIO),
    ("write", errno.EIO),
    ("write", errno.ENOSPC),
    ("open", errno.ENOSPC),
    ("rename", errno.EIO),
    ("flush_directory", errno.EIO),
    ("flush_file_system", errno.EIO),
    ("read", errno.EIO),
)
MOST_CALLS = 150
CHOICES = (*OPERATIONS, *MORE_OPERATIONS)


@dataclass
class Diary:
    """What happened: for the message of a failure, and how often for the sum of many schedules."""

    lines: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def run_seed(seed: int, begin: Run) -> Diary:
    """The schedule of that seed; `AssertionError` tells what happened."""
    source = random.Random(seed)
    diary = Diary()
    try:
        live(source.randrange, seeded(seed), begin, diary)
    except Exception as error:
        told = f"schedule {seed}: {'; '.join(diary.lines)}: {error!r}"
        raise AssertionError(f"{told}; again with: tools/soak --simulated 1 {seed}") from error
    return diary


def live(decide: Choose, choose: Choose, begin: Run, diary: Diary) -> None:
    """Up to three lives of a new store, or of one like `begin`; afterwards the store holds what it must, and works."""
    run = Run(SimulatedDisk(choose)) if decide(3) == 1 else continued(begin)
    run.disk.choose = choose
    run.fold_bytes = FOLD_OFTEN_BYTES if decide(3) == 1 else FOLD_AT_ONCE_BYTES
    for _ in range(1 + decide(3)):
        run = _recover(_life(run, decide, diary), decide, diary)
        settle(run)
    goes_on(run)


@dataclass(slots=True)
class _End:
    run: Run
    power_was_cut: bool


def _life(run: Run, decide: Choose, diary: Diary) -> _End:
    try:
        return _lived(run, decide, diary)
    finally:
        run.leave_alone()


def _lived(run: Run, decide: Choose, diary: Diary) -> _End:
    disk = run.disk
    ending = ("nothing", "power", "power", "death", "fault", "fault")[decide(6)]
    diary.lines.append(ending)
    if ending == "power":
        disk.cut_power_at(1 + decide(MOST_CALLS))
    elif ending == "death":
        disk.kill_at(1 + decide(MOST_CALLS))
    elif ending == "fault":
        name, code = FAULTS[decide(len(FAULTS))]
        skip = decide(30 if name in ("write", "read", "open") else 6)
        disk.fail(name, code, skip=skip, times=1 + decide(3))
        diary.lines[-1] += f" {name} {errno.errorcode[code]} after {skip}"
    try:
        for _ in range(1 + decide(6)):
            operation = CHOICES[decide(len(CHOICES))]
            diary.lines.append(operation)
            try:
                run.do(operation)
            except StorageError as error:
                diary.counts["calls that failed"] += 1
                diary.lines.append(f"({type(error).__name__}: {str(error)[:80]})")
                if len(run.allowed) > 1:
                    break
                run.in_flight = []
        disk.heal()
        if decide(2):
            run.close()
        else:
            disk.kill()
            return _End(run, False)
    except (PowerCut, ProcessKilled) as stop:
        return _End(run, isinstance(stop, PowerCut))
    return _End(run, False)


def _recover(end: _End, decide: Choose, diary: Diary) -> Run:
    """Recover, now and then with a crash in the middle of it, and with the system's clean pages forgotten."""
    run, power_was_cut = end.run, end.power_was_cut
    while True:
        if power_was_cut or decide(4) == 1:
            power_was_cut = True
            diary.counts["power cuts"] += 1
            diary.lines.append("power cut")
            disk = run.disk.restarted()
        else:
            diary.counts["other ends of a process"] += 1
            diary.lines.append("next process")
            disk = run.disk.process()
            disk.evict()
        again = decide(6)
        if again == 1:
            disk.cut_power_at(1 + decide(60))
        elif again == 2:
            disk.kill_at(1 + decide(60))
        run.disk = disk
        try:
            found = recovered(disk, run, power_was_cut=run.power_was_cut or power_was_cut)
        except (PowerCut, ProcessKilled) as stop:
            run.power_was_cut = run.power_was_cut or power_was_cut
            power_was_cut = isinstance(stop, PowerCut)
            diary.lines.append("in recovery")
            diary.counts["recoveries that were interrupted"] += 1
            continue
        without, including = _content(run.allowed[0]), _content(run.allowed[-1])
        if without != including:
            there = "found" if _content(found.model) == including else "not found"
            diary.counts[f"changes under way that were {there}"] += 1
        disk.cut_power_at(None)
        disk.kill_at(None)
        return found


def _content(state: EngineModel) -> tuple[list[Commit], list[Snapshot]]:
    return state.commits, state.snapshots
