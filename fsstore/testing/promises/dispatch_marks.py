"""`get_undispatched_commits` and `mark_commit_as_dispatched`."""

from __future__ import annotations

from fsstore.engine import PersistenceEngine
from fsstore.model import Commit
from fsstore.testing.attempts import fill, first_attempt, next_attempt
from fsstore.testing.capabilities import needs
from fsstore.testing.promises.stores import EngineTests, Stores, contents


class DispatchMarkPromises(EngineTests):
    """What was delivered is remembered, commit by commit."""

    def test_every_commit_begins_undispatched(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "a", commits=2) + fill(engine, "b", bucket_id="other", commits=2)
        stored += engine.commit_many([next_attempt(stored[1]), first_attempt("c")])
        assert list(engine.get_undispatched_commits()) == stored

    def test_a_mark_takes_one_commit_away(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "a", commits=3)
        engine.mark_commit_as_dispatched(stored[0])
        assert list(engine.get_undispatched_commits()) == stored[1:]
        more = fill(engine, "b", commits=2)
        assert list(engine.get_undispatched_commits()) == stored[1:] + more

    def test_marks_in_any_order(self, engine: PersistenceEngine) -> None:
        left = fill(engine, "a", commits=6) + fill(engine, "b", bucket_id="other", commits=6)
        for place in (7, 0, 4, 8, 3, 1, 5, 2, 1, 0, 1, 0):
            engine.mark_commit_as_dispatched(left.pop(place))
            assert list(engine.get_undispatched_commits()) == left

    def test_marking_twice_is_harmless(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "a", commits=4)
        for commit in (stored[0], stored[2], stored[0], stored[2], stored[2]):
            engine.mark_commit_as_dispatched(commit)
        assert list(engine.get_undispatched_commits()) == [stored[1], stored[3]]

    def test_a_mark_changes_no_commit(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "a", commits=3)
        before = contents(engine)
        for commit in stored:
            engine.mark_commit_as_dispatched(commit)
        after = contents(engine)
        assert after.undispatched == []
        assert (after.commits, after.streams, after.heads) == (before.commits, before.streams, before.heads)

    def test_a_commit_as_read_can_be_marked(self, engine: PersistenceEngine) -> None:
        fill(engine, "a", commits=3)
        for commit in engine.get_from_checkpoint(1, 2):
            engine.mark_commit_as_dispatched(commit)
        assert [each.checkpoint_token for each in engine.get_undispatched_commits()] == [1, 3]

    def test_marking_while_walking_the_undispatched(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "a", commits=20)
        seen = []
        for commit in engine.get_undispatched_commits():
            engine.mark_commit_as_dispatched(commit)
            seen.append(commit)
        assert seen == stored
        assert list(engine.get_undispatched_commits()) == []

    def test_a_commit_of_a_deleted_stream_can_be_marked(self, engine: PersistenceEngine) -> None:
        # The dispatcher may be at work on it while somebody deletes the stream.
        old = fill(engine, "a", commits=2)
        engine.delete_stream("default", "a")
        new = fill(engine, "a", commits=2)
        for commit in old:
            engine.mark_commit_as_dispatched(commit)
        assert list(engine.get_undispatched_commits()) == new

    def test_a_mark_of_what_is_not_there_is_of_no_later_commit(self, engine: PersistenceEngine) -> None:
        # As one of another store, taken for this one.
        engine.mark_commit_as_dispatched(Commit.of(first_attempt("elsewhere"), 3))
        stored = fill(engine, "a", commits=4)
        assert list(engine.get_undispatched_commits()) == stored
        engine.mark_commit_as_dispatched(stored[2])
        assert list(engine.get_undispatched_commits()) == [*stored[:2], stored[3]]

    @needs("durable")
    def test_marks_are_there_after_reopening(self, stores: Stores) -> None:
        engine = stores.open()
        stored = fill(engine, "a", commits=10)
        for place in (0, 1, 2, 5, 7, 9):
            engine.mark_commit_as_dispatched(stored[place])
        left = [stored[place] for place in (3, 4, 6, 8)]
        engine = stores.reopen(engine)
        assert list(engine.get_undispatched_commits()) == left
        engine.mark_commit_as_dispatched(left.pop(0))
        left += fill(engine, "b")
        engine = stores.reopen(engine)
        assert list(engine.get_undispatched_commits()) == left
