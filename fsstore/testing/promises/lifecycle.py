"""`initialize`, `close`, `drop`, opening again, and whether the declared capabilities are true."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from threading import Event, Thread
from typing import Any

import pytest

from fsstore.engine import PersistenceEngine
from fsstore.errors import ConcurrencyError, DuplicateCommitError, EventStoreError, StoreClosedError
from fsstore.model import Commit, CommitAttempt, Snapshot
from fsstore.testing.attempts import EPOCH, fill, first_attempt, next_attempt
from fsstore.testing.capabilities import needs
from fsstore.testing.promises.stores import EngineTests, Stores, case, contents, nothing_changes, tokens


def walk(iterator: Iterable[Any]) -> None:
    list(iterator)


EVERY_CALL: dict[str, Callable[[PersistenceEngine], object]] = {
    "initialize": lambda engine: engine.initialize(),
    "commit": lambda engine: engine.commit(first_attempt("new")),
    "commit_many": lambda engine: engine.commit_many([first_attempt("new")]),
    "commit_many of nothing": lambda engine: engine.commit_many([]),
    "get_from": lambda engine: walk(engine.get_from("default", "stream")),
    "get_from_checkpoint": lambda engine: walk(engine.get_from_checkpoint()),
    "get_from_date": lambda engine: walk(engine.get_from_date(EPOCH)),
    "get_snapshot": lambda engine: engine.get_snapshot("default", "stream"),
    "add_snapshot": lambda engine: engine.add_snapshot(Snapshot("stream", 1, "state")),
    "get_streams_to_snapshot": lambda engine: walk(engine.get_streams_to_snapshot("default", 0)),
    "get_undispatched_commits": lambda engine: walk(engine.get_undispatched_commits()),
    "delete_stream": lambda engine: engine.delete_stream("default", "stream"),
    "purge": lambda engine: engine.purge(),
    "purge bucket": lambda engine: engine.purge("default"),
}


def written_until_refused(engine: PersistenceEngine, end: Callable[[], None]) -> list[CommitAttempt]:
    """What was acknowledged of a stream that a thread wrote until `end` was called and it got a `StoreClosedError`."""
    started = Event()
    acknowledged: list[CommitAttempt] = []
    errors: list[BaseException] = []

    def write() -> None:
        attempt = first_attempt("stream")
        try:
            while True:
                engine.commit(attempt)
                acknowledged.append(attempt)
                started.set()
                attempt = next_attempt(attempt)
        except BaseException as error:
            errors.append(error)
            started.set()

    writer = Thread(target=write)
    writer.start()
    started.wait()
    end()
    writer.join()
    assert [type(error) for error in errors] == [StoreClosedError], errors
    return acknowledged


def store_when_it_is_open(engine: PersistenceEngine, errors: list[Exception]) -> None:
    """Try the same commit until the engine is open."""
    attempt = first_attempt("anew")
    while True:
        try:
            engine.commit(attempt)
        except StoreClosedError:
            continue
        except Exception as error:
            errors.append(error)
        return


COMMIT_WALKS: dict[str, Callable[[PersistenceEngine], Iterator[Commit]]] = {
    "get_from": lambda engine: engine.get_from("default", "stream"),
    "get_from_checkpoint": lambda engine: engine.get_from_checkpoint(),
    "get_from_date": lambda engine: engine.get_from_date(EPOCH),
    "get_undispatched_commits": lambda engine: engine.get_undispatched_commits(),
}
WALKS: dict[str, Callable[[PersistenceEngine], Iterator[Any]]] = {
    **COMMIT_WALKS,
    "get_streams_to_snapshot": lambda engine: engine.get_streams_to_snapshot("default", 0),
}
_SEVERAL_PAGES = 600  # more commits than engines read ahead


class LifecyclePromises(EngineTests):
    """Opening and closing."""

    def test_it_has_every_method_of_the_protocol(self, engine: PersistenceEngine) -> None:
        assert isinstance(engine, PersistenceEngine)

    def test_initializing_again_is_harmless(self, engine: PersistenceEngine) -> None:
        engine.initialize()
        stored = fill(engine, "stream", commits=3)
        engine.add_snapshot(Snapshot("stream", 2, "state"))
        with nothing_changes(engine):
            engine.initialize()
            engine.initialize()
        assert engine.commit(next_attempt(stored[-1])).checkpoint_token == 4

    def test_closing_again_is_harmless(self, engine: PersistenceEngine) -> None:
        fill(engine, "stream")
        engine.close()
        engine.close()
        engine.close()

    def test_closing_an_engine_that_was_never_used(self, stores: Stores) -> None:
        stores.open().close()
        fill(stores.open(), "stream")

    def test_a_closed_engine_refuses_every_call(self, engine: PersistenceEngine) -> None:
        fill(engine, "stream")
        engine.close()
        for name, call in EVERY_CALL.items():
            with case(name), pytest.raises(StoreClosedError):
                call(engine)

    def test_a_closed_engine_names_what_it_does_not_store(self, engine: PersistenceEngine) -> None:
        engine.close()
        attempt = first_attempt("order 17", bucket_id="warehouse")
        stores_it: dict[str, Callable[[], object]] = {
            "commit": lambda: engine.commit(attempt),
            "commit_many": lambda: engine.commit_many([attempt, next_attempt(attempt)]),
            "commit_many of many": lambda: engine.commit_many([attempt, *map(first_attempt, map(str, range(50)))]),
        }
        for name, store in stores_it.items():
            with case(name):
                with pytest.raises(StoreClosedError) as raised:
                    store()
                for part in ("warehouse", "order 17", str(attempt.commit_id)):
                    assert part in str(raised.value)

    def test_a_closed_engine_refuses_marks(self, engine: PersistenceEngine) -> None:
        commit = fill(engine, "stream")[0]
        engine.close()
        with pytest.raises(StoreClosedError):
            engine.mark_commit_as_dispatched(commit)

    def test_a_walk_that_meets_a_closed_engine_ends_honestly(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "stream", commits=_SEVERAL_PAGES, events=1, at_once=_SEVERAL_PAGES)
        half_walked = {name: make(engine) for name, make in COMMIT_WALKS.items()}
        first = {name: next(walk) for name, walk in half_walked.items()}
        engine.close()
        for name, walk in half_walked.items():
            seen = [first[name]]
            with case(name):
                try:
                    seen.extend(walk)
                except StoreClosedError:
                    assert seen == stored[: len(seen)]
                else:
                    assert seen == stored, "the walk ended early without saying so"

    @pytest.mark.parametrize("commits", [3, 0])
    def test_no_walk_begins_after_closing(self, engine: PersistenceEngine, commits: int) -> None:
        fill(engine, "stream", commits=commits)
        walks = {name: make(engine) for name, make in WALKS.items()}
        engine.close()
        for name, walk in walks.items():
            with case(name), pytest.raises(StoreClosedError):
                next(walk)

    def test_closing_finishes_what_was_accepted(self, stores: Stores) -> None:
        engine = stores.open()
        acknowledged = written_until_refused(engine, engine.close)
        if self.capabilities.durable:
            found = list(stores.open().get_from("default", "stream"))
            assert [each.commit_id for each in found] == [each.commit_id for each in acknowledged]

    def test_dropping_destroys_and_closes(self, stores: Stores) -> None:
        engine = stores.open()
        commit = fill(engine, "stream", commits=3)[0]
        engine.add_snapshot(Snapshot("stream", 2, "state"))
        engine.mark_commit_as_dispatched(commit)
        engine.drop()
        with pytest.raises(StoreClosedError):
            engine.commit(first_attempt("new"))
        with pytest.raises(StoreClosedError):
            list(engine.get_from_checkpoint())
        engine = stores.open()
        assert contents(engine, commit).commits == []
        assert contents(engine, commit).snapshots == []
        anew = fill(engine, "stream", commits=2)
        assert list(engine.get_from("default", "stream")) == anew
        assert list(engine.get_undispatched_commits()) == anew

    def test_commits_that_meet_a_drop_are_refused(self, engine: PersistenceEngine) -> None:
        for _ in range(5):
            written_until_refused(engine, engine.drop)
            errors: list[Exception] = []
            writer = Thread(target=store_when_it_is_open, args=(engine, errors))
            writer.start()
            engine.initialize()
            writer.join()
            assert errors == []
            assert [commit.stream_id for commit in engine.get_from_checkpoint()] == ["anew"]

    def test_dropping_after_closing_destroys_too(self, stores: Stores) -> None:
        engine = stores.open()
        fill(engine, "stream", commits=3)
        engine.close()
        engine.drop()
        with pytest.raises(StoreClosedError):
            engine.commit(first_attempt("new"))
        engine = stores.open()
        assert list(engine.get_from_checkpoint()) == []
        assert fill(engine, "stream")[0].checkpoint_token == 1

    def test_initializing_after_dropping_makes_a_new_store(self, engine: PersistenceEngine) -> None:
        for _ in range(3):
            commit, *_ = stored = fill(engine, "stream", commits=3)
            assert tokens(stored) == [1, 2, 3]
            engine.add_snapshot(Snapshot("stream", 2, "state"))
            engine.mark_commit_as_dispatched(commit)
            engine.drop()
            engine.drop()
            for call in ("commit", "get_from", "get_from_checkpoint", "get_snapshot"):
                with case(call), pytest.raises(StoreClosedError):
                    EVERY_CALL[call](engine)
            engine.initialize()
            engine.initialize()
            found = contents(engine, commit)
            assert (found.commits, found.undispatched, found.heads, found.snapshots) == ([], [], set(), [])
            # As many as an engine may take another way for.
            assert tokens(engine.commit_many(map(first_attempt, map(str, range(50))))) == list(range(1, 51))
            engine.drop()
            engine.initialize()

    def test_a_closed_engine_stays_closed_when_it_is_dropped(self, stores: Stores) -> None:
        closed_first, dropped_first = stores.open(), stores.open()
        closed_first.close()
        dropped_first.drop()
        dropped_first.close()
        closed_first.drop()
        for name, engine in (("closed first", closed_first), ("dropped first", dropped_first)):
            with case(name), pytest.raises(StoreClosedError):
                engine.initialize()

    def test_dropping_again_is_harmless(self, engine: PersistenceEngine) -> None:
        fill(engine, "stream")
        engine.drop()
        engine.drop()
        engine.close()
        engine.drop()


class ReopeningPromises(EngineTests):
    """What is there when the store is opened again."""

    @needs("durable")
    def test_everything_is_there_after_reopening(self, stores: Stores) -> None:
        engine = stores.open()
        for bucket_id in ("default", "other"):
            for stream_id in ("a", "b/c", "\U0001f600"):
                stored = fill(engine, stream_id, bucket_id=bucket_id, commits=4)
                engine.add_snapshot(Snapshot(stream_id, 2, {"of": stream_id}, bucket_id))
                engine.add_snapshot(Snapshot(stream_id, 5, {"of": stream_id}, bucket_id))
                engine.mark_commit_as_dispatched(stored[2])
        engine.delete_stream("other", "a")
        before = contents(engine)
        for _ in range(3):
            engine = stores.reopen(engine)
            assert contents(engine) == before
        assert fill(engine, "next")[0].checkpoint_token == 25

    @needs("durable")
    def test_an_empty_store_reopens_empty(self, stores: Stores) -> None:
        engine = stores.reopen(stores.reopen(stores.open()))
        assert list(engine.get_from_checkpoint()) == []
        assert fill(engine, "stream")[0].checkpoint_token == 1

    @needs("durable")
    def test_a_stream_goes_on_after_reopening(self, stores: Stores) -> None:
        engine = stores.open()
        stored = fill(engine, "stream", commits=2)
        for _ in range(3):
            engine = stores.reopen(engine)
            for wrong in (next_attempt(stored[0]), next_attempt(next_attempt(stored[-1]))):
                with pytest.raises(ConcurrencyError):
                    engine.commit(wrong)
            stored.append(engine.commit(next_attempt(stored[-1], events=3)))
        assert tokens(stored) == [1, 2, 3, 4, 5]
        assert list(engine.get_from("default", "stream")) == stored

    @needs("durable")
    def test_ids_are_still_duplicates_after_reopening(self, stores: Stores) -> None:
        engine = stores.open()
        stored = fill(engine, "stream", commits=3)
        engine = stores.reopen(engine)
        for old in stored:
            with nothing_changes(engine), pytest.raises(DuplicateCommitError):
                engine.commit(next_attempt(stored[-1], commit_id=old.commit_id))

    @needs("durable")
    def test_the_first_snapshot_still_stays_after_reopening(self, stores: Stores) -> None:
        engine = stores.open()
        fill(engine, "stream")
        engine.add_snapshot(Snapshot("stream", 2, "first"))
        engine = stores.reopen(engine)
        assert engine.add_snapshot(Snapshot("stream", 2, "second")) is False
        assert engine.get_snapshot("default", "stream") == Snapshot("stream", 2, "first")

    @needs("durable")
    def test_a_refused_commit_leaves_nothing_after_reopening(self, stores: Stores) -> None:
        engine = stores.open()
        stored = fill(engine, "stream")
        wrong = next_attempt(next_attempt(stored[-1]))
        for attempts in ([wrong], [first_attempt("new"), wrong]):
            with pytest.raises(ConcurrencyError):
                engine.commit_many(attempts)
        before = contents(engine, first_attempt("new"))
        engine = stores.reopen(engine)
        assert contents(engine, first_attempt("new")) == before
        assert fill(engine, "new")[0].checkpoint_token == 2


class CapabilityPromises(EngineTests):
    """What the author of the engine declared, held against what the engine does."""

    def test_durable_is_declared_truly(self, stores: Stores) -> None:
        engine = stores.open()
        fill(engine, "stream")
        engine = stores.reopen(engine)
        found = list(engine.get_from("default", "stream")) != []
        assert found == self.capabilities.durable, (
            f"{type(self).__name__} declares durable={self.capabilities.durable}, but after reopening the "
            f"commit was {'found' if found else 'gone'}"
        )

    def test_shared_is_declared_truly(self, stores: Stores) -> None:
        first = stores.open()
        try:
            second = stores.open()
        except EventStoreError:
            seen = False
        else:
            fill(first, "stream")
            seen = list(second.get_from("default", "stream")) != []
        assert seen == self.capabilities.shared, (
            f"{type(self).__name__} declares shared={self.capabilities.shared}, but a second engine on "
            f"the store {'sees' if seen else 'does not see'} what the first one commits"
        )
