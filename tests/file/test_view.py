"""What one process knows of the store: folded files, and over them the unfolded tail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from fsstore.engines.file import FileEngine
from fsstore.engines.file.formats import index_entries
from fsstore.engines.file.state.tail import Tail
from fsstore.engines.file.state.view import View
from fsstore.engines.file.streams.segments import SEGMENT, Stream
from fsstore.errors import CorruptionError
from fsstore.model import Commit, Snapshot
from fsstore.testing import SimulatedDisk, fill, first_attempt, next_attempt

A, B = Stream.of("default", "a"), Stream.of("other", "b")


class Store:
    """A store on a simulated disk, and what its process knows of it."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk = disk
        self.engine = FileEngine("/a.store", disk=disk, background=False, index_from_bytes=1000)
        self.engine.initialize()

    @property
    def view(self) -> View:
        """As of now."""
        store = self.engine.opened()
        store.view.refresh(store.control, to_tail=True)
        return store.view

    def other(self) -> Store:
        """Another process that has it open."""
        return Store(self.disk.process())

    def commits(self, stream: Stream, count: int) -> list[Commit]:
        return fill(self.engine, stream.stream_id, bucket_id=stream.bucket_id, commits=count, events=1)

    def delete(self, stream: Stream) -> None:
        self.engine.delete_stream(stream.bucket_id, stream.stream_id)


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store(SimulatedDisk())
    yield made
    made.engine.close()


def head(store: Store, stream: Stream) -> tuple[int, int]:
    """Sequence and revision."""
    return store.view.head(stream)[:2]


def test_a_stream_that_nobody_began_has_no_head_and_no_file(store: Store) -> None:
    assert store.view.head(A) == (0, 0, 0)
    assert not store.view.has_commit(A, bytes(16))
    assert store.view.snapshot_revisions(A) == set()
    assert store.view.snapshots_end(A) == 0


def test_a_head_is_the_same_before_and_after_folding(store: Store) -> None:
    last = store.commits(A, 3)[-1]
    unfolded = store.view.head(A)
    store.engine.fold()
    assert store.view.head(A) == unfolded
    store.engine.commit(next_attempt(last))
    assert head(store, A) == (4, 4)
    assert store.view.head(A)[2] > unfolded[2]


@pytest.mark.parametrize("count", [2, 40])
def test_commit_ids_are_known_folded_or_not_in_short_streams_and_long(store: Store, count: int) -> None:
    commits = store.commits(A, count)
    unknown = bytes(15) + b"?"
    for fold in (False, True):
        if fold:
            store.engine.fold()
        assert all(store.view.has_commit(A, commit.commit_id.bytes) for commit in commits)
        assert not store.view.has_commit(A, unknown)
        assert not store.view.has_commit(B, commits[0].commit_id.bytes)


def _segments_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[Stream]:
    """The streams whose segments are read from now on."""
    read: list[Stream] = []
    records = store.view.segments.records

    def noted(stream: Stream, end: int, **options: Any) -> Any:
        read.append(stream)
        return records(stream, end, **options)

    monkeypatch.setattr(store.view.segments, "records", noted)
    return read


def test_a_commit_to_a_short_stream_needs_its_head_and_not_its_segment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.engine.commit(first_attempt("a", commit_id=UUID(int=1)))
    commits = [first, store.engine.commit(next_attempt(first, commit_id=UUID(int=2)))]
    store.engine.fold()
    read = _segments_read(store, monkeypatch)
    store.engine.commit(next_attempt(commits[-1], commit_id=UUID(int=3)))
    assert read == []
    for number, commit in enumerate(commits):
        assert store.view.has_commit(A, commit.commit_id.bytes)
        assert read == [A], number  # once for all ids


