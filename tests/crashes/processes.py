"""Two or three processes on one store, interleaved at lock boundaries, some killed, until the power goes.

What one of them was told is stored, and what one of them has seen, has to be there afterwards, in the same order.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from crashes.workloads import OPTIONS, STORE
from fsstore.engines.file import FileEngine
from fsstore.errors import ConcurrencyError
from fsstore.model import Commit
from fsstore.testing import PowerCut, ProcessKilled, SimulatedDisk, first_attempt, next_attempt
from fsstore.testing.simulation import Choose, interleave, seeded


def opened(disk: SimulatedDisk) -> FileEngine:
    engine = FileEngine(STORE, disk=disk, **OPTIONS)
    engine.initialize()
    return engine


def race_seed(seed: int) -> Counter[str]:
    """The race of that seed; `AssertionError` says what it was."""
    try:
        return race(random.Random(seed).randrange, seeded(seed))
    except Exception as error:
        raise AssertionError(f"race {seed}: {error!r}; again with: tools/soak --races 1 {seed}") from error


def race(decide: Choose, choose: Choose) -> Counter[str]:
    """One race; gives what happened in it, and how often."""
    disk = SimulatedDisk(choose)
    opened(disk).close()
    acknowledged: list[Commit] = []
    seen: list[Commit] = []
    plans = [[decide(5) for _ in range(2 + decide(4))] for _ in range(2 + decide(2))]
    if decide(3):
        disk.cut_power_at(1 + decide(400))
    errors = interleave(disk, [_program(plan, decide, acknowledged, seen) for plan in plans], decide)
    for error in errors:
        if error is not None and not isinstance(error, PowerCut | ProcessKilled):
            raise error
    engine = opened(disk.restarted())
    stored = list(engine.get_from_checkpoint())
    assert [commit.checkpoint_token for commit in stored] == list(range(1, len(stored) + 1))
    assert stored[: len(seen)] == seen
    assert all(stored[commit.checkpoint_token - 1] == commit for commit in acknowledged)
    assert len(stored) <= len(acknowledged) + len(plans)
    assert not list(engine.verify())
    engine.commit(first_attempt("afterwards"))
    ends = Counter(type(error) for error in errors)
    return Counter(
        {
            "processes": len(plans),
            "processes that were killed": ends[ProcessKilled],
            "power cuts": int(PowerCut in ends),
            "commits": len(stored),
        }
    )


def _program(
    plan: list[int], decide: Choose, acknowledged: list[Commit], seen: list[Commit]
) -> Callable[[SimulatedDisk], None]:
    def run(disk: SimulatedDisk) -> None:
        engine = opened(disk)
        if decide(5) == 1:
            disk.kill_at(1 + decide(150))
        for step in plan:
            if step == 4:
                engine.fold()
            elif step == 3:
                engine.close()
                engine = opened(disk)
            else:
                acknowledged.append(_committed(engine, "ab"[step % 2]))
            now = list(engine.get_from_checkpoint())
            known = min(len(now), len(seen))
            assert now[:known] == seen[:known]
            seen.extend(now[known:])
        engine.close()

    return run


def _committed(engine: FileEngine, stream_id: str) -> Commit:
    while True:
        own = list(engine.get_from("default", stream_id))
        try:
            return engine.commit(next_attempt(own[-1]) if own else first_attempt(stream_id))
        except ConcurrencyError:
            continue
