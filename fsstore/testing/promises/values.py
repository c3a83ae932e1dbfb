"""What goes in comes out: ids, stamps, headers and bodies of every plain type, unchanged by anybody."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fsstore.engine import PersistenceEngine
from fsstore.errors import SerializationError
from fsstore.model import Commit, CommitAttempt, EventMessage, Snapshot
from fsstore.testing.attempts import fill, first_attempt, next_attempt
from fsstore.testing.promises.stores import EngineTests, Stores, case
from fsstore.testing.strategies import (
    AWKWARD_IDS,
    EXAMPLE_VALUES,
    UNLIKELY_VALUES,
    bodies,
    commit_ids,
    first_attempts,
    headers,
    ids,
    same,
    stamps,
)

numbers = count()
Test = TypeVar("Test", bound=Callable[..., None])


# In ascending order, so that there is nothing from each of them on but itself when it is stored.
EDGE_STAMPS = (
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2024, 10, 27, 2, 30, 0, 1, tzinfo=timezone(timedelta(hours=2))),
    datetime(2038, 1, 19, 3, 14, 8, 123_457, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
)


def examples(
    **strategies: st.SearchStrategy[Any],
) -> Callable[[Test], Callable[[ValuePromises, PersistenceEngine], None]]:
    """Run the test with values of these strategies, by the suite's `example_settings`.

    The examples of one test share its store, each in streams of its own.
    """

    def given_to(test: Test) -> Callable[[ValuePromises, PersistenceEngine], None]:
        def run(self: ValuePromises, engine: PersistenceEngine) -> None:
            def example(**drawn: Any) -> None:
                test(self, engine, **drawn)

            # What hypothesis prints, and remembers a failure by.
            example.__name__ = test.__name__
            self.example_settings(given(**strategies)(example))()

        run.__name__, run.__qualname__, run.__doc__ = test.__name__, test.__qualname__, test.__doc__
        return run

    return given_to


def one(engine: PersistenceEngine, attempt: CommitAttempt | Commit) -> Commit:
    """The only commit of the attempt's stream, read back."""
    [commit] = engine.get_from(attempt.bucket_id, attempt.stream_id)
    return commit


