"""Made-up bytes for everything that reads bytes it did not write: `tools/fuzz`.

A target is a function of a source of chance: one case, which says what came of it or raises when that is none of the
errors that are promised. The same seed gives the same cases.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

Target = Callable[[random.Random], str]


class FuzzError(AssertionError):
    """A case that came out as nothing that is promised."""


def case(target: Target, seed: int, number: int) -> str:
    """What came of one case."""
    try:
        return target(random.Random(f"{seed}/{number}"))
    except Exception as error:
        raise FuzzError(f"case {number} of seed {seed}: {type(error).__name__}: {error}") from error


def outcomes(target: Target, seed: int, cases: int) -> Counter[str]:
    """How often each outcome was met."""
    return Counter(case(target, seed, number) for number in range(cases))
