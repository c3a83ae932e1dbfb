"""Short ways to make attempts that follow one another, for tests that care about one field at a time.

Knows the values of `fsstore.model` and an engine's `commit`, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from fsstore.engine import PersistenceEngine
from fsstore.model import DEFAULT_BUCKET, Commit, CommitAttempt, EventMessage

EPOCH = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC)


def first_attempt(
    stream_id: str | UUID,
    *,
    bucket_id: str | UUID = DEFAULT_BUCKET,
    events: int | Iterable[EventMessage] = 1,
    commit_id: UUID | None = None,
    stamp: datetime = EPOCH,
    headers: dict[str, Any] | None = None,
) -> CommitAttempt:
    """An attempt to begin the stream with `events`: a number of them, or the messages themselves."""
    return _attempt(
        (str(bucket_id), str(stream_id)),
        (0, 0),
        events,
        commit_id=commit_id,
        stamp=stamp,
        headers=headers,
    )


def next_attempt(
    previous: CommitAttempt | Commit,
    *,
    events: int | Iterable[EventMessage] = 1,
    commit_id: UUID | None = None,
    stamp: datetime | None = None,
    headers: dict[str, Any] | None = None,
) -> CommitAttempt:
    """An attempt that directly follows `previous` in its stream, a second later unless `stamp` is given."""
    return _attempt(
        (previous.bucket_id, previous.stream_id),
        (previous.commit_sequence, previous.stream_revision),
        events,
        commit_id=commit_id,
        stamp=stamp or previous.commit_stamp + timedelta(seconds=1),
        headers=headers,
    )


def fill(
    engine: PersistenceEngine,
    stream_id: str,
    *,
    bucket_id: str = DEFAULT_BUCKET,
    commits: int = 1,
    events: int = 2,
    at_once: int = 1,
) -> list[Commit]:
    """Begin the stream in `engine` with that many commits of that many events each, up to `at_once` in a call."""
    attempts: list[CommitAttempt] = []
    for _ in range(commits):
        attempts.append(
            next_attempt(attempts[-1], events=events)
            if attempts
            else first_attempt(stream_id, bucket_id=bucket_id, events=events)
        )
    if at_once == 1:
        return [engine.commit(attempt) for attempt in attempts]
    return [commit for at in range(0, commits, at_once) for commit in engine.commit_many(attempts[at : at + at_once])]


def _attempt(
    stream: tuple[str, str],
    head: tuple[int, int],
    events: int | Iterable[EventMessage],
    *,
    commit_id: UUID | None,
    stamp: datetime,
    headers: dict[str, Any] | None,
) -> CommitAttempt:
    bucket_id, stream_id = stream
    sequence, revision = head
    if isinstance(events, int):
        events = [
            EventMessage({"stream": stream_id[:20], "revision": revision + number}, {"number": number})
            for number in range(1, events + 1)
        ]
    messages = tuple(events)
    return CommitAttempt(
        stream_id=stream_id,
        stream_revision=revision + len(messages),
        commit_id=commit_id or uuid4(),
        commit_sequence=sequence + 1,
        commit_stamp=stamp,
        headers={"sequence": sequence + 1} if headers is None else headers,
        events=messages,
        bucket_id=bucket_id,
    )