@pytest.mark.parametrize("ids", [2, index_entries.UNKNOWN_IDS])
def test_a_head_that_has_a_token_in_place_of_ids_says_nothing_of_them(
    store: Store, monkeypatch: pytest.MonkeyPatch, ids: int
) -> None:
    """As folding left it before there were ids."""
    commits = store.commits(A, 2)
    store.engine.fold()
    other = store.other()
    known = other.view.indexes.heads.get(A.key)
    assert known is not None
    other.view.indexes.heads._write = True
    other.view.indexes.heads.open(at_least_folded=0)
    other.view.indexes.heads.put(replace(known, id_bits=ids))
    read = _segments_read(other, monkeypatch)
    assert not other.view.has_commit(A, bytes(15) + b"?")
    assert all(other.view.has_commit(A, commit.commit_id.bytes) for commit in commits)
    assert read == [A]
    other.engine.close()


def test_what_another_process_commits_folds_and_deletes_is_seen(store: Store) -> None:
    other = store.other()
    last = other.commits(A, 2)[-1]
    assert head(store, A) == (2, 2)
    other.engine.fold()
    other.engine.commit(next_attempt(last))
    assert head(store, A) == (3, 3)
    other.delete(A)
    other.engine.fold()
    assert store.view.head(A) == (0, 0, 0)
    other.engine.close()


def test_after_a_deletion_the_folded_part_counts_no_more(store: Store) -> None:
    commit = store.commits(A, 2)[0]
    assert store.engine.add_snapshot(Snapshot("a", 2, "state"))
    store.engine.fold()
    store.delete(A)
    view = store.view
    assert view.folded_head(A).sequence == 0
    assert view.head(A) == (0, 0, 0)
    assert not view.has_commit(A, commit.commit_id.bytes)
    assert view.snapshot_revisions(A) == set()
    store.commits(A, 1)
    assert head(store, A) == (1, 1)
    assert not store.view.has_commit(A, commit.commit_id.bytes)


def test_a_purge_resets_its_bucket_and_no_other(store: Store) -> None:
    store.commits(A, 1)
    store.commits(B, 2)
    store.engine.fold()
    assert not store.view.is_going(B.key)
    store.engine.purge("other")
    view = store.view
    assert (view.folded_head(A).sequence, view.folded_head(B).sequence) == (1, 0)
    assert (view.is_going(A.key), view.is_going(B.key)) == (False, True)
    assert (head(store, A), head(store, B)) == ((1, 1), (0, 0))


@pytest.mark.parametrize("bucket_id", ["other", None])
def test_a_purge_that_was_folded_leaves_nothing_of_a_stream_that_was_known(store: Store, bucket_id: str | None) -> None:
    store.commits(A, 1)
    commits = store.commits(B, 2)
    store.engine.fold()
    other = store.other()
    for one in (store, other):
        assert head(one, B) == (2, 2)
        assert one.view.has_commit(B, commits[0].commit_id.bytes)
    store.engine.purge(bucket_id)
    assert head(other, B) == (0, 0)
    store.engine.fold()
    for one in (store, other):
        assert head(one, B) == (0, 0)
        assert list(one.engine.get_from("other", "b")) == []
        assert head(one, A) == ((1, 1) if bucket_id else (0, 0))
    assert len(other.commits(B, 1)) == 1
    other.engine.close()


def test_snapshots_are_known_folded_and_unfolded_together(store: Store) -> None:
    store.commits(A, 5)
    assert store.engine.add_snapshot(Snapshot("a", 2, "state"))
    store.engine.fold()
    folded_end = store.view.snapshots_end(A)
    assert store.engine.add_snapshot(Snapshot("a", 4, "state"))
    assert store.view.snapshot_revisions(A) == {2, 4}
    assert store.view.snapshots_end(A) > folded_end > 0