class ValuePromises(EngineTests):
    """Round trips."""

    example_settings: ClassVar[settings] = settings(
        max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    """How many values are tried in each test; an engine that is slow may want fewer."""

    def test_every_plain_type_in_bodies_and_headers(self, stores: Stores) -> None:
        engine = stores.open()
        messages = [
            EventMessage(value, {"value": value, "number": place}) for place, value in enumerate(EXAMPLE_VALUES)
        ]
        attempt = first_attempt("stream", events=messages, headers={"values": list(EXAMPLE_VALUES)})
        engine.commit(attempt)
        for _ in range(2):
            commit = one(engine, attempt)
            for found, sent in zip(commit.events, attempt.events, strict=True):
                assert same(found, sent), f"{sent!r} came back as {found!r}"
            assert same(commit.headers, attempt.headers)
            if not self.capabilities.durable:
                break
            engine = stores.reopen(engine)

    def test_what_would_come_back_otherwise_is_refused(self, engine: PersistenceEngine) -> None:
        for place, value in enumerate(UNLIKELY_VALUES):
            message = EventMessage([value], {"value": {"is": value}})
            attempt = first_attempt(f"stream {place}", events=[message], headers={"value": value})
            with case(repr(value)):
                try:
                    engine.commit(attempt)
                except SerializationError:
                    assert list(engine.get_from("default", attempt.stream_id)) == []
                else:
                    commit = one(engine, attempt)
                    assert same(commit.events[0], message), f"{message!r} came back as {commit.events[0]!r}"
                    assert same(commit.headers, attempt.headers)

    @examples(body=bodies(), event_headers=headers(), commit_headers=headers())
    def test_any_body_and_headers(
        self,
        engine: PersistenceEngine,
        body: Any,
        event_headers: dict[str, Any],
        commit_headers: dict[str, Any],
    ) -> None:
        message = EventMessage(body, event_headers)
        attempt = first_attempt(f"stream {next(numbers)}", events=[message], headers=commit_headers)
        engine.commit(attempt)
        commit = one(engine, attempt)
        assert same(commit.events[0], message)
        assert same(commit.headers, commit_headers)

    @examples(stamp=stamps())
    def test_any_stamp_to_the_microsecond(self, engine: PersistenceEngine, stamp: datetime) -> None:
        attempt = first_attempt(f"stream {next(numbers)}", stamp=stamp)
        engine.commit(attempt)
        found = one(engine, attempt).commit_stamp
        assert found == stamp
        assert found.utcoffset() == timedelta(0)

    def test_stamps_on_the_edges(self, engine: PersistenceEngine) -> None:
        for stamp in EDGE_STAMPS:
            attempt = first_attempt(str(stamp), stamp=stamp)
            with case(str(stamp)):
                engine.commit(attempt)
                assert one(engine, attempt).commit_stamp == stamp
                assert list(engine.get_from_date(stamp)) == [one(engine, attempt)]

    @examples(commit_id=commit_ids())
    def test_any_commit_id(self, engine: PersistenceEngine, commit_id: UUID) -> None:
        attempt = first_attempt(f"stream {next(numbers)}", commit_id=commit_id)
        engine.commit(attempt)
        assert same(one(engine, attempt).commit_id, commit_id)

    @examples(stream_id=ids(), bucket_id=ids())
    def test_any_stream_id_in_any_bucket(self, engine: PersistenceEngine, stream_id: str, bucket_id: str) -> None:
        engine.delete_stream(bucket_id, stream_id)
        [first, second] = fill(engine, stream_id, bucket_id=bucket_id, commits=2)
        assert (first.stream_id, first.bucket_id) == (stream_id, bucket_id)
        assert list(engine.get_from(bucket_id, stream_id)) == [first, second]
        assert engine.add_snapshot(Snapshot(stream_id, 2, "state", bucket_id)) is True
        assert engine.get_snapshot(bucket_id, stream_id) == Snapshot(stream_id, 2, "state", bucket_id)
        found = [each for each in engine.get_streams_to_snapshot(bucket_id, 2) if each.stream_id == stream_id]
        assert [(each.head_revision, each.snapshot_revision) for each in found] == [(4, 2)]
        after = first.checkpoint_token - 1
        assert list(engine.get_from_checkpoint(after, bucket_id=bucket_id)) == [first, second]

    def test_awkward_ids_are_all_different_streams(self, stores: Stores) -> None:
        engine = stores.open()
        stored = [fill(engine, stream_id, bucket_id="b") for stream_id in AWKWARD_IDS]
        stored += [fill(engine, "stream", bucket_id=bucket_id) for bucket_id in AWKWARD_IDS]
        for _ in range(2):
            for commits in stored:
                assert list(engine.get_from(commits[0].bucket_id, commits[0].stream_id)) == commits
            assert len(list(engine.get_streams_to_snapshot("b", 0))) == len(AWKWARD_IDS)
            if not self.capabilities.durable:
                break
            engine = stores.reopen(engine)

    def test_a_uuid_as_stream_id_is_its_text(self, engine: PersistenceEngine) -> None:
        key = UUID("1E64AA4A-1C88-4B7B-9EA3-3B8A2DC71EC0")
        message = EventMessage("made")
        attempt = CommitAttempt(
            stream_id=key,
            stream_revision=1,
            commit_id=key,
            commit_sequence=1,
            commit_stamp=datetime.now(UTC),
            headers={},
            events=(message,),
            bucket_id=key,
        )
        commit = engine.commit(attempt)
        assert commit.stream_id == commit.bucket_id == "1e64aa4a-1c88-4b7b-9ea3-3b8a2dc71ec0"
        assert list(engine.get_from(str(key), str(key))) == [commit]

    def test_empty_headers_come_back_empty(self, engine: PersistenceEngine) -> None:
        attempt = first_attempt("stream", events=[EventMessage("bare", {})], headers={})
        engine.commit(attempt)
        commit = one(engine, attempt)
        assert commit.headers == {}
        assert commit.events[0].headers == {}

    def test_a_large_body_comes_back(self, stores: Stores) -> None:
        engine = stores.open()
        blob = bytes(range(256)) * 4_096
        attempt = first_attempt("stream", events=[EventMessage({"blob": blob, "text": "\u00e9" * 100_000})])
        small = next_attempt(attempt)
        engine.commit(attempt)
        engine.commit(small)
        if self.capabilities.durable:
            engine = stores.reopen(engine)
        assert list(engine.get_from("default", "stream")) == [Commit.of(attempt, 1), Commit.of(small, 2)]
        assert list(engine.get_from_checkpoint(1)) == [Commit.of(small, 2)]

    @examples(attempts=st.lists(first_attempts(), min_size=1, max_size=5))
    def test_any_attempts_in_one_call(self, engine: PersistenceEngine, attempts: list[CommitAttempt]) -> None:
        attempts = list({(each.bucket_id, each.stream_id): each for each in attempts}.values())
        for attempt in attempts:
            engine.delete_stream(attempt.bucket_id, attempt.stream_id)
        stored = engine.commit_many(attempts)
        for attempt, commit in zip(attempts, stored, strict=True):
            assert commit == Commit.of(attempt, commit.checkpoint_token)
            assert same(one(engine, attempt).events, attempt.events)
        assert list(engine.get_from_checkpoint(stored[0].checkpoint_token - 1)) == stored

    def test_changing_an_attempt_after_the_commit_does_not_change_the_store(self, engine: PersistenceEngine) -> None:
        body = {"items": [1]}
        tags = ["a"]
        attempt = first_attempt("stream", events=[EventMessage(body, {"tags": tags})], headers={"tags": tags})
        engine.commit(attempt)
        body["items"].append(2)
        tags.append("b")
        attempt.headers["more"] = True
        attempt.events[0].headers["more"] = True
        for commit in (*engine.get_from("default", "stream"), *engine.get_from_checkpoint()):
            assert commit.events[0].body == {"items": [1]}
            assert commit.events[0].headers == {"tags": ["a"]}
            assert commit.headers == {"tags": ["a"]}

    def test_changing_a_commit_that_was_read_does_not_change_the_store(self, engine: PersistenceEngine) -> None:
        attempt = first_attempt(
            "stream", events=[EventMessage({"items": [1]}, {"tags": ["a"]})], headers={"tags": ["a"]}
        )
        engine.commit(attempt)
        for _ in range(2):
            for commits in (
                engine.get_from("default", "stream"),
                engine.get_from_checkpoint(),
                engine.get_undispatched_commits(),
                engine.get_from_date(attempt.commit_stamp),
            ):
                [commit] = commits
                assert commit == Commit.of(attempt, 1)
                commit.events[0].body["items"].append(2)
                commit.events[0].headers["tags"].append("b")
                commit.headers.clear()
