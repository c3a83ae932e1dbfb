"""Every crash of a workload: before each disk call of its last operation, with every outcome up to a bound.

The workload runs once. Before each call that changes something the disk is copied, the copy crashes, and what it
holds is judged. Outcomes that read alike are recovered once. What the operations before the last one do at a crash
is explored by the shorter workload that ends with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from crashes.workloads import Run, goes_on, recovered
from fsstore.testing import SimulatedDisk
from fsstore.testing.simulation import Call, keep_everything, outcomes

LOOKING = frozenset(("read", "size", "names", "exists", "lock", "map_words"))


@dataclass
class Tally:
    """How much was explored. A schedule is a workload, a call and an outcome; a recovery is one that is new."""

    schedules: int = 0
    recoveries: int = 0
    seen: set[object] = field(default_factory=set)


def prepared() -> Run:
    """A store with history: commits, a snapshot and a mark that are folded, and more of the same in the journal."""
    run = Run(SimulatedDisk(keep_everything))
    for operation in ("commit", "commit_many", "snapshot", "mark", "fold", "close", "commit", "commit_many"):
        run.do(operation)
    run.close()
    return Run(run.disk.copy().restarted(), run.model)


def explore(begin: Run, operations: Iterable[str], tally: Tally, *, most: int, again: int = 0) -> None:
    """Crash everywhere within the last of the operations, `most` outcomes each.

    With `again`, every recovery of a new outcome crashes too, in each of its calls, with so many outcomes each.
    """
    *before, last = operations
    run = continued(begin)
    for operation in before:
        run.do(operation)
    crash_everywhere(run, last, tally, most=most, again=again)


def continued(begin: Run) -> Run:
    """The run once more, on a copy of its disk, in a new process."""
    return Run(begin.disk.copy(), begin.model)


def crash_everywhere(run: Run, operation: str, tally: Tally, *, most: int, again: int) -> None:
    disk = run.disk

    def look(call: Call) -> None:
        if call.name not in LOOKING:
            judge(run, disk, tally, f"before {call}", most=most, again=again)

    disk.watch(look)
    run.do(operation)
    disk.watch(None)
    judge(run, disk, tally, "afterwards", most=most, again=again)


def judge(
    run: Run, disk: SimulatedDisk, tally: Tally, where: str, *, most: int, again: int, after_power_cut: bool = False
) -> None:
    """The process dies here, or the power goes here: in either case what is left has to be right."""
    states = tuple(
        (*(one.commit_id for one in state.commits), len(state.snapshots), len(state.dispatched), state.last_token)
        for state in run.allowed
    )

    def judged(left: SimulatedDisk, how: str, power_was_cut: bool) -> None:
        tally.schedules += 1
        key = (hash((left.content(), power_was_cut)), hash(states))
        if key in tally.seen:
            return
        tally.seen.add(key)
        tally.recoveries += 1
        try:
            if again:
                recover_and_crash(run, left, tally, most=again, power_was_cut=power_was_cut)
            after = recovered(left.copy(), run, power_was_cut=power_was_cut)
            goes_on(after)
        except Exception as error:
            # Not the error itself: the engine under way, in whose call this is, may have a use for that.
            raise AssertionError(f"after {how} {where}: {error!r}") from error

    judged(disk.copy(), "the death of the process", after_power_cut)
    for choices, left in outcomes(lambda choose: cut(disk, choose), most=most):
        judged(left, f"a power cut {choices}", True)


def cut(disk: SimulatedDisk, choose: object) -> tuple[object, SimulatedDisk]:
    return getattr(choose, "taken", None), disk.copy().restarted(choose)  # type: ignore[arg-type]


def recover_and_crash(run: Run, left: SimulatedDisk, tally: Tally, *, most: int, power_was_cut: bool) -> None:
    """The recovery crashes in each of its calls, and what that leaves is recovered."""
    disk = left.copy()
    second = Run(disk, run.model, path=run.path, fold_bytes=run.fold_bytes)
    second.allowed, second.in_flight, second.marks_may_be_lost = run.allowed, run.in_flight, run.marks_may_be_lost

    def look(call: Call) -> None:
        if call.name not in LOOKING:
            judge(
                second, disk, tally, f"in the recovery before {call}", most=most, again=0, after_power_cut=power_was_cut
            )

    disk.watch(look)
    assert second.engine
    disk.watch(None)
