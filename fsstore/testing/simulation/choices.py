"""Where a simulation gets its decisions from: what a power cut leaves, who runs next, how much a failed write wrote.

A source of choices is a callable: `choose(n)` gives a number from 0 to n - 1, and 0 always is the least damage.
So a hypothesis test shrinks towards a disk that loses nothing, a seeded source repeats itself, and `outcomes` can
walk through what is possible. What is decided is not known here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import islice
from math import prod
from typing import Any, TypeAlias, TypeVar

Choose: TypeAlias = Callable[[int], int]
T = TypeVar("T")


def keep_everything(count: int) -> int:
    """The least damage: a disk that loses nothing."""
    return 0


def lose_everything(count: int) -> int:
    """The most damage: whatever was not flushed is gone."""
    return count - 1


def seeded(seed: int) -> Choose:
    """Choices from a seed. One in four in the mean does damage, since all at once hide one another."""
    source = random.Random(seed)

    def choose(count: int) -> int:
        return source.randrange(count) if count > 1 and not source.randrange(2) else 0

    return choose


def drawn(data: Any) -> Choose:
    """Choices from `hypothesis.strategies.data()`: a failing example is shrunk to the least damage that fails."""
    from hypothesis import strategies as st

    def choose(count: int) -> int:
        return int(data.draw(st.integers(0, count - 1))) if count > 1 else 0

    return choose


class Scripted:
    """Plays a list of choices, then `rest` for every further one. Remembers how many there were to choose from."""

    def __init__(self, script: list[int], rest: Choose = keep_everything) -> None:
        self._script = script
        self._rest = rest
        self.counts: list[int] = []
        self.taken: list[int] = []

    def __call__(self, count: int) -> int:
        at = len(self.counts)
        choice = min(self._script[at], count - 1) if at < len(self._script) else self._rest(count)
        self.counts.append(count)
        self.taken.append(choice)
        return choice


def outcomes(run: Callable[[Choose], T], *, most: int, seed: int = 0) -> Iterator[T]:
    """What `run` gives for every way to choose, at most `most` of them; `run` begins afresh every time.

    Where there are more, these: nothing lost; everything lost; each single thing lost, each single thing kept; then
    some at random.
    """
    first = Scripted([])
    yield run(first)
    if prod(first.counts) <= most:
        yield from islice(_all_others(run, first), most - 1)  # other choices may lead to more of them
        return
    left = most - 1
    for script, rest in _single(first.counts, seed):
        if not left:
            return
        left -= 1
        yield run(Scripted(script, rest))


def _all_others(run: Callable[[Choose], T], played: Scripted) -> Iterator[T]:
    while True:
        script = played.taken
        while script and script[-1] + 1 >= played.counts[len(script) - 1]:
            script = script[:-1]
        if not script:
            return
        played = Scripted([*script[:-1], script[-1] + 1])
        yield run(played)


def _single(counts: list[int], seed: int) -> Iterator[tuple[list[int], Choose]]:
    yield [], lose_everything
    for at, count in enumerate(counts):
        if count > 1:
            yield [0] * at + [count - 1], keep_everything
            yield [one - 1 for one in counts[:at]] + [0], lose_everything
    number = seed
    while True:
        number += 1
        yield [], seeded(number)
