"""A commit as a row for the contenders that are bare databases: what one would write by hand on top of them.

The payload is plain msgpack of the same values, `[headers, body, headers, …]`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgpack

from fsstore.model import Commit, CommitAttempt, stored_commit, stored_event

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Row = tuple[int, int, bytes, int, bytes]
"""Revision, sequence, commit id, stamp in microseconds, payload."""


def row_of(attempt: CommitAttempt) -> Row:
    """What is stored of an attempt beside its stream."""
    parts: list[Any] = [attempt.headers]
    for event in attempt.events:
        parts += (event.body, event.headers)
    return (
        attempt.stream_revision,
        attempt.commit_sequence,
        attempt.commit_id.bytes,
        (attempt.commit_stamp - _EPOCH) // _MICROSECOND,
        msgpack.packb(parts),
    )


def commit_of(
    bucket_id: str,
    stream_id: str,
    token: int,
    revision: int,
    sequence: int,
    commit_id: bytes,
    stamp: int,
    payload: bytes,
) -> Commit:
    """The commit that a row holds."""
    parts = msgpack.unpackb(payload)
    return stored_commit(
        stream_id,
        revision,
        UUID(bytes=commit_id),
        sequence,
        _EPOCH + timedelta(microseconds=stamp),
        parts[0],
        tuple(map(stored_event, parts[1::2], parts[2::2])),
        bucket_id,
        token,
    )
