"""What an engine is called with, checked in the words that every engine uses. Knows no engine.

A wrong argument is a `TypeError` or `ValueError` of the call itself, before anything is read or stored; of an
asynchronous engine's iterators, when they are first asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from fsstore.model import (
    Commit,
    CommitAttempt,
    checked_id,
    checked_int,
    checked_name,
    checked_seconds,
    checked_stamp,
    not_a,
)

T = TypeVar("T")


def checked_attempts(attempts: Iterable[CommitAttempt]) -> tuple[CommitAttempt, ...]:
    """All attempts in hand, as an iterable may give them once only."""
    taken = tuple(attempts)
    for attempt in taken:
        if not isinstance(attempt, CommitAttempt):
            raise not_a(CommitAttempt, attempt)
    return taken


def checked_value(value: T, kind: type[T]) -> T:
    """`value` as what the call takes: a `Commit`, a `Snapshot`."""
    if not isinstance(value, kind):
        raise not_a(kind, value)
    return value


def checked_mark(commit: Commit) -> int:
    """The token of a commit that is marked; 0, which none has, for one that no commit can have."""
    token = checked_value(commit, Commit).checkpoint_token
    return token if 0 < token < 1 << 63 else 0


def checked_place(bucket_id: str | UUID, stream_id: str | UUID) -> tuple[str, str]:
    """The names of a stream."""
    return checked_id(bucket_id, "bucket_id"), checked_id(stream_id, "stream_id")


def checked_bucket(bucket_id: str | UUID | None) -> str | None:
    """The name of a bucket; `None` stands for all of them."""
    return None if bucket_id is None else checked_id(bucket_id, "bucket_id")


def checked_limit(limit: int | None, what: str) -> int | None:
    """The end of a range; `None` stands for no end."""
    return None if limit is None else checked_int(limit, what)


def checked_tokens(checkpoint_token: int, to_checkpoint: int | None) -> tuple[int, int | None]:
    """The ends of a range in checkpoint order."""
    return checked_int(checkpoint_token, "checkpoint_token"), checked_limit(to_checkpoint, "to_checkpoint")


def checked_heads(bucket_id: str | UUID, max_threshold: int) -> tuple[str, int]:
    """What heads of streams are asked for by."""
    return checked_id(bucket_id, "bucket_id"), checked_int(max_threshold, "max_threshold")


def names_no_revision(min_revision: int, max_revision: int | None) -> bool:
    """Whether the range is empty, so that no commit touches it, not even one that has events on both sides of it."""
    first = max(checked_int(min_revision, "min_revision"), 1)
    last = checked_limit(max_revision, "max_revision")
    return last is not None and last < first


def checked_period(start: datetime, end: datetime | None) -> tuple[datetime, datetime | None]:
    """The ends of a time, in UTC."""
    return checked_stamp(start, "start"), None if end is None else checked_stamp(end, "end")


def checked_lease(name: str, seconds: float) -> tuple[str, float]:
    """What a lease is asked for by."""
    return checked_name(name), checked_seconds(seconds, "seconds")


def checked_wait(checkpoint_token: int, timeout_seconds: float) -> tuple[int, float]:
    """What is waited for, and how long."""
    return checked_int(checkpoint_token, "checkpoint_token"), checked_seconds(timeout_seconds, "timeout_seconds")
