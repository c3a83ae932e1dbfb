"""The file engine loses nothing it acknowledged: every crash of every short workload, and thousands of longer ones.

`tools/soak --simulated N` runs as many of the longer ones as one likes.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from crashes import schedules
from crashes.__main__ import main as soak
from crashes.__main__ import workload
from crashes.exploring import Tally, explore, prepared
from crashes.processes import race, race_seed
from crashes.schedules import Diary, live, run_seed
from crashes.workloads import OPERATIONS, Run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsstore.testing import SimulatedDisk
from fsstore.testing.simulation import drawn, keep_everything

SEEDS = 50
BEGIN = prepared()


@pytest.mark.parametrize("last", OPERATIONS)
def test_every_crash_of_a_workload_of_one_or_two(last: str) -> None:
    tally = Tally()
    explore(BEGIN, [last], tally, most=2, again=1)
    for first in OPERATIONS:
        explore(BEGIN, [first, last], tally, most=2)
    assert tally.schedules >= 400


def test_every_crash_of_a_new_store() -> None:
    tally = Tally()
    for operation in ("commit", "close"):
        explore(Run(SimulatedDisk(keep_everything)), ["commit", operation], tally, most=6)
    assert tally.schedules > 100


@pytest.mark.parametrize("last", range(len(OPERATIONS)))
def test_every_crash_of_a_workload_of_three(last: int) -> None:
    """Of eight of them, in which each operation is once at each place; of all 512: `tools/soak --every-crash`."""
    operations = [OPERATIONS[(last + shift) % len(OPERATIONS)] for shift in (3, 5, 0)]
    explore(BEGIN, operations, Tally(), most=3)


@pytest.mark.parametrize("last", ["purge", "fold", "close", "commit"])
def test_every_crash_of_a_purge_and_of_what_comes_after_it(last: str) -> None:
    tally = Tally()
    for before in ([], ["purge"], ["commit", "purge", "commit_many"]):
        explore(BEGIN, [*before, last], tally, most=3)
    assert tally.schedules > 50


@pytest.mark.parametrize("hundred", range(6))
def test_crashes_failures_and_recoveries_from_seeds(hundred: int) -> None:
    for number in range(SEEDS):
        run_seed(hundred * SEEDS + number, BEGIN)


def test_a_schedule_is_the_same_again_whoever_carries_it_out(capsys: pytest.CaptureFixture[str]) -> None:
    alone: Counter[str] = Counter()
    for seed in range(7, 27):
        alone += run_seed(seed, prepared()).counts
    assert soak(["--simulated", "20", "7", "--workers", "2"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("20 schedules from seed 7 in ")
    assert told.endswith(f"{', '.join(f'{count:,} {what}' for what, count in sorted(alone.items()))}; 0 failed\n")


def test_a_schedule_that_fails_is_told_with_its_seed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "goes_on", _loses_what_it_has)
    assert soak(["--simulated", "2", "40", "--workers", "1"]) == 1
    told = capsys.readouterr().out
    assert "schedule 41: " in told
    assert "a commit is not there'); again with: tools/soak --simulated 1 41\n" in told
    assert told.endswith("; 2 failed\n")


def test_races_and_short_workloads_are_soaked_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert soak(["--races", "8", "--workers", "2"]) == 0
    assert capsys.readouterr().out.startswith("8 races from seed 0 in ")
    assert workload(("mark",))["crashes"] > 20


def _loses_what_it_has(run: Run) -> None:
    raise AssertionError("a commit is not there")


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_sequence_of_lives_loses_anything(data: st.DataObject) -> None:
    choose = drawn(data)
    live(choose, choose, BEGIN, Diary())


@given(st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_race_of_processes_loses_anything(source: random.Random) -> None:
    race(source.randrange, source.randrange)


@pytest.mark.parametrize("seed", range(60))
def test_processes_that_take_turns_lose_nothing_that_one_of_them_knew(seed: int) -> None:
    race_seed(seed)
