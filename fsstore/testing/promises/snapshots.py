"""`add_snapshot`, `get_snapshot` and `get_streams_to_snapshot`."""

from __future__ import annotations

from uuid import uuid4

import pytest

from fsstore.engine import PersistenceEngine
from fsstore.errors import ConcurrencyError, SerializationError
from fsstore.model import Snapshot, StreamHead
from fsstore.testing.attempts import fill, first_attempt, next_attempt
from fsstore.testing.promises.stores import EngineTests, contents, nothing_changes
from fsstore.testing.strategies import EXAMPLE_VALUES, same


def heads(engine: PersistenceEngine, bucket_id: str, threshold: int) -> dict[str, StreamHead]:
    found = list(engine.get_streams_to_snapshot(bucket_id, threshold))
    by_stream = {head.stream_id: head for head in found}
    assert len(by_stream) == len(found), "a stream stands twice among the heads"
    return by_stream


class SnapshotPromises(EngineTests):
    """`add_snapshot` and `get_snapshot`."""

    def test_a_stream_without_commits_takes_no_snapshot(self, engine: PersistenceEngine) -> None:
        fill(engine, "other")
        fill(engine, "stream", bucket_id="other bucket")
        assert engine.add_snapshot(Snapshot("stream", 1, "state")) is False
        assert engine.get_snapshot("default", "stream") is None
        fill(engine, "stream")
        assert engine.get_snapshot("default", "stream") is None

    def test_a_snapshot_comes_back(self, engine: PersistenceEngine) -> None:
        fill(engine, "stream", commits=2)
        snapshot = Snapshot("stream", 3, {"total": 3})
        assert engine.get_snapshot("default", "stream") is None
        assert engine.add_snapshot(snapshot) is True
        assert engine.get_snapshot("default", "stream") == snapshot

    def test_the_first_snapshot_of_a_revision_stays(self, engine: PersistenceEngine) -> None:
        fill(engine, "stream", commits=2)
        assert engine.add_snapshot(Snapshot("stream", 2, "first")) is True
        with nothing_changes(engine):
            assert engine.add_snapshot(Snapshot("stream", 2, "second")) is False
        assert engine.add_snapshot(Snapshot("stream", 4, "later")) is True
        with nothing_changes(engine):
            assert engine.add_snapshot(Snapshot("stream", 2, "third")) is False
        assert engine.get_snapshot("default", "stream", 2) == Snapshot("stream", 2, "first")

    @pytest.mark.parametrize("order", [(2, 5, 9), (9, 5, 2), (5, 9, 2)])
    def test_the_newest_at_or_before_a_revision(self, engine: PersistenceEngine, order: tuple[int, ...]) -> None:
        fill(engine, "stream", commits=5)
        for revision in order:
            assert engine.add_snapshot(Snapshot("stream", revision, f"at {revision}")) is True
        for limit in (*range(1, 12), None):
            known = [revision for revision in (2, 5, 9) if limit is None or revision <= limit]
            wanted = Snapshot("stream", known[-1], f"at {known[-1]}") if known else None
            assert engine.get_snapshot("default", "stream", limit) == wanted

    def test_streams_and_buckets_have_their_own_snapshots(self, engine: PersistenceEngine) -> None:
        for place in (("default", "stream"), ("default", "other"), ("bucket", "stream")):
            fill(engine, place[1], bucket_id=place[0])
        engine.add_snapshot(Snapshot("stream", 1, "mine"))
        assert engine.get_snapshot("default", "other") is None
        assert engine.get_snapshot("bucket", "stream") is None
        assert engine.add_snapshot(Snapshot("stream", 1, "theirs", "bucket")) is True
        assert engine.get_snapshot("default", "stream") == Snapshot("stream", 1, "mine")
        assert engine.get_snapshot("bucket", "stream") == Snapshot("stream", 1, "theirs", "bucket")

    def test_a_snapshot_changes_nothing_else(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "stream", commits=2)
        before = contents(engine)
        engine.add_snapshot(Snapshot("stream", 2, "state"))
        after = contents(engine)
        assert (after.commits, after.undispatched) == (before.commits, before.undispatched)
        assert engine.commit(next_attempt(stored[-1])).checkpoint_token == 3

    def test_payloads_of_every_plain_type_come_back(self, engine: PersistenceEngine) -> None:
        fill(engine, "stream", events=len(EXAMPLE_VALUES))
        for revision, value in enumerate(EXAMPLE_VALUES, 1):
            assert engine.add_snapshot(Snapshot("stream", revision, value)) is True
        for revision, value in enumerate(EXAMPLE_VALUES, 1):
            snapshot = engine.get_snapshot("default", "stream", revision)
            assert snapshot is not None
            assert same(snapshot.payload, value)

    def test_a_large_payload_comes_back(self, engine: PersistenceEngine) -> None:
        fill(engine, "stream")
        payload = {"blob": bytes(range(256)) * 4_096}
        engine.add_snapshot(Snapshot("stream", 2, payload))
        assert engine.get_snapshot("default", "stream") == Snapshot("stream", 2, payload)

    def test_a_payload_that_cannot_be_written_is_refused(self, engine: PersistenceEngine) -> None:
        fill(engine, "stream")
        with nothing_changes(engine), pytest.raises(SerializationError):
            engine.add_snapshot(Snapshot("stream", 2, {"total": object()}))
        assert engine.add_snapshot(Snapshot("stream", 2, "state")) is True

    def test_a_refused_payload_names_bucket_stream_and_revision(self, engine: PersistenceEngine) -> None:
        fill(engine, "order 17", bucket_id="warehouse")
        with pytest.raises(SerializationError) as raised:
            engine.add_snapshot(Snapshot("order 17", 2, object(), "warehouse"))
        for part in ("warehouse", "order 17", "revision 2"):
            assert part in str(raised.value)

    def test_changing_a_payload_does_not_change_the_store(self, engine: PersistenceEngine) -> None:
        fill(engine, "stream")
        payload = {"items": [1, 2]}
        engine.add_snapshot(Snapshot("stream", 2, payload))
        payload["items"].append(3)
        found = engine.get_snapshot("default", "stream")
        assert found == Snapshot("stream", 2, {"items": [1, 2]})
        found.payload["items"].clear()
        assert engine.get_snapshot("default", "stream") == Snapshot("stream", 2, {"items": [1, 2]})


