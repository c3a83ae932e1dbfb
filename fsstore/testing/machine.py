"""A hypothesis state machine: any history of calls on an engine, compared with `EngineModel` step by step.

`EngineConformance` runs it for every engine; a longer run is a matter of settings. Knows the protocol and the
model, and of the engine only how it is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fsstore.engine import PersistenceEngine
from fsstore.errors import ConcurrencyError, DuplicateCommitError
from fsstore.model import Commit, CommitAttempt, Snapshot, StreamHead
from fsstore.testing.attempts import EPOCH, first_attempt, next_attempt
from fsstore.testing.capabilities import Capabilities
from fsstore.testing.model import EngineModel

# Few, so that the steps of one history meet.
BUCKETS = ("default", "b/\U0001f600")
STREAMS = ("stream", "Stream", "../a\x00b")

# Small draws make long histories; what bodies and headers can be, `promises.values` tries out.
buckets = st.sampled_from(BUCKETS)
streams = st.sampled_from(STREAMS)
some_buckets = st.sampled_from([*BUCKETS, None])
numbers = st.integers(min_value=0, max_value=15)
limits = st.one_of(st.none(), numbers)
event_counts = st.integers(min_value=1, max_value=3)
stamps = st.integers(min_value=-20, max_value=20).map(lambda n: EPOCH + timedelta(seconds=n / 4))

# Away from the right sequence and revision.
slips = st.sampled_from([(1, 1), (-1, -1), (0, 1), (0, -1), (1, 2), (-1, 0), (2, 5)])

MOST_ENGINES = 3


def has_commits(machine: EngineMachine) -> bool:
    return bool(machine.model.commits)


class EngineMachine(RuleBasedStateMachine):
    """`open_engine()` gives a new engine on the same store each time; `discard()` is called at the end."""

    def __init__(
        self,
        open_engine: Callable[[], PersistenceEngine],
        capabilities: Capabilities,
        discard: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._open_engine = open_engine
        self._capabilities = capabilities
        self._discard = discard
        self.model = EngineModel()
        self.engines = [self._opened()]
        self._turn = 0

    def _opened(self) -> PersistenceEngine:
        engine = self._open_engine()
        engine.initialize()
        return engine

    @property
    def engine(self) -> PersistenceEngine:
        """The open engines take turns."""
        self._turn += 1
        return self.engines[self._turn % len(self.engines)]

    def teardown(self) -> None:
        try:
            for engine in self.engines:
                engine.close()
        finally:
            self._discard()

    # Writing

    @initialize(places=st.lists(st.tuples(buckets, streams, event_counts), max_size=6))
    def begin(self, places: list[tuple[str, str, int]]) -> None:
        for bucket_id, stream_id, events in places:
            self.commit(bucket_id, stream_id, events, EPOCH)

    @rule(bucket_id=buckets, stream_id=streams, events=event_counts, stamp=stamps)
    def commit(self, bucket_id: str, stream_id: str, events: int, stamp: datetime) -> None:
        attempt = self._following(bucket_id, stream_id, events, stamp)
        self._same_outcome(lambda store: store.commit(attempt))

    @precondition(has_commits)
    @rule(nth=numbers, events=event_counts, stamp=stamps)
    def commit_to_a_stream_that_is_there(self, nth: int, events: int, stamp: datetime) -> None:
        known = self._nth(nth)
        self.commit(known.bucket_id, known.stream_id, events, stamp)

    @rule(bucket_id=buckets, stream_id=streams, events=event_counts, slip=slips)
    def commit_at_a_wrong_place(self, bucket_id: str, stream_id: str, events: int, slip: tuple[int, int]) -> None:
        attempt = _slipped(self._following(bucket_id, stream_id, events, EPOCH), slip)
        self._same_outcome(lambda store: store.commit(attempt))

    @precondition(has_commits)
    @rule(nth=numbers, slip=st.one_of(st.just((0, 0)), slips))
    def commit_an_id_again(self, nth: int, slip: tuple[int, int]) -> None:
        known = self._nth(nth)
        attempt = _slipped(self._following(known.bucket_id, known.stream_id, 2, EPOCH), slip)
        attempt = replace(attempt, commit_id=known.commit_id)
        self._same_outcome(lambda store: store.commit(attempt))

    @rule(
        places=st.lists(st.tuples(buckets, streams, event_counts, stamps), max_size=4),
        wrong=st.one_of(st.none(), st.none(), st.tuples(numbers, st.one_of(st.just((0, 0)), slips))),
    )
    def commit_many(
        self, places: list[tuple[str, str, int, datetime]], wrong: tuple[int, tuple[int, int]] | None
    ) -> None:
        attempts: list[CommitAttempt] = []
        for bucket_id, stream_id, events, stamp in places:
            attempts.append(self._following(bucket_id, stream_id, events, stamp, attempts))
        if attempts and wrong is not None:
            position, slip = wrong
            position %= len(attempts)
            if slip == (0, 0):
                attempts.insert(position, attempts[-1])
            else:
                attempts[position] = _slipped(attempts[position], slip)
        self._same_outcome(lambda store: store.commit_many(attempts))

    def _nth(self, nth: int) -> Commit:
        return self.model.commits[nth % len(self.model.commits)]

    def _following(
        self,
        bucket_id: str,
        stream_id: str,
        events: int,
        stamp: datetime,
        unstored: Sequence[CommitAttempt] = (),
    ) -> CommitAttempt:
        stream: list[Commit | CommitAttempt] = [
            *self.model.get_from(bucket_id, stream_id),
            *(each for each in unstored if (each.bucket_id, each.stream_id) == (bucket_id, stream_id)),
        ]
        if stream:
            return next_attempt(stream[-1], events=events, stamp=stamp)
        return first_attempt(stream_id, bucket_id=bucket_id, events=events, stamp=stamp)

    def _same_outcome(self, call: Callable[[Any], Any]) -> None:
        try:
            wanted = call(self.model)
        except (ConcurrencyError, DuplicateCommitError) as error:
            wanted = type(error)
        try:
            found = call(self.engine)
        except (ConcurrencyError, DuplicateCommitError) as error:
            found = type(error)
        assert found == wanted

    # What else changes a store

    @precondition(has_commits)
    @rule(nth=numbers, back=st.integers(min_value=0, max_value=2))
    def add_snapshot(self, nth: int, back: int) -> None:
        known = self._nth(nth)
        revision = max(1, known.stream_revision - back)
        payload = {"at": [revision, len(self.model.snapshots)]}
        snapshot = Snapshot(known.stream_id, revision, payload, known.bucket_id)
        assert self.engine.add_snapshot(snapshot) == self.model.add_snapshot(snapshot)

    @rule(bucket_id=buckets, stream_id=streams)
    def add_snapshot_to_any_stream(self, bucket_id: str, stream_id: str) -> None:
        snapshot = Snapshot(stream_id, 1, "state", bucket_id)
        assert self.engine.add_snapshot(snapshot) == self.model.add_snapshot(snapshot)

    @precondition(has_commits)
    @rule(nth=numbers)
    def mark_commit_as_dispatched(self, nth: int) -> None:
        commit = self._nth(nth)
        self.engine.mark_commit_as_dispatched(commit)
        self.model.mark_commit_as_dispatched(commit)

    @precondition(has_commits)
    @rule(nth=numbers)
    def delete_stream(self, nth: int) -> None:
        known = self._nth(nth)
        self.engine.delete_stream(known.bucket_id, known.stream_id)
        self.model.delete_stream(known.bucket_id, known.stream_id)

    @precondition(lambda self: len(self.model.commits) > 5)
    @rule(bucket_id=some_buckets)
    def purge(self, bucket_id: str | None) -> None:
        self.engine.purge(bucket_id)
        self.model.purge(bucket_id)

    # Opening and closing

    @rule()
    def initialize_again(self) -> None:
        self.engine.initialize()

    @precondition(lambda self: self._capabilities.durable)
    @rule()
    def reopen(self) -> None:
        for engine in self.engines:
            engine.close()
        self.engines = [self._opened()]

    @precondition(lambda self: self._capabilities.shared and len(self.engines) < MOST_ENGINES)
    @rule()
    def open_another(self) -> None:
        self.engines.append(self._opened())

    @precondition(lambda self: len(self.engines) > 1)
    @rule(nth=numbers)
    def close_one(self, nth: int) -> None:
        self.engines.pop(nth % len(self.engines)).close()

    # Reading

    @precondition(has_commits)
    @rule(nth=numbers, off=st.integers(min_value=-2, max_value=2), more=limits)
    def get_from(self, nth: int, off: int, more: int | None) -> None:
        near = self._nth(nth)
        low = max(0, near.stream_revision + off)
        high = None if more is None else max(1, low + more)
        found = list(self.engine.get_from(near.bucket_id, near.stream_id, low, high))
        assert found == self.model.get_from(near.bucket_id, near.stream_id, low, high)

    @rule(bucket_id=buckets, stream_id=streams, limit=limits)
    def get_snapshot(self, bucket_id: str, stream_id: str, limit: int | None) -> None:
        found = self.engine.get_snapshot(bucket_id, stream_id, limit)
        assert found == self.model.get_snapshot(bucket_id, stream_id, limit)

    @rule(back=numbers, to=limits, bucket_id=some_buckets)
    def get_from_checkpoint(self, back: int, to: int | None, bucket_id: str | None) -> None:
        after = max(0, self.model.last_token - back)
        limit = None if to is None else after + to
        found = list(self.engine.get_from_checkpoint(after, limit, bucket_id=bucket_id))
        assert found == self.model.get_from_checkpoint(after, limit, bucket_id=bucket_id)

    @rule(start=stamps, end=st.one_of(st.none(), stamps), bucket_id=some_buckets)
    def get_from_date(self, start: datetime, end: datetime | None, bucket_id: str | None) -> None:
        found = list(self.engine.get_from_date(start, end, bucket_id=bucket_id))
        assert found == self.model.get_from_date(start, end, bucket_id=bucket_id)

    @rule(bucket_id=buckets, threshold=numbers)
    def get_streams_to_snapshot(self, bucket_id: str, threshold: int) -> None:
        # The border of each stream and right behind it, where being off by one shows.
        heads = self.model.get_streams_to_snapshot(bucket_id, 0)
        borders = {head.head_revision - head.snapshot_revision for head in heads}
        for each in {threshold, *borders, *(border + 1 for border in borders)}:
            found = list(self.engine.get_streams_to_snapshot(bucket_id, each))
            wanted = self.model.get_streams_to_snapshot(bucket_id, each)
            assert sorted(found, key=_place) == sorted(wanted, key=_place)

    @invariant()
    def nothing_is_lost_or_invented(self) -> None:
        engine = self.engine
        assert list(engine.get_from_checkpoint()) == self.model.commits
        assert list(engine.get_undispatched_commits()) == self.model.get_undispatched_commits()
        for place in product(BUCKETS, STREAMS):
            assert list(engine.get_from(*place)) == self.model.get_from(*place)
            assert engine.get_snapshot(*place) == self.model.get_snapshot(*place)


def _slipped(attempt: CommitAttempt, slip: tuple[int, int]) -> CommitAttempt:
    sequence = max(1, attempt.commit_sequence + slip[0])
    revision = max(sequence, attempt.stream_revision + slip[1])
    return replace(attempt, commit_sequence=sequence, stream_revision=revision)


def _place(each: StreamHead) -> tuple[str, str]:
    return each.bucket_id, each.stream_id
