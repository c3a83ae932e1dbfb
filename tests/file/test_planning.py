"""Planning: requests that share a pass, of which each is accepted or refused by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsstore import ConcurrencyError
from fsstore.engines.file import FileEngine
from fsstore.engines.file.writing.planning import Plan, SeveralCommits
from fsstore.testing import first_attempt, next_attempt


@pytest.mark.parametrize("stored", [0, 2])
def test_a_batch_that_is_refused_leaves_its_places_and_ids_to_the_next_in_its_pass(stored: int, tmp_path: Path) -> None:
    engine = FileEngine(tmp_path / "s")
    engine.initialize()
    attempts = [first_attempt("a")]
    while len(attempts) < stored + 2:
        attempts.append(next_attempt(attempts[-1]))
    for attempt in attempts[:stored]:
        engine.commit(attempt)
    wanted = attempts[stored:]
    refused = engine.request([*wanted, next_attempt(first_attempt("b"))])
    accepted = engine.request(wanted)
    engine.group.run(SeveralCommits([refused, accepted]))
    assert isinstance(refused.error, ConcurrencyError)
    assert accepted.error is None
    assert [commit.commit_id for commit in engine.get_from("default", "a")] == [one.commit_id for one in attempts]
    engine.close()
    engine = FileEngine(tmp_path / "s")
    engine.initialize()
    assert [commit.checkpoint_token for commit in engine.get_from_checkpoint()] == list(range(1, stored + 3))
    engine.close()


def test_a_request_that_there_is_no_memory_for_leaves_nothing_in_the_plan(tmp_path: Path) -> None:
    memory = pytest.importorskip("_testcapi", reason="this Python has no _testcapi")
    engine = FileEngine(tmp_path / "s", background=False)
    engine.initialize()
    view = engine.writable().view
    first = first_attempt("a")
    request, following = engine.request([first, next_attempt(first)]), engine.request([first_attempt("b")])
    request.plan(Plan(view))  # what it looks up is known from here on
    failed = 0
    for allocation in range(60):
        plan, before = Plan(view), failed
        memory.set_nomemory(allocation, allocation + 1)
        try:
            request.plan(plan)
        except (MemoryError, SystemError):  # the latter is what C that is careless of memory comes to
            failed += 1
        finally:
            memory.remove_mem_hooks()
        if failed > before:
            assert (plan.records, plan.batches, plan.ids) == ([], [], set()), allocation
            assert not any(sequence for sequence, _, _ in plan.heads.values()), allocation
            following.plan(plan)
        assert plan.size_bytes >= sum(record.length_bytes for record in plan.records), allocation
        assert sum(plan.batches) == len(plan.records), allocation
    assert failed > 10
    engine.close()
