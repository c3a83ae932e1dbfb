"""A copy holds what its source holds, goes on where it stopped, and never passes for one when it differs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fsstore.copying import CopyError, Summary, copy_store, summarize
from fsstore.engine import PersistenceEngine
from fsstore.engines import engine_for
from fsstore.model import EventMessage, Snapshot
from fsstore.testing.attempts import fill, first_attempt, next_attempt

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


# Among the commits and behind them, among the snapshots, among the marks.
@pytest.mark.parametrize("steps", [1, 3, 590, 700])
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


def test_commits_that_together_are_too_large_for_the_target_are_stored_in_parts(
    source: PersistenceEngine, tmp_path: Path
) -> None:
    target = engine_for(tmp_path / "narrow.store", max_batch_bytes=2_000)
    target.initialize()
    assert copied(source, target) == summary_of(source)
    target.close()


@pytest.mark.parametrize("what", ["commit", "snapshot"])
def test_what_is_too_large_for_the_target_is_named(source: PersistenceEngine, tmp_path: Path, what: str) -> None:
    if what == "commit":
        source.commit(first_attempt("large", events=[EventMessage("x" * 5_000)]))
    else:
        fill(source, "large")
        source.add_snapshot(Snapshot("large", 2, "x" * 5_000))
    target = engine_for(tmp_path / "narrow.store", max_record_bytes=4_000)
    target.initialize()
    with pytest.raises(CopyError, match=f"{what} .* stream 'large' in bucket 'default' cannot be stored"):
        copied(source, target)
    target.close()


def test_a_snapshot_beyond_the_head_of_its_stream_is_copied_with_the_others(
    source: PersistenceEngine, target: PersistenceEngine
) -> None:
    fill(source, "beyond")
    for revision in (2, 99):
        source.add_snapshot(Snapshot("beyond", revision, revision))
    assert copied(source, target) == summary_of(source)
    for revision in (2, 99):
        assert target.get_snapshot("default", "beyond", revision) == Snapshot("beyond", revision, revision)


def test_what_happens_to_the_source_meanwhile_is_left_out(source: PersistenceEngine, target: PersistenceEngine) -> None:
    head = list(source.get_from_checkpoint())[-1]
    summary, seen = Summary(), set[str]()
    for now in copy_store(source, target, head.checkpoint_token, summary):
        if now.step in seen:
            continue
        seen.add(now.step)
        later = source.commit(next_attempt(list(source.get_from(head.bucket_id, head.stream_id))[-1]))
        source.add_snapshot(Snapshot(later.stream_id, later.stream_revision, now.step, later.bucket_id))
        fill(source, f"begun while {now.step}")
        source.add_snapshot(Snapshot(f"begun while {now.step}", 1, "early"))
        if now.step == "verifying":
            source.mark_commit_as_dispatched(next(iter(source.get_undispatched_commits())))
    assert len(seen) == 4
    assert (summary.commits, summary.snapshots) == (580, 40)
    assert target.get_snapshot(head.bucket_id, head.stream_id) == source.get_snapshot(
        head.bucket_id, head.stream_id, head.stream_revision
    )


def test_what_is_added_to_the_streams_of_the_source_meanwhile_is_no_difference(
    source: PersistenceEngine, target: PersistenceEngine
) -> None:
    """Again and again a snapshot is added, and a commit marked, also behind what is copied already."""
    commits = list(source.get_from_checkpoint())
    later = iter(commits[::7])
    summary = Summary()
    for number, now in enumerate(copy_store(source, target, commits[-1].checkpoint_token, summary)):
        if number % 40 == 0 and (commit := next(later, None)) is not None:
            source.add_snapshot(Snapshot(commit.stream_id, commit.stream_revision, now.step, commit.bucket_id))
            source.mark_commit_as_dispatched(next(iter(source.get_undispatched_commits())))
    assert (summary.commits, summary.digest) == (len(commits), summary_of(target).digest)