class StreamHeadPromises(EngineTests):
    """`get_streams_to_snapshot`."""

    def test_a_stream_counts_from_its_beginning_without_a_snapshot(self, engine: PersistenceEngine) -> None:
        fill(engine, "three", events=3)
        fill(engine, "four", commits=2, events=2)
        assert heads(engine, "default", 5) == {}
        assert heads(engine, "default", 4) == {"four": StreamHead("default", "four", 4, 0)}
        assert heads(engine, "default", 3) == {
            "three": StreamHead("default", "three", 3, 0),
            "four": StreamHead("default", "four", 4, 0),
        }

    def test_a_stream_counts_from_its_newest_snapshot(self, engine: PersistenceEngine) -> None:
        head = fill(engine, "stream", commits=5, events=2)[-1]
        engine.add_snapshot(Snapshot("stream", 7, "newer"))
        engine.add_snapshot(Snapshot("stream", 4, "older, added later"))
        wanted = {"stream": StreamHead("default", "stream", 10, 7)}
        assert heads(engine, "default", 3) == wanted
        assert heads(engine, "default", 0) == wanted
        assert heads(engine, "default", 4) == {}
        engine.commit(next_attempt(head))
        assert heads(engine, "default", 4) == {"stream": StreamHead("default", "stream", 11, 7)}

    def test_a_snapshot_at_the_head_is_enough(self, engine: PersistenceEngine) -> None:
        fill(engine, "stream", commits=2, events=2)
        engine.add_snapshot(Snapshot("stream", 4, "state"))
        assert heads(engine, "default", 1) == {}
        assert heads(engine, "default", 0) == {"stream": StreamHead("default", "stream", 4, 4)}

    def test_heads_of_one_bucket_only(self, engine: PersistenceEngine) -> None:
        fill(engine, "stream", commits=2)
        fill(engine, "stream", bucket_id="other", commits=1)
        fill(engine, "elsewhere", bucket_id="other", commits=3)
        engine.add_snapshot(Snapshot("stream", 4, "state"))
        assert heads(engine, "default", 1) == {}
        assert heads(engine, "other", 1) == {
            "stream": StreamHead("other", "stream", 2, 0),
            "elsewhere": StreamHead("other", "elsewhere", 6, 0),
        }
        assert heads(engine, "unknown", 0) == {}

    def test_a_refused_commit_moves_no_head(self, engine: PersistenceEngine) -> None:
        head = fill(engine, "stream")[-1]
        with pytest.raises(ConcurrencyError):
            engine.commit(first_attempt("stream", events=9, commit_id=uuid4()))
        assert heads(engine, "default", 0) == {"stream": StreamHead("default", "stream", 2, 0)}
        engine.commit(next_attempt(head))
        assert heads(engine, "default", 0) == {"stream": StreamHead("default", "stream", 3, 0)}
