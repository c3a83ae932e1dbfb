"""A few of the cases of `tools/fuzz`, and that it can fail."""

from __future__ import annotations

import random

import pytest
from fuzz import FuzzError, Target, outcomes
from fuzz.interchange import interchange
from fuzz.record import record
from fuzz.wrapped import wrapped


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (record, {"read", "CorruptionError, the file named", "a payload that cannot be read, its commit named"}),
        (interchange, {"a line that is no commit, its number named", "imported"}),
        (wrapped, {"plain: a commit", "both: SerializationError", "zstd: a commit", "C#: SerializationError"}),
    ],
)
def test_made_up_bytes_come_out_as_what_is_promised(target: Target, expected: set[str]) -> None:
    found = outcomes(target, seed=1, cases=400)
    assert expected <= set(found), found


@pytest.mark.parametrize("target", [record, interchange, wrapped])
def test_the_same_seed_gives_the_same_cases(target: Target) -> None:
    assert outcomes(target, seed=7, cases=20) == outcomes(target, seed=7, cases=20)


def test_an_error_that_is_not_promised_names_the_case() -> None:
    def target(chance: random.Random) -> str:
        if chance.random() < 0.1:
            raise OverflowError("a number")
        return "read"

    with pytest.raises(FuzzError, match=r"case \d+ of seed 3: OverflowError: a number"):
        outcomes(target, seed=3, cases=100)
