"""`commit` and `commit_many`: what is stored, what is refused, and that refusing leaves no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import product
from uuid import uuid4

import pytest

from fsstore.engine import PersistenceEngine
from fsstore.errors import ConcurrencyError, DuplicateCommitError, EventStoreError, SerializationError
from fsstore.model import Commit, CommitAttempt, EventMessage, Snapshot
from fsstore.testing.attempts import EPOCH, fill, first_attempt, next_attempt
from fsstore.testing.capabilities import needs
from fsstore.testing.promises.stores import EngineTests, case, nothing_changes, tokens, unwritable

# The head that these are tried against: the third commit, of two events, at revision 6.
NOT_AFTER_THE_HEAD = {
    "sequence taken": (3, 8, 2),
    "sequence behind": (2, 8, 2),
    "sequence one ahead": (5, 8, 2),
    "sequence far ahead": (8, 8, 2),
    "revision taken": (4, 6, 2),
    "revision behind": (4, 5, 2),
    "revisions overlap by one": (4, 7, 2),
    "revisions leave a gap of one": (4, 9, 2),
    "revisions leave a large gap": (4, 1_000, 2),
    "both taken": (3, 6, 2),
    "both ahead": (5, 10, 2),
    "begins anew": (1, 2, 2),
    "both beyond 4 bytes": (2**32, 2**32, 2),
    "more events than revisions": (4, 6, 8),
}

NOT_A_BEGINNING = {
    "sequence ahead": (2, 2, 2),
    "revisions leave a gap of one": (1, 3, 2),
    "both ahead": (2, 4, 2),
    "both beyond 4 bytes": (2**32, 2**32, 2),
    "more events than revisions": (1, 1, 2),
}

REFUSALS = {
    "duplicate": DuplicateCommitError,
    "sequence behind": ConcurrencyError,
    "sequence ahead": ConcurrencyError,
    "unwritable": SerializationError,
}


def attempt_at(sequence: int, revision: int, events: int, stream_id: str = "stream") -> CommitAttempt:
    messages = tuple(EventMessage({"number": number}) for number in range(events))
    return CommitAttempt(stream_id, revision, uuid4(), sequence, EPOCH, {}, messages)


def refused(kind: str, head: Commit, following: CommitAttempt) -> CommitAttempt:
    """An attempt to be refused as `kind` says where `following` would have been right."""
    if kind == "duplicate":
        return next_attempt(following, commit_id=head.commit_id)
    if kind == "sequence behind":
        return attempt_at(1, 2, 2, following.stream_id)
    if kind == "sequence ahead":
        return next_attempt(following)
    return CommitAttempt(
        following.stream_id,
        following.stream_revision - len(following.events) + 1,
        uuid4(),
        following.commit_sequence,
        EPOCH,
        {},
        (unwritable(),),
    )


class CommitPromises(EngineTests):
    """`commit`."""

    def test_a_commit_is_the_attempt_and_a_token(self, engine: PersistenceEngine) -> None:
        attempt = first_attempt("stream", events=3, headers={"who": "me"})
        commit = engine.commit(attempt)
        assert commit == Commit.of(attempt, 1)
        assert list(engine.get_from("default", "stream")) == [commit]

    def test_a_commit_is_found_by_every_way_of_reading(self, engine: PersistenceEngine) -> None:
        fill(engine, "other")
        commit = engine.commit(first_attempt("stream", events=2))
        assert list(engine.get_from_checkpoint(1)) == [commit]
        assert list(engine.get_from_date(commit.commit_stamp))[-1] == commit
        assert list(engine.get_undispatched_commits())[-1] == commit

    def test_the_same_attempt_again_is_a_duplicate(self, engine: PersistenceEngine) -> None:
        attempt = first_attempt("stream")
        engine.commit(attempt)
        with nothing_changes(engine), pytest.raises(DuplicateCommitError):
            engine.commit(attempt)

    def test_duplicate_is_checked_before_concurrency(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "stream", commits=3)
        for name, place in NOT_AFTER_THE_HEAD.items():
            with case(name), nothing_changes(engine):
                for known in stored:
                    with pytest.raises(DuplicateCommitError):
                        engine.commit(replace(attempt_at(*place), commit_id=known.commit_id))

    def test_an_id_of_long_ago_is_still_a_duplicate(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "stream", commits=200, events=1, at_once=50)
        for old in (stored[0], stored[100], stored[199]):
            with pytest.raises(DuplicateCommitError):
                engine.commit(next_attempt(stored[-1], commit_id=old.commit_id))
        assert tokens(engine.get_from_checkpoint()) == list(range(1, 201))

    def test_an_id_may_be_used_once_in_every_stream(self, engine: PersistenceEngine) -> None:
        first = engine.commit(first_attempt("stream"))
        engine.commit(first_attempt("other stream", commit_id=first.commit_id))
        engine.commit(first_attempt("stream", bucket_id="other bucket", commit_id=first.commit_id))
        assert tokens(engine.get_from_checkpoint()) == [1, 2, 3]

    def test_only_what_directly_follows_the_head_is_stored(self, engine: PersistenceEngine) -> None:
        stored = fill(engine, "stream", commits=3)
        for name, place in NOT_AFTER_THE_HEAD.items():
            with case(name), nothing_changes(engine), pytest.raises(ConcurrencyError):
                engine.commit(attempt_at(*place))
        assert engine.commit(next_attempt(stored[-1])).checkpoint_token == 4

    def test_a_stream_begins_at_sequence_one_and_its_first_event(self, engine: PersistenceEngine) -> None:
        fill(engine, "other")
        for name, place in NOT_A_BEGINNING.items():
            attempt = attempt_at(*place)
            with case(name), nothing_changes(engine, attempt), pytest.raises(ConcurrencyError):
                engine.commit(attempt)

    def test_a_refused_first_commit_makes_no_stream(self, engine: PersistenceEngine) -> None:
        with pytest.raises(ConcurrencyError):
            engine.commit(attempt_at(2, 2, 1))
        assert list(engine.get_from("default", "stream")) == []
        assert list(engine.get_streams_to_snapshot("default", 0)) == []
        assert engine.add_snapshot(Snapshot("stream", 1, "state")) is False
        assert engine.commit(first_attempt("stream")).checkpoint_token == 1

    def test_a_refused_commit_uses_no_token(self, engine: PersistenceEngine) -> None:
        head = fill(engine, "stream")[-1]
        for kind, error in REFUSALS.items():
            with pytest.raises(error):
                engine.commit(refused(kind, head, next_attempt(head)))
        assert engine.commit(next_attempt(head)).checkpoint_token == 2
        assert engine.commit(first_attempt("other")).checkpoint_token == 3

    def test_a_refused_attempt_can_be_committed_once_it_fits(self, engine: PersistenceEngine) -> None:
        first = first_attempt("stream")
        second = next_attempt(first)
        with pytest.raises(ConcurrencyError):
            engine.commit(second)
        engine.commit(first)
        assert engine.commit(second) == Commit.of(second, 2)

    def test_what_cannot_be_written_is_refused_whole(self, engine: PersistenceEngine) -> None:
        head = fill(engine, "stream")[-1]
        good = EventMessage("good")
        attempts = {
            "body": next_attempt(head, events=[unwritable(), good]),
            "last body": next_attempt(head, events=[good, good, unwritable()]),
            "event headers": next_attempt(head, events=[good, EventMessage("good", {"key": object()})]),
            "commit headers": next_attempt(head, headers={"key": object()}),
        }
        for where, attempt in attempts.items():
            with case(where), nothing_changes(engine), pytest.raises(SerializationError):
                engine.commit(attempt)
        assert engine.commit(next_attempt(head)).checkpoint_token == 2

    def test_a_refusal_names_bucket_stream_and_commit(self, engine: PersistenceEngine) -> None:
        head = fill(engine, "order 17", bucket_id="warehouse", commits=2)[-1]
        attempts = {
            "duplicate": next_attempt(head, commit_id=head.commit_id),
            "sequence behind": first_attempt("order 17", bucket_id="warehouse"),
            "sequence ahead": next_attempt(next_attempt(head)),
        }
        for kind, attempt in attempts.items():
            with case(kind), pytest.raises(EventStoreError) as raised:
                engine.commit(attempt)
            for part in ("warehouse", "order 17", str(attempt.commit_id)):
                assert part in str(raised.value)

    @needs("record_limit_bytes")
    def test_a_commit_over_the_limit_is_refused_whole(self, engine: PersistenceEngine) -> None:
        limit_bytes = self.capabilities.record_limit_bytes
        assert limit_bytes is not None
        head = fill(engine, "stream")[-1]
        attempt = next_attempt(head, events=[EventMessage(b"x" * (limit_bytes + 1))])
        with nothing_changes(engine), pytest.raises(ValueError, match=r"."):
            engine.commit(attempt)
        with nothing_changes(engine), pytest.raises(ValueError, match=r"."):
            engine.commit_many([next_attempt(head), first_attempt("other", events=attempt.events)])
        assert engine.commit(next_attempt(head)).checkpoint_token == 2


class BatchPromises(EngineTests):
    """`commit_many`."""

    def test_no_attempts_give_no_commits(self, engine: PersistenceEngine) -> None:
        with nothing_changes(engine):
            assert engine.commit_many([]) == []
        assert engine.commit(first_attempt("stream")).checkpoint_token == 1

    def test_attempts_of_several_streams_are_stored_in_order(self, engine: PersistenceEngine) -> None:
        fill(engine, "before")
        attempts = [
            first_attempt(f"stream {number}", bucket_id=f"bucket {number % 2}", events=2) for number in range(20)
        ]
        stored = engine.commit_many(attempts)
        assert stored == [Commit.of(attempt, 2 + place) for place, attempt in enumerate(attempts)]
        assert list(engine.get_from_checkpoint(1)) == stored

    def test_attempts_come_from_any_iterable(self, engine: PersistenceEngine) -> None:
        ways: dict[str, Callable[[list[CommitAttempt]], Iterable[CommitAttempt]]] = {
            "tuple": tuple,
            "iterator": iter,
            "generator": lambda attempts: (attempt for attempt in attempts),
            "values": lambda attempts: dict(enumerate(attempts)).values(),
        }
        # As few and as many as an engine may take another way for.
        for (way, given), count in product(ways.items(), (0, 1, 2, 50)):
            attempts = [first_attempt(f"{way} {count} {number}") for number in range(count)]
            last = max(tokens(engine.get_from_checkpoint()), default=0)
            with case(f"{way} of {count}"):
                stored = engine.commit_many(given(attempts))
                assert stored == [Commit.of(attempt, last + place) for place, attempt in enumerate(attempts, 1)]
                assert list(engine.get_from_checkpoint(last)) == stored

    def test_attempts_of_one_stream_may_follow_one_another(self, engine: PersistenceEngine) -> None:
        head = fill(engine, "stream")[-1]
        one = next_attempt(head, events=3)
        other = first_attempt("other")
        two = next_attempt(one)
        three = next_attempt(two, events=2)
        stored = engine.commit_many([one, other, two, three])
        assert tokens(stored) == [2, 3, 4, 5]
        assert list(engine.get_from("default", "stream")) == [head, stored[0], stored[2], stored[3]]
        assert list(engine.get_from("default", "other")) == [stored[1]]

    def test_all_or_nothing_wherever_the_refused_attempt_stands(self, engine: PersistenceEngine) -> None:
        head = fill(engine, "stream")[-1]
        attempts = [first_attempt(f"other {number}", bucket_id=f"bucket {number}") for number in range(3)]
        for kind, position in product(REFUSALS, range(4)):
            wrong = [*attempts]
            wrong.insert(position, refused(kind, head, next_attempt(head)))
            with case(f"{kind} at {position}"), nothing_changes(engine, *wrong), pytest.raises(REFUSALS[kind]):
                engine.commit_many(wrong)
        assert tokens(engine.commit_many(attempts)) == [2, 3, 4]

    def test_all_or_nothing_within_one_new_stream(self, engine: PersistenceEngine) -> None:
        attempts = [first_attempt("stream", events=2)]
        for _ in range(3):
            attempts.append(next_attempt(attempts[-1]))
        for kind, position in product(REFUSALS, (1, 2, 3)):
            wrong = attempts[:position]
            wrong.append(refused(kind, Commit.of(wrong[0], 1), attempts[position]))
            with case(f"{kind} at {position}"), nothing_changes(engine, *wrong), pytest.raises(REFUSALS[kind]):
                engine.commit_many(wrong)
        assert tokens(engine.commit_many(attempts)) == [1, 2, 3, 4]

    def test_all_or_nothing_of_a_large_batch(self, engine: PersistenceEngine) -> None:
        attempts = [first_attempt(f"stream {number}") for number in range(600)]
        with nothing_changes(engine, attempts[0], attempts[-1]), pytest.raises(ConcurrencyError):
            engine.commit_many([*attempts, attempt_at(2, 4, 2)])
        assert tokens(engine.commit_many(attempts)) == list(range(1, 601))

    def test_an_attempt_twice_in_one_call_is_a_duplicate(self, engine: PersistenceEngine) -> None:
        attempt = first_attempt("stream")
        with nothing_changes(engine, attempt), pytest.raises(DuplicateCommitError):
            engine.commit_many([attempt, first_attempt("other"), attempt])

    def test_two_attempts_at_one_place_conflict(self, engine: PersistenceEngine) -> None:
        with nothing_changes(engine, first_attempt("stream")), pytest.raises(ConcurrencyError):
            engine.commit_many([first_attempt("stream"), first_attempt("stream")])

    def test_one_id_in_several_streams_of_one_call(self, engine: PersistenceEngine) -> None:
        first = first_attempt("stream")
        stored = engine.commit_many([first, first_attempt("other", commit_id=first.commit_id)])
        assert tokens(stored) == [1, 2]

    def test_a_refusal_names_the_attempt_that_is_wrong(self, engine: PersistenceEngine) -> None:
        head = fill(engine, "order 17", bucket_id="warehouse")[-1]
        attempt = next_attempt(next_attempt(head))
        with pytest.raises(ConcurrencyError) as raised:
            engine.commit_many([first_attempt("innocent"), attempt, first_attempt("also innocent")])
        for part in ("warehouse", "order 17", str(attempt.commit_id)):
            assert part in str(raised.value)
        assert "innocent" not in str(raised.value)
