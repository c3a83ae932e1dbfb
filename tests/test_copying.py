"""A copy holds what its source holds, goes on where it stopped, and never passes for one when it differs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fsstore.copying import CopyError, Summary, copy_store, summarize
from fsstore.engine import PersistenceEngine
from fsstore.engines import engine_for
from fsstore.model import Snapshot
from fsstore.testing.attempts import fill, next_attempt

pytest.importorskip("sqlalchemy", reason="pip install 'fsstore[sql]'")

EVERYTHING = 1 << 40


def copied(source: PersistenceEngine, target: PersistenceEngine) -> Summary:
    summary = Summary()
    for _ in copy_store(source, target, EVERYTHING, summary):
        pass
    return summary


def summary_of(engine: PersistenceEngine) -> Summary:
    summary = Summary()
    for _ in summarize(engine, summary):
        pass
    return summary


@pytest.fixture
def source() -> PersistenceEngine:
    """Two buckets, a gap in the tokens, snapshots, and dispatch marks here and there."""
    engine = engine_for("memory:")
    engine.initialize()
    for number in range(30):
        stored = fill(engine, f"stream {number % 7}/{number}", bucket_id=f"bucket {number % 2}", commits=20)
        for revision in (2, 6, 30)[: number % 4]:
            place = (stored[0].stream_id, revision, {"at": revision}, stored[0].bucket_id)
            assert engine.add_snapshot(Snapshot(*place))
        for commit in stored[:: number % 3 + 1]:
            engine.mark_commit_as_dispatched(commit)
    engine.delete_stream("bucket 1", "stream 3/3")
    return engine


@pytest.fixture(params=["file", "sqlite"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PersistenceEngine]:
    urls = {"file": str(tmp_path / "copy.store"), "sqlite": f"sqlite:///{tmp_path}/copy.db"}
    engine = engine_for(urls[request.param])
    engine.initialize()
    yield engine
    engine.close()


def test_a_copy_holds_the_same_in_the_same_order(source: PersistenceEngine, target: PersistenceEngine) -> None:
    summary = copied(source, target)
    assert (summary.commits, len(summary.streams), summary.snapshots) == (580, 29, 40)
    assert summary == summary_of(source) == summary_of(target)
    assert [each.commit_id for each in target.get_from_checkpoint()] == [
        each.commit_id for each in source.get_from_checkpoint()
    ]
    assert [each.commit_id for each in target.get_undispatched_commits()] == [
        each.commit_id for each in source.get_undispatched_commits()
    ]
    snapshot = target.get_snapshot("bucket 1", "stream 2/23", 29)
    assert snapshot == source.get_snapshot("bucket 1", "stream 2/23", 29) is not None


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 700, 1_200])
def test_a_copy_that_stopped_goes_on(source: PersistenceEngine, target: PersistenceEngine, steps: int) -> None:
    for _, _ in zip(range(steps), copy_store(source, target, EVERYTHING, Summary()), strict=False):
        pass
    assert copied(source, target) == summary_of(source)


def test_a_finished_copy_takes_what_came_later(source: PersistenceEngine, target: PersistenceEngine) -> None:
    copied(source, target)
    fill(source, "later", commits=3)
    assert copied(source, target) == summary_of(source)


def test_a_store_that_is_no_copy_is_left_as_it_is(source: PersistenceEngine, target: PersistenceEngine) -> None:
    stored = fill(target, "something else")
    with pytest.raises(CopyError, match="something else"):
        copied(source, target)
    assert list(target.get_from_checkpoint()) == stored


def test_a_copy_with_more_than_its_source_is_none(source: PersistenceEngine, target: PersistenceEngine) -> None:
    copied(source, target)
    target.commit(next_attempt(list(target.get_from_checkpoint())[-1]))
    with pytest.raises(CopyError):
        copied(source, target)


def test_what_differs_is_named(source: PersistenceEngine, target: PersistenceEngine) -> None:
    copied(source, target)
    target.add_snapshot(Snapshot("stream 0/0", 4, "of nobody", "bucket 0"))
    with pytest.raises(CopyError, match=r"stream 0/0.*bucket 0"):
        copied(source, target)
