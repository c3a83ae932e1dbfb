"""Planning: requests that share a pass, of which each is accepted or refused by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsstore import ConcurrencyError
from fsstore.engines.file import FileEngine
from fsstore.engines.file.planning import SeveralCommits
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
