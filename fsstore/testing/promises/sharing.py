"""Several engines on one store at once, as several processes would have them open."""

from __future__ import annotations

import pytest

from fsstore.errors import ConcurrencyError, DuplicateCommitError
from fsstore.model import Snapshot
from fsstore.testing.attempts import fill, first_attempt, next_attempt
from fsstore.testing.capabilities import needs
from fsstore.testing.promises.concurrency import race, write_and_poll
from fsstore.testing.promises.stores import EngineTests, Stores, contents, nothing_changes, tokens


class SharingPromises(EngineTests):
    """What one engine did is true for the others as soon as the call has returned."""

    @needs("shared")
    def test_all_see_the_same_store(self, stores: Stores) -> None:
        engines = [stores.open() for _ in range(3)]
        for number in range(9):
            writer = engines[number % 3]
            stored = fill(writer, f"stream {number}", bucket_id=f"bucket {number % 2}", commits=2)
            writer.add_snapshot(Snapshot(stored[0].stream_id, 2, number, stored[0].bucket_id))
            engines[(number + 1) % 3].mark_commit_as_dispatched(stored[0])
            views = [contents(engine) for engine in engines]
            assert len(views[0].commits) == 2 * number + 2
            assert len(views[0].undispatched) == number + 1
            assert len(views[0].snapshots) == number + 1
            assert views[1] == views[0]
            assert views[2] == views[0]

    @needs("shared")
    def test_a_stream_is_written_in_turns(self, stores: Stores) -> None:
        engines = [stores.open(), stores.open()]
        stored = fill(engines[0], "stream")
        for number in range(10):
            stored.append(engines[number % 2].commit(next_attempt(stored[-1])))
        assert tokens(stored) == list(range(1, 12))
        for engine in engines:
            assert list(engine.get_from("default", "stream")) == stored

    @needs("shared")
    def test_what_another_stored_is_checked_against(self, stores: Stores) -> None:
        one, other = stores.open(), stores.open()
        attempt = first_attempt("stream")
        other_head = fill(other, "warm up")[-1]
        stored = one.commit(attempt)
        with nothing_changes(other), pytest.raises(DuplicateCommitError):
            other.commit(attempt)
        with nothing_changes(other), pytest.raises(ConcurrencyError):
            other.commit(first_attempt("stream"))
        with nothing_changes(one), pytest.raises(ConcurrencyError):
            one.commit_many([next_attempt(stored), first_attempt("warm up")])
        assert other.commit(next_attempt(stored)).checkpoint_token == 3
        assert one.commit(next_attempt(other_head)).checkpoint_token == 4

    @needs("shared")
    def test_a_snapshot_of_another_stays(self, stores: Stores) -> None:
        one, other = stores.open(), stores.open()
        fill(one, "stream")
        assert one.add_snapshot(Snapshot("stream", 2, "first")) is True
        assert other.add_snapshot(Snapshot("stream", 2, "second")) is False
        assert other.get_snapshot("default", "stream") == Snapshot("stream", 2, "first")

    @needs("shared")
    def test_what_another_deleted_is_gone(self, stores: Stores) -> None:
        one, other = stores.open(), stores.open()
        old = fill(one, "stream", commits=3)
        assert list(other.get_from("default", "stream")) == old
        one.delete_stream("default", "stream")
        assert list(other.get_from("default", "stream")) == []
        anew = other.commit(first_attempt("stream", commit_id=old[0].commit_id))
        assert anew.checkpoint_token == 4
        assert list(one.get_from("default", "stream")) == [anew]
        other.purge()
        assert list(one.get_from_checkpoint()) == []
        assert fill(one, "stream")[0].checkpoint_token == 5

    @needs("shared")
    def test_closing_one_leaves_the_others_at_work(self, stores: Stores) -> None:
        one, other = stores.open(), stores.open()
        stored = fill(one, "stream", commits=2)
        one.close()
        stored.append(other.commit(next_attempt(stored[-1])))
        third = stores.open()
        other.close()
        stored.append(third.commit(next_attempt(stored[-1])))
        assert list(third.get_from_checkpoint()) == stored

    @needs("shared")
    def test_one_winner_for_every_sequence_among_engines(self, stores: Stores) -> None:
        engines = [stores.open() for _ in range(4)]
        won = race(engines * 2, "stream", commits=self.race_commits // 2)
        expected = list(range(1, 8 * (self.race_commits // 2) + 1))
        for engine in engines:
            found = list(engine.get_from("default", "stream"))
            assert [each.commit_sequence for each in found] == expected
            assert tokens(found) == expected
            assert sorted(won, key=lambda each: each.checkpoint_token) == found

    @needs("shared")
    def test_a_polling_reader_on_another_engine_never_finds_a_commit_late(self, stores: Stores) -> None:
        writers = [stores.open() for _ in range(4)]
        stored, [first, second] = write_and_poll(writers * 2, [stores.open(), writers[0]], commits=self.race_commits)
        assert tokens(stored) == list(range(1, len(stored) + 1))
        assert first == stored
        assert second == stored
