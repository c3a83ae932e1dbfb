"""A commit as a row for the contenders that are bare databases: what one would write by hand on top of them.

The payload is fsstore's own msgpack form, so that every contender encodes and decodes the same way.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from fsstore.model import Commit, CommitAttempt, stored_commit
from fsstore.serialization import MsgpackSerializer, decode_payload, encode_payload

_SERIALIZER = MsgpackSerializer()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Row = tuple[int, int, bytes, int, bytes]
"""Revision, sequence, commit id, stamp in microseconds, payload."""


def row_of(attempt: CommitAttempt) -> Row:
    """What is stored of an attempt beside its stream."""
    return (
        attempt.stream_revision,
        attempt.commit_sequence,
        attempt.commit_id.bytes,
        (attempt.commit_stamp - _EPOCH) // _MICROSECOND,
        encode_payload(_SERIALIZER, attempt.headers, attempt.events),
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
    headers, events = decode_payload(_SERIALIZER, payload)
    return stored_commit(
        stream_id,
        revision,
        UUID(bytes=commit_id),
        sequence,
        _EPOCH + timedelta(microseconds=stamp),
        headers,
        events,
        bucket_id,
        token,
    )