def test_a_table_of_heads_that_is_ahead_of_the_fold_mark_is_not_believed_beyond_it(store: Store) -> None:
    """As a power cut within a fold may leave it: the table has what the stream's file has not."""
    last = store.commits(A, 2)[-1]
    store.engine.fold()
    folded = store.view.folded_head(A)
    store.engine.commit(next_attempt(last))
    ahead = store.view.indexes.heads.get(A.key)
    assert ahead is not None
    ahead.segment_bytes, ahead.sequence = ahead.segment_bytes + 500, 3
    other = store.other()
    other.view.indexes.heads._write = True
    other.view.indexes.heads.open(at_least_folded=0)
    other.view.indexes.heads.put(ahead)
    found = other.view.folded_head(A)
    assert (found.segment_bytes, found.sequence) == (folded.segment_bytes, 2)
    assert head(other, A) == (3, 3)
    other.engine.close()


def test_a_stream_that_the_table_of_heads_lost_is_measured(store: Store) -> None:
    store.commits(A, 3)
    store.engine.fold()
    other = store.other()
    other.view.indexes.heads.close()
    other.disk.unlink("/a.store/heads.index")
    other.view.indexes.heads._write = True
    other.view.indexes.heads.create()
    assert head(other, A) == (3, 3)
    other.view.indexes.heads.mark_folded(other.view.folded, 4)
    other.engine.close()


def test_a_missing_segment_is_damage_that_is_named(store: Store) -> None:
    commit = store.commits(A, 2)[0]
    store.engine.fold()
    path = store.view.segments.path(A.key, SEGMENT)
    store.disk.unlink(path)
    fresh = store.other()
    with pytest.raises(CorruptionError, match="file is missing") as caught:
        fresh.view.has_commit(A, commit.commit_id.bytes)
    assert caught.value.path == path
    fresh.engine.close()


class InterruptingIds(set[bytes]):
    """The commit ids of a stream, which somebody interrupts with Ctrl-C when one is added."""

    def add(self, commit_id: bytes) -> None:
        raise KeyboardInterrupt


def test_a_thread_that_is_interrupted_while_it_notes_what_it_wrote_knows_it_afterwards(store: Store) -> None:
    commits = store.commits(A, 3)
    store.view.tail.streams[A.key].ids = InterruptingIds(commit.commit_id.bytes for commit in commits)
    with pytest.raises(KeyboardInterrupt):
        store.engine.commit(next_attempt(commits[-1]))
    assert list(store.engine.get_from("default", "a")) == commits
    assert store.commits(B, 1)[0].checkpoint_token == 5
    assert [commit.commit_sequence for commit in store.engine.get_from("default", "a")] == [1, 2, 3, 4]
    assert [commit.checkpoint_token for commit in store.engine.get_from_checkpoint()] == [1, 2, 3, 4, 5]


def test_a_thread_that_is_interrupted_while_it_forgets_what_was_folded_knows_no_old_head(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = store.other()
    last = other.commits(A, 2)[-1]
    other.engine.fold()
    assert head(store, A) == (2, 2)
    other.engine.commit(next_attempt(last))
    assert head(store, A) == (3, 3)
    other.engine.fold()
    drop_below = Tail.drop_below

    def drop_and_be_interrupted(tail: Tail, position: int) -> list[bytes]:
        drop_below(tail, position)
        raise KeyboardInterrupt

    monkeypatch.setattr(Tail, "drop_below", drop_and_be_interrupted)
    with pytest.raises(KeyboardInterrupt):
        head(store, A)
    monkeypatch.undo()
    assert head(store, A) == (3, 3)
    other.engine.close()


def test_what_is_cached_stays_within_its_limit(store: Store) -> None:
    streams = [Stream.of("default", f"stream {number}") for number in range(20)]
    for stream in streams:
        store.commits(stream, 1)
    store.engine.close()
    engine = FileEngine("/a.store", disk=store.disk, background=False, max_cached_streams=3)
    engine.initialize()
    view = engine.opened().view
    for stream in streams:
        assert view.head(stream)[:2] == (1, 1)
    assert len(view._cache) == 3
    engine.close()
