"""A hypothesis state machine: any history of calls on an engine, compared with `EngineModel` step by step.

`EngineConformance` runs it for every engine; a longer run is a matter of settings. Knows the protocol and the
model, and of the engine only how it is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fsstore.engine import PersistenceEngine
from fsstore.errors import ConcurrencyError, DuplicateCommitError
from fsstore.model import CommitAttempt, Snapshot, StreamHead
from fsstore.testing.attempts import EPOCH, first_attempt, next_attempt
from fsstore.testing.capabilities import Capabilities
from fsstore.testing.model import EngineModel
from fsstore.testing.strategies import events, headers, values

# Few, so that the steps of one history meet.
BUCKETS = ("default", "b/\U0001f600")
STREAMS = ("stream", "Stream", "../a\x00b", "s")

buckets = st.sampled_from(BUCKETS)
streams = st.sampled_from(STREAMS)
some_buckets = st.sampled_from([*BUCKETS, None])
small = st.integers(min_value=0, max_value=12)
limits = st.one_of(st.none(), st.integers(min_value=0, max_value=15))
stamps = st.integers(min_value=-20, max_value=20).map(lambda n: EPOCH + timedelta(seconds=n / 4))
messages = st.lists(events(), min_size=1, max_size=4)

# Steps (sequence, revision) away from the right place, zero among them oftener than anything else.
slips = st.sampled_from([(0, 0)] * 12 + [(1, 1), (-1, -1), (0, 1), (0, -1), (1, 2), (-1, 0), (2, 5)])

MOST_ENGINES = 3


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

    @rule(
        bucket_id=buckets,
        stream_id=streams,
        messages=messages,
        headers=headers(),
        stamp=stamps,
        slip=slips,
        repeat=st.sampled_from([False, False, False, True]),
        nth=small,
    )
    def commit(
        self,
        *,
        bucket_id: str,
        stream_id: str,
        messages: list[Any],
        headers: dict[str, Any],
        stamp: datetime,
        slip: tuple[int, int],
        repeat: bool,
        nth: int,
    ) -> None:
        stream = self.model.get_from(bucket_id, stream_id)
        attempt = self._attempt(stream, bucket_id, stream_id, messages, stamp)
        attempt = replace(_slipped(attempt, slip), headers=headers)
        if repeat and stream:
            attempt = replace(attempt, commit_id=stream[nth % len(stream)].commit_id)
        self._same_outcome(lambda store: store.commit(attempt))

    @rule(
        parts=st.lists(st.tuples(buckets, streams, messages, stamps, slips), max_size=5),
        duplicate=st.sampled_from([False, False, False, True]),
    )
    def commit_many(self, parts: list[tuple[str, str, list[Any], datetime, Any]], duplicate: bool) -> None:
        attempts: list[CommitAttempt] = []
        for bucket_id, stream_id, messages, stamp, slip in parts:
            before: list[Any] = [
                *self.model.get_from(bucket_id, stream_id),
                *(each for each in attempts if (each.bucket_id, each.stream_id) == (bucket_id, stream_id)),
            ]
            attempts.append(_slipped(self._attempt(before, bucket_id, stream_id, messages, stamp), slip))
        if duplicate and attempts:
            attempts.append(attempts[0])
        self._same_outcome(lambda store: store.commit_many(attempts))

    @staticmethod
    def _attempt(
        stream: list[Any], bucket_id: str, stream_id: str, messages: list[Any], stamp: datetime
    ) -> CommitAttempt:
        if stream:
            return next_attempt(stream[-1], events=messages, stamp=stamp)
        return first_attempt(stream_id, bucket_id=bucket_id, events=messages, stamp=stamp)

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

    @precondition(lambda self: self.model.commits)
    @rule(nth=small, revision=small, payload=values())
    def add_snapshot(self, nth: int, revision: int, payload: Any) -> None:
        head = self.model.commits[-1 - nth % len(self.model.commits)]
        snapshot = Snapshot(
            head.stream_id, 1 + revision % head.stream_revision, ["state", payload], head.bucket_id
        )
        assert self.engine.add_snapshot(snapshot) == self.model.add_snapshot(snapshot)

    @rule(bucket_id=buckets, stream_id=streams)
    def add_snapshot_to_any(self, bucket_id: str, stream_id: str) -> None:
        snapshot = Snapshot(stream_id, 1, "state", bucket_id)
        assert self.engine.add_snapshot(snapshot) == self.model.add_snapshot(snapshot)

    @precondition(lambda self: self.model.commits)
    @rule(nth=small)
    def mark_commit_as_dispatched(self, nth: int) -> None:
        commit = self.model.commits[nth % len(self.model.commits)]
        self.engine.mark_commit_as_dispatched(commit)
        self.model.mark_commit_as_dispatched(commit)

    @rule(bucket_id=buckets, stream_id=streams)
    def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        self.engine.delete_stream(bucket_id, stream_id)
        self.model.delete_stream(bucket_id, stream_id)

    @rule(bucket_id=st.sampled_from([*BUCKETS, None, "unknown"]))
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
    @rule(nth=small)
    def close_one(self, nth: int) -> None:
        self.engines.pop(nth % len(self.engines)).close()

    # Reading

    @rule(bucket_id=buckets, stream_id=streams, low=small, high=limits)
    def get_from(self, bucket_id: str, stream_id: str, low: int, high: int | None) -> None:
        if high is not None:
            high = max(high, low, 1)
        found = list(self.engine.get_from(bucket_id, stream_id, low, high))
        assert found == self.model.get_from(bucket_id, stream_id, low, high)

    @rule(back=small, to=limits, bucket_id=some_buckets)
    def get_from_checkpoint(self, back: int, to: int | None, bucket_id: str | None) -> None:
        after = max(0, self.model.last_token - back)
        limit = None if to is None else after + to
        found = list(self.engine.get_from_checkpoint(after, limit, bucket_id=bucket_id))
        assert found == self.model.get_from_checkpoint(after, limit, bucket_id=bucket_id)

    @rule(start=stamps, end=st.one_of(st.none(), stamps), bucket_id=some_buckets)
    def get_from_date(self, start: datetime, end: datetime | None, bucket_id: str | None) -> None:
        found = list(self.engine.get_from_date(start, end, bucket_id=bucket_id))
        assert found == self.model.get_from_date(start, end, bucket_id=bucket_id)

    @rule(bucket_id=buckets, stream_id=streams, limit=limits)
    def get_snapshot(self, bucket_id: str, stream_id: str, limit: int | None) -> None:
        found = self.engine.get_snapshot(bucket_id, stream_id, limit)
        assert found == self.model.get_snapshot(bucket_id, stream_id, limit)

    @rule(bucket_id=buckets, threshold=small)
    def get_streams_to_snapshot(self, bucket_id: str, threshold: int) -> None:
        found = list(self.engine.get_streams_to_snapshot(bucket_id, threshold))
        wanted = self.model.get_streams_to_snapshot(bucket_id, threshold)
        assert sorted(found, key=_place) == sorted(wanted, key=_place)

    @invariant()
    def nothing_is_lost_or_invented(self) -> None:
        engine = self.engine
        assert list(engine.get_from_checkpoint()) == self.model.commits
        assert list(engine.get_undispatched_commits()) == self.model.get_undispatched_commits()


def _slipped(attempt: CommitAttempt, slip: tuple[int, int]) -> CommitAttempt:
    sequence = max(1, attempt.commit_sequence + slip[0])
    revision = max(sequence, attempt.stream_revision + slip[1])
    return replace(attempt, commit_sequence=sequence, stream_revision=revision, commit_id=uuid4())


def _place(each: StreamHead) -> tuple[str, str]:
    return each.bucket_id, each.stream_id
