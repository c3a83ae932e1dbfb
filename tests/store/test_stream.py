"""One stream in one thread's hands: NEventStore's OptimisticEventStream, and what a careful user expects."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from fsstore import (
    CommitAttempt,
    ConcurrencyError,
    DuplicateCommitError,
    EventMessage,
    EventStore,
    EventStream,
    PipelineHook,
    Snapshot,
    StoreClosedError,
    StreamNotFoundError,
    Wireup,
)


def bodies(stream: EventStream) -> list[Any]:
    return [event.body for event in stream.committed_events]


def committed(store: EventStore, stream_id: str, *commits: list[Any]) -> EventStream:
    stream = store.create_stream(stream_id)
    for bodies_of_one in commits:
        for body in bodies_of_one:
            stream.add(body)
        stream.commit_changes()
    return stream


class TestANewStream:
    def test_it_is_empty(self, store: EventStore) -> None:
        stream = store.create_stream("new", bucket_id="bucket")
        assert (stream.bucket_id, stream.stream_id) == ("bucket", "new")
        assert (stream.stream_revision, stream.commit_sequence) == (0, 0)
        assert stream.committed_events == () == stream.uncommitted_events
        assert stream.committed_headers == {} == stream.uncommitted_headers

    def test_opening_a_stream_that_is_not_there_gives_an_empty_one(self, store: EventStore) -> None:
        assert store.open_stream("new").stream_revision == 0

    def test_opening_it_from_a_revision_is_an_error_that_names_it(self, store: EventStore) -> None:
        with pytest.raises(StreamNotFoundError, match=r"'new'.*'bucket'"):
            store.open_stream("new", 1, bucket_id="bucket")

    def test_a_uuid_is_its_text(self, store: EventStore) -> None:
        name = uuid.uuid4()
        assert store.create_stream(name).stream_id == str(name)

    @pytest.mark.parametrize("stream_id", ["", "x" * 1001])
    def test_a_wrong_id_is_a_value_error(self, store: EventStore, stream_id: str) -> None:
        with pytest.raises(ValueError, match="stream_id"):
            store.open_stream(stream_id)


class TestAdding:
    def test_a_bare_body_is_wrapped_and_a_message_kept(self, store: EventStore) -> None:
        stream = store.create_stream("s")
        message = EventMessage("b", {"header": 1})
        stream.add("a")
        stream.add(message)
        assert stream.uncommitted_events == (EventMessage("a"), message)
        assert stream.uncommitted_events[1] is message

    def test_none_is_refused(self, store: EventStore) -> None:
        stream = store.create_stream("s")
        with pytest.raises(ValueError, match="None"):
            stream.add(None)
        assert stream.uncommitted_events == ()

    def test_it_moves_no_revision(self, store: EventStore) -> None:
        stream = store.create_stream("s")
        stream.add("a")
        assert (stream.stream_revision, stream.commit_sequence) == (0, 0)

    def test_clearing_forgets_events_and_headers(self, store: EventStore) -> None:
        stream = store.create_stream("s")
        stream.add("a")
        stream.uncommitted_headers["h"] = 1
        stream.clear_changes()
        assert stream.uncommitted_events == ()
        assert stream.uncommitted_headers == {}


class TestCommitting:
    def test_nothing_added_stores_nothing(self, store: EventStore) -> None:
        stream = store.create_stream("s")
        stream.uncommitted_headers["h"] = 1
        assert stream.commit_changes() is None
        assert list(store.advanced.get_from_checkpoint()) == []

    def test_the_events_become_one_commit(self, store: EventStore) -> None:
        stream = store.create_stream("s", bucket_id="b")
        stream.add("a")
        stream.add(EventMessage("b", {"x": 1}))
        stream.uncommitted_headers["who"] = "me"
        commit_id = uuid.uuid4()
        commit = stream.commit_changes(commit_id)
        assert commit is not None
        assert (commit.bucket_id, commit.stream_id, commit.commit_id) == ("b", "s", commit_id)
        assert (commit.stream_revision, commit.commit_sequence, commit.checkpoint_token) == (2, 1, 1)
        assert commit.headers == {"who": "me"}
        assert list(store.get_from("s", bucket_id="b")) == [commit]

    def test_the_stream_then_shows_them_as_committed(self, store: EventStore) -> None:
        stream = committed(store, "s", ["a", "b"], ["c"])
        assert bodies(stream) == ["a", "b", "c"]
        assert (stream.stream_revision, stream.commit_sequence) == (3, 2)
        assert stream.uncommitted_events == ()
        assert bodies(store.open_stream("s")) == ["a", "b", "c"]

    def test_headers_of_all_commits_are_joined(self, store: EventStore) -> None:
        stream = store.create_stream("s")
        for number, headers in enumerate([{"a": 1, "b": 1}, {"b": 2}]):
            stream.add(number)
            stream.uncommitted_headers.update(headers)
            stream.commit_changes()
            assert stream.uncommitted_headers == {}
        assert stream.committed_headers == {"a": 1, "b": 2}
        assert store.open_stream("s").committed_headers == {"a": 1, "b": 2}

    def test_what_is_committed_cannot_be_changed(self, store: EventStore) -> None:
        stream = committed(store, "s", ["a"])
        shown: Any = stream.committed_headers
        with pytest.raises(TypeError):
            shown["h"] = 1
        stream.add("b")
        stream.uncommitted_headers["h"] = 2
        stream.commit_changes()
        assert (shown, stream.committed_headers) == ({}, {"h": 2})
        stream.uncommitted_headers.update(stream.committed_headers)

    def test_the_mapping_of_headers_stays_the_same(self, store: EventStore) -> None:
        stream = store.create_stream("s")
        headers = stream.uncommitted_headers
        for number in range(3):
            headers["number"] = number
            stream.add(number)
            stream.commit_changes()
            assert headers == {}
        headers["number"] = "forgotten"
        stream.clear_changes()
        assert headers == {}
        assert [commit.headers for commit in store.get_from("s")] == [{"number": number} for number in range(3)]

    def test_what_is_added_while_it_commits_is_kept_for_the_next_commit(self, wireup: Wireup) -> None:
        class Hook(PipelineHook):
            def pre_commit(self, attempt: CommitAttempt) -> bool:
                if attempt.commit_sequence == 1:
                    stream.add("added by the hook")
                return True

        with wireup.hook_into_pipeline_using(Hook()).build() as store:
            stream = store.create_stream("s")
            stream.add("a")
            stream.commit_changes()
            assert [event.body for event in stream.uncommitted_events] == ["added by the hook"]
            stream.commit_changes()
            assert bodies(store.open_stream("s")) == bodies(stream) == ["a", "added by the hook"]

    def test_a_commit_id_used_before_is_a_duplicate(self, store: EventStore) -> None:
        stream = store.create_stream("s")
        commit_id = uuid.uuid4()
        stream.add("a")
        stream.commit_changes(commit_id)
        stream.add("b")
        with pytest.raises(DuplicateCommitError, match=str(commit_id)):
            stream.commit_changes(commit_id)
        assert bodies(store.open_stream("s")) == ["a"]

    def test_the_same_commit_id_in_another_stream_is_fine(self, store: EventStore) -> None:
        commit_id = uuid.uuid4()
        for name in ("s", "t"):
            stream = store.create_stream(name)
            stream.add("a")
            assert stream.commit_changes(commit_id) is not None


class TestConflicts:
    def test_the_loser_has_read_what_the_winner_committed_and_kept_its_own(self, store: EventStore) -> None:
        committed(store, "s", ["a"])
        winner, loser = store.open_stream("s"), store.open_stream("s")
        winner.add("won 1")
        winner.add("won 2")
        winner.commit_changes()
        loser.add("lost")
        loser.uncommitted_headers["h"] = 1
        with pytest.raises(ConcurrencyError):
            loser.commit_changes()
        assert bodies(loser) == ["a", "won 1", "won 2"]
        assert (loser.stream_revision, loser.commit_sequence) == (3, 2)
        assert [event.body for event in loser.uncommitted_events] == ["lost"]
        assert loser.uncommitted_headers == {"h": 1}
        commit = loser.commit_changes()
        assert commit is not None
        assert (commit.stream_revision, commit.commit_sequence) == (4, 3)

    def test_creating_a_stream_that_exists_is_found_when_committing(self, store: EventStore) -> None:
        committed(store, "s", ["a"])
        stream = store.create_stream("s")
        stream.add("b")
        with pytest.raises(ConcurrencyError):
            stream.commit_changes()
        stream.commit_changes()
        assert bodies(store.open_stream("s")) == ["a", "b"]

    @pytest.mark.parametrize("max_revision", [1, 2, 3, 4])
    def test_a_stream_opened_below_its_head_refuses_and_refreshes(self, store: EventStore, max_revision: int) -> None:
        committed(store, "s", ["a", "b"], ["c", "d", "e"])
        stream = store.open_stream("s", 0, max_revision)
        stream.add("f")
        with pytest.raises(ConcurrencyError):
            stream.commit_changes()
        assert bodies(stream) == ["a", "b", "c", "d", "e"]
        assert (stream.stream_revision, stream.commit_sequence) == (5, 2)
        stream.commit_changes()
        assert bodies(store.open_stream("s")) == ["a", "b", "c", "d", "e", "f"]

    @pytest.mark.parametrize("sizes", [(5,), (6,), (3,), (1,) * 7, (2, 2)], ids=str)
    def test_a_stream_that_was_begun_anew_is_read_from_its_beginning(
        self, store: EventStore, sizes: tuple[int, ...]
    ) -> None:
        committed(store, "s", *(["old"] for _ in range(5)))
        stream = store.open_stream("s")
        stream.uncommitted_headers["by"] = "me"
        stream.add("mine")
        store.advanced.delete_stream("default", "s")
        new = [f"new {number}" for number in range(sum(sizes))]
        rest = iter(new)
        committed(store, "s", *([next(rest) for _ in range(size)] for size in sizes))
        with pytest.raises(ConcurrencyError):
            stream.commit_changes()
        assert (bodies(stream), stream.stream_revision, stream.commit_sequence) == (new, sum(sizes), len(sizes))
        stream.commit_changes()
        assert bodies(store.open_stream("s")) == bodies(stream) == [*new, "mine"]

    def test_a_stream_deleted_under_the_writer_can_be_begun_again(self, store: EventStore) -> None:
        stream = committed(store, "s", ["a"], ["b"])
        store.advanced.delete_stream("default", "s")
        stream.add("c")
        with pytest.raises(ConcurrencyError):
            stream.commit_changes()
        assert (stream.stream_revision, stream.commit_sequence) == (0, 0)
        stream.commit_changes()
        assert bodies(store.open_stream("s")) == ["c"]


class TestRanges:
    @pytest.mark.parametrize("low", range(8))
    @pytest.mark.parametrize("high", [*range(1, 8), None])
    def test_only_events_of_the_range_are_shown(self, store: EventStore, low: int, high: int | None) -> None:
        committed(store, "s", [1, 2], [3, 4, 5], [6])
        wanted = [n for n in range(1, 7) if low <= n and (high is None or n <= high)]
        if not wanted:
            with pytest.raises(StreamNotFoundError):
                store.open_stream("s", low, high)
            return
        stream = store.open_stream("s", low, high)
        assert bodies(stream) == wanted
        assert stream.stream_revision == wanted[-1]

    @pytest.mark.parametrize("no_end", [0, -1, None])
    def test_zero_is_no_end_where_a_stream_is_opened(self, store: EventStore, no_end: int | None) -> None:
        committed(store, "s", [1, 2], [3])
        for stream in (
            store.open_stream("s", 0, no_end),
            store.open_stream("s", min_revision=2, max_revision=no_end),
            store.open_stream(Snapshot("s", 1, "state"), no_end),
            store.open_stream(snapshot=Snapshot("s", 1, "state"), max_revision=no_end),
        ):
            assert (bodies(stream)[-2:], stream.stream_revision) == ([2, 3], 3)
            assert len(list(store.get_from("s", 0, no_end))) == (2 if no_end is None else 0)
        wrong: Any = False
        for first in ("s", Snapshot("s", 1, "state")):
            with pytest.raises(TypeError, match="max_revision must be an int, not bool"):
                store.open_stream(first, max_revision=wrong)

    def test_from_a_snapshot_only_what_follows_is_read(self, store: EventStore) -> None:
        committed(store, "s", ["a", "b"], ["c", "d"])
        stream = store.open_stream(Snapshot("s", 3, "state"))
        assert bodies(stream) == ["d"]
        assert (stream.stream_revision, stream.commit_sequence) == (4, 2)
        stream.add("e")
        stream.commit_changes()
        assert bodies(store.open_stream("s")) == ["a", "b", "c", "d", "e"]

    def test_from_a_snapshot_at_the_head_nothing_is_read_and_committing_works(self, store: EventStore) -> None:
        committed(store, "s", ["a", "b"], ["c"])
        stream = store.open_stream(Snapshot("s", 3, "state"))
        assert (bodies(stream), stream.stream_revision, stream.commit_sequence) == ([], 3, 2)
        stream.add("d")
        stream.commit_changes()
        assert bodies(store.open_stream("s")) == ["a", "b", "c", "d"]

    def test_from_a_snapshot_up_to_a_revision(self, store: EventStore) -> None:
        committed(store, "s", ["a"], ["b"], ["c"], ["d"])
        assert bodies(store.open_stream(Snapshot("s", 1, "state"), 3)) == ["b", "c"]
        assert bodies(store.open_stream(Snapshot("s", 1, "state"), max_revision=2)) == ["b"]

    def test_the_snapshot_may_be_given_by_its_name(self, store: EventStore) -> None:
        committed(store, "s", ["a"], ["b"], ["c"], ["d"])
        snapshot = Snapshot("s", 1, "state")
        assert bodies(store.open_stream(snapshot=snapshot)) == ["b", "c", "d"]
        assert bodies(store.open_stream(snapshot=snapshot, max_revision=3)) == ["b", "c"]
        assert bodies(store.open_stream(stream_id="s", min_revision=2, max_revision=3)) == ["b", "c"]

    def test_a_stream_is_opened_by_its_id_or_from_a_snapshot(self, store: EventStore) -> None:
        committed(store, "s", ["a"], ["b"])
        snapshot = Snapshot("s", 1, "state")
        open_stream: Any = store.open_stream
        for wrong in (
            open_stream,
            lambda: open_stream(max_revision=1),
            lambda: open_stream("s", snapshot=snapshot),
            lambda: open_stream(snapshot, snapshot=snapshot),
            lambda: open_stream(stream_id="s", snapshot=snapshot),
            lambda: open_stream(snapshot=None),  # as `get_snapshot` gives it where there is none
        ):
            with pytest.raises(TypeError, match="a stream_id or a snapshot, one of the two"):
                wrong()
        for named in ({"min_revision": 1}, {"bucket_id": "b"}):
            with pytest.raises(TypeError, match=next(iter(named))):
                open_stream(snapshot=snapshot, **named)
            with pytest.raises(TypeError, match=next(iter(named))):
                open_stream(snapshot, **named)
        for call in (lambda: open_stream("s", bucket="b"), lambda: open_stream(snapshot, bucket="b")):
            with pytest.raises(TypeError, match="open_stream has no option 'bucket'; it has bucket_id, max"):
                call()
        for more in ((0, 2), (1, 2)):
            with pytest.raises(TypeError, match="snapshot, max_revision"):
                open_stream(snapshot, *more)
        with pytest.raises(TypeError, match="a Snapshot is needed, not str"):
            open_stream(snapshot="s")

    def test_a_snapshot_brings_its_bucket(self, store: EventStore) -> None:
        stream = store.create_stream("s", bucket_id="b")
        stream.add("a")
        stream.commit_changes()
        assert store.open_stream(Snapshot("s", 1, "state", "b")).bucket_id == "b"


class TestClosing:
    def test_a_closed_stream_refuses(self, store: EventStore) -> None:
        with store.create_stream("s") as stream:
            stream.add("a")
        for call in (lambda: stream.add("b"), stream.commit_changes, stream.clear_changes, stream.__enter__):
            with pytest.raises(StoreClosedError):
                call()
        stream.close()

    def test_what_was_not_committed_is_gone(self, store: EventStore) -> None:
        with store.create_stream("s") as stream:
            stream.add("a")
        assert list(store.get_from("s")) == []
