"""The questions, in the order in which they are asked."""

from __future__ import annotations

from bench.case import Case
from bench.cases import appending, concurrency, growing, latency, opening, reading, space, tasks


def all_cases() -> list[Case]:
    """Every case, not prepared yet."""
    return [
        *appending.cases(),
        *concurrency.cases(),
        *tasks.cases(),
        *reading.cases(),
        *latency.cases(),
        *opening.cases(),
        *growing.cases(),
        *space.cases(),
    ]
