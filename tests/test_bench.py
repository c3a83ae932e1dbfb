"""The benchmarks run, with tiny amounts, so that they do not rot; and what they write is what was measured."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("lmdb", reason="pip install 'fsstore[bench]'")

from bench.__main__ import measure
from bench.case import Case, Figures
from bench.cases import all_cases
from bench.rounds import Outcome
from bench.targets import TARGETS, judged
from bench.work import WrongAnswerError, attempts, events_of, prove

ROOT = Path(__file__).parents[1]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_case_runs_and_its_results_are_written_down(tmp_path: Path) -> None:
    results, docs = tmp_path / "results.json", tmp_path / "docs"
    docs.mkdir()
    shutil.copy(ROOT / "docs" / "performance.md", docs)
    measured = tmp_path / "measured"
    measured.mkdir()

    done = run("--quick", "--directory", measured, "--json", results, "--docs", docs)

    assert (done.returncode, done.stderr) == (0, "")
    assert list(measured.iterdir()) == []
    outcomes = {one["name"]: one for one in json.loads(results.read_text())["outcomes"]}
    assert list(outcomes) == [case.name for case in all_cases()]
    for case in all_cases():
        outcome = outcomes[case.name]
        assert outcome["missing"] == {}
        for figure in case.units:
            assert set(outcome["values"][figure]) <= set(case.contenders)
            assert all(value > 0 for values in outcome["values"][figure].values() for value in values)
    page = (docs / "performance.md").read_text()
    assert all(case.title in page for case in all_cases())
    ElementTree.fromstring((docs / "performance.svg").read_text())

    again = run("--read", results)
    assert again.returncode == 0
    assert len(again.stdout.splitlines()) == 1 + len(TARGETS)


def test_an_unknown_case_is_refused_with_the_names_of_those_there_are() -> None:
    done = run("no-such-case")
    assert done.returncode == 2
    assert "no case is called 'no-such-case'; there are: single," in done.stderr


class WhichProcess(Case):
    title, units, contenders, rounds = "", {"process": "id"}, ("fsstore",), 1

    def __init__(self, name: str) -> None:
        self.name = name

    def prepare(self, directory: Path, scale: int) -> None:
        pass

    def measure(self, contender: str) -> Figures:
        return {"process": os.getpid()}


def test_each_case_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    options = argparse.Namespace(quick=True, rounds=None, against=None)
    report = measure([WhichProcess("one"), WhichProcess("other")], tmp_path, options)
    found = {outcome.values["process"]["fsstore"][0] for outcome in report.outcomes}
    assert len(found - {os.getpid()}) == 2


def test_a_contender_that_loses_or_alters_an_event_is_found_out() -> None:
    stored = list(attempts("one", 2, 3))
    found = list(events_of(stored))
    prove("whole", reversed(found), stored)
    stream, revision, body = found[0]
    for wrong in (found[1:], [*found, found[0]], [(stream, revision, {**body, "quantity": 9}), *found[1:]]):
        with pytest.raises(WrongAnswerError):
            prove("wrong", wrong, stored)


def test_ratios_are_of_the_same_round_and_say_how_many_times_better() -> None:
    outcome = Outcome(
        "single",
        "",
        {"durable": "commits/s", "p99": "µs"},
        {
            "durable": {"fsstore": [10.0, 40.0, 30.0], "sqlite": [10.0, 10.0, 10.0]},
            "p99": {"fsstore": [10.0], "sqlite": [40.0]},
        },
    )
    assert outcome.ratios("durable", "fsstore", "sqlite") == [1, 4, 3]
    assert outcome.ratio("p99", "fsstore", "sqlite") == 4
    assert outcome.ratio("durable", "fsstore", "lmdb") is None
    ((target, _, reached),) = judged([outcome])
    assert (target.against, reached, target.met(reached)) == ("sqlite", 3, True)
    assert not target.met(1.2)
