"""`delete_stream` and `purge`: what is gone, what stays, and tokens that are never given out again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from fsstore.engine import PersistenceEngine
from fsstore.model import Snapshot
from fsstore.testing.attempts import fill, first_attempt, next_attempt
from fsstore.testing.capabilities import needs
from fsstore.testing.promises.stores import EngineTests, Stores, contents, nothing_changes, tokens

Removal = Callable[[PersistenceEngine], None]

REMOVALS: dict[str, Removal] = {
    "delete_stream": lambda engine: engine.delete_stream("bucket", "stream"),
    "purge bucket": lambda engine: engine.purge("bucket"),
    "purge all": lambda engine: engine.purge(),
}

PATTERNS = ("%", "a_", "a*", "[a]b", "a.", "a/..")
"""Ids that stand for others where somebody takes them for patterns or paths."""

each_removal = pytest.mark.parametrize("remove", REMOVALS.values(), ids=REMOVALS.keys())


class DeletionPromises(EngineTests):
    """Forgetting."""

    @each_removal
    def test_nothing_of_the_stream_is_found(self, engine: PersistenceEngine, remove: Removal) -> None:
        stored = fill(engine, "stream", bucket_id="bucket", commits=3)
        engine.add_snapshot(Snapshot("stream", 2, "state", "bucket"))
        engine.mark_commit_as_dispatched(stored[0])
        remove(engine)
        assert list(engine.get_from("bucket", "stream")) == []
        assert list(engine.get_from_checkpoint()) == []
        assert list(engine.get_from_checkpoint(bucket_id="bucket")) == []
        assert list(engine.get_from_date(stored[0].commit_stamp)) == []
        assert list(engine.get_undispatched_commits()) == []
        assert list(engine.get_streams_to_snapshot("bucket", 0)) == []
        assert engine.get_snapshot("bucket", "stream") is None
        assert engine.add_snapshot(Snapshot("stream", 1, "state", "bucket")) is False

    @each_removal
    def test_the_stream_begins_anew(self, engine: PersistenceEngine, remove: Removal) -> None:
        old = fill(engine, "stream", bucket_id="bucket", commits=3)
        engine.add_snapshot(Snapshot("stream", 2, "old state", "bucket"))
        for commit in old:
            engine.mark_commit_as_dispatched(commit)
        remove(engine)
        # The ids of what is gone are free again.
        first = engine.commit(first_attempt("stream", bucket_id="bucket", commit_id=old[0].commit_id))
        second = engine.commit(next_attempt(first, commit_id=old[1].commit_id, events=2))
        assert tokens([first, second]) == [4, 5]
        assert list(engine.get_from("bucket", "stream")) == [first, second]
        assert list(engine.get_undispatched_commits()) == [first, second]
        assert engine.get_snapshot("bucket", "stream") is None
        assert [head.snapshot_revision for head in engine.get_streams_to_snapshot("bucket", 0)] == [0]
        assert engine.add_snapshot(Snapshot("stream", 2, "new state", "bucket")) is True
        snapshot = engine.get_snapshot("bucket", "stream")
        assert snapshot == Snapshot("stream", 2, "new state", "bucket")

    @each_removal
    def test_tokens_are_not_given_out_again(self, engine: PersistenceEngine, remove: Removal) -> None:
        for generation in range(3):
            first = generation * 3 + 1
            stored = fill(engine, "stream", bucket_id="bucket", commits=3)
            assert tokens(stored) == [first, first + 1, first + 2]
            remove(engine)
        assert fill(engine, "other")[0].checkpoint_token == 10

    @each_removal
    @needs("durable")
    def test_tokens_are_not_given_out_again_after_reopening(self, stores: Stores, remove: Removal) -> None:
        engine = stores.open()
        fill(engine, "stream", bucket_id="bucket", commits=3)
        remove(engine)
        engine = stores.reopen(stores.reopen(engine))
        assert list(engine.get_from_checkpoint()) == []
        stored = fill(engine, "stream", bucket_id="bucket", commits=2)
        assert tokens(stored) == [4, 5]
        engine = stores.reopen(engine)
        assert list(engine.get_from("bucket", "stream")) == stored

    @each_removal
    @needs("durable")
    def test_what_is_gone_stays_gone_after_reopening(self, stores: Stores, remove: Removal) -> None:
        engine = stores.open()
        old = fill(engine, "stream", bucket_id="bucket", commits=3)
        engine.add_snapshot(Snapshot("stream", 2, "state", "bucket"))
        engine.mark_commit_as_dispatched(old[0])
        engine = stores.reopen(engine)
        remove(engine)
        before = contents(engine, old[0])
        assert before.commits == []
        assert before.snapshots == []
        engine = stores.reopen(engine)
        assert contents(engine, old[0]) == before

    def test_deleting_a_stream_leaves_the_others(self, engine: PersistenceEngine) -> None:
        stay = [("bucket", "other"), ("default", "stream"), ("bucket", "stream/1"), ("bucket", "strea")]
        self._fill_around(engine, [*stay, ("bucket", "stream")])
        self._only_these_stay(engine, stay, lambda: engine.delete_stream("bucket", "stream"))

    def test_purging_a_bucket_leaves_the_others(self, engine: PersistenceEngine) -> None:
        stay = [("default", "stream"), ("bucket2", "stream"), ("Bucket", "stream"), ("bucke", "other")]
        self._fill_around(engine, [*stay, ("bucket", "stream"), ("bucket", "other")])
        self._only_these_stay(engine, stay, lambda: engine.purge("bucket"))

    def test_a_stream_id_is_no_pattern(self, engine: PersistenceEngine) -> None:
        stay = [("bucket", name) for name in (*PATTERNS, "a", "ab")]
        self._fill_around(engine, stay)
        for pattern in PATTERNS:
            del stay[0]
            self._only_these_stay(engine, stay, partial(engine.delete_stream, "bucket", pattern))

    def test_a_bucket_id_is_no_pattern(self, engine: PersistenceEngine) -> None:
        stay = [(name, "stream") for name in (*PATTERNS, "a", "ab")]
        self._fill_around(engine, stay)
        for pattern in PATTERNS:
            del stay[0]
            self._only_these_stay(engine, stay, partial(engine.purge, pattern))

    def test_purging_the_store_leaves_nothing(self, engine: PersistenceEngine) -> None:
        self._fill_around(engine, [("default", "a"), ("default", "b"), ("bucket", "a")])
        self._only_these_stay(engine, [], engine.purge)

    def test_forgetting_what_is_not_there_is_harmless(self, engine: PersistenceEngine) -> None:
        engine.purge()
        engine.delete_stream("default", "stream")
        self._fill_around(engine, [("default", "stream")])
        with nothing_changes(engine):
            engine.delete_stream("default", "unknown")
            engine.delete_stream("unknown", "stream")
            engine.purge("unknown")
        assert fill(engine, "next")[0].checkpoint_token == 4

    @staticmethod
    def _fill_around(engine: PersistenceEngine, places: list[tuple[str, str]]) -> None:
        for bucket_id, stream_id in places:
            stored = fill(engine, stream_id, bucket_id=bucket_id, commits=3)
            engine.add_snapshot(Snapshot(stream_id, 2, f"{bucket_id} {stream_id}", bucket_id))
            engine.mark_commit_as_dispatched(stored[1])

    @staticmethod
    def _only_these_stay(engine: PersistenceEngine, stay: list[tuple[str, str]], remove: Callable[[], None]) -> None:
        before = contents(engine)
        remove()
        after = contents(engine, *before.commits)
        assert after.streams == {place: commits if place in stay else [] for place, commits in before.streams.items()}
        assert after.commits == [c for c in before.commits if (c.bucket_id, c.stream_id) in stay]
        assert after.undispatched == [c for c in before.undispatched if (c.bucket_id, c.stream_id) in stay]
        assert after.snapshots == [s for s in before.snapshots if (s.bucket_id, s.stream_id) in stay]
        assert after.heads == {head for head in before.heads if head[:2] in stay}
