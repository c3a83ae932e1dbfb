"""The conformance suite notices: every promise is broken on purpose at least once, and its test goes red."""

from __future__ import annotations

import sys
from collections import Counter

import pytest
from broken_engines import BREAKAGES
from hypothesis import settings

from fsstore.engines.memory import MemoryEngine
from fsstore.testing import EngineConformance
from fsstore.testing.promises.stores import case

pytest_plugins = ["pytester"]

# A test that fails with one of these found a slip in the breakage, not a broken promise.
SLIPS = ("NameError", "AttributeError", "UnboundLocalError", "fixture")


TOPICS = sorted({engine.__module__ for engine, _ in BREAKAGES.values()})


@pytest.mark.parametrize("topic", TOPICS)
def test_broken_promises_are_noticed(pytester: pytest.Pytester, topic: str) -> None:
    """All of a topic in one run, as most of these tests take less time than a run."""
    broken = {name: tests for name, (engine, tests) in BREAKAGES.items() if engine.__module__ == topic}
    module = sys.modules[topic].__file__
    # Without the settings of this project, so that its time limit stays in the hands of this test.
    options = ["-c", pytester.makeini("[pytest]"), "-q", "--tb=line", "-r", "N"]
    for plugin in ("cacheprovider", "xdist", "timeout"):
        options += ["-p", f"no:{plugin}"]
    run = pytester.inline_run(
        *options, *(f"{module}::Test{name}::{test}" for name, tests in broken.items() for test in tests)
    )
    failures = [report for report in run.getreports("pytest_runtest_logreport") if report.failed]
    for report in failures:
        message = report.longrepr.reprcrash.message
        assert not message.startswith(SLIPS), message
    noticed: dict[str, set[str]] = {name: set() for name in broken}
    for report in failures:
        if report.when == "call":
            _, suite, test = report.nodeid.split("::")
            noticed[suite.removeprefix("Test")].add(test.split("[")[0])
    assert noticed == {name: set(tests) for name, tests in broken.items()}


def test_every_promise_is_broken_by_somebody() -> None:
    promises = {name for name in dir(EngineConformance) if name.startswith("test_")}
    broken = {test for _, tests in BREAKAGES.values() for test in tests}
    assert promises - broken == set()
    assert broken - promises == set()


def test_a_suite_says_how_many_values_are_tried() -> None:
    class Suite(EngineConformance):
        example_settings = settings(EngineConformance.example_settings, max_examples=3, database=None)

    engine = MemoryEngine()
    engine.initialize()
    Suite().test_any_commit_id(engine)
    assert len(list(engine.get_from_checkpoint())) == 3


def test_a_failure_says_in_which_case_it_was() -> None:
    with pytest.raises(AssertionError) as raised, case("both ahead"):
        raise AssertionError
    assert raised.value.__notes__ == ["in the case 'both ahead'"]


def test_no_promise_hides_another_of_its_name() -> None:
    names = Counter(name for topic in EngineConformance.__mro__ for name in vars(topic) if name.startswith("test_"))
    assert [name for name, times in names.items() if times > 1] == []
