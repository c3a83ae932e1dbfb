"""What changes the database: each function is what is said within one transaction.

Whoever calls them begins the transaction, ends it, and tries again. Every change of commits or snapshots first
takes the store's one lock with `tokens`, so that tokens become visible in their order. The common case
of a commit says as little as possible; why one was refused is asked afterwards, in a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select, update

from fsstore.engines.refusals import conflict, duplicate, follows
from fsstore.engines.sql import tokens
from fsstore.engines.sql.dialects import check_size
from fsstore.engines.sql.rows import bucket_key, hashed, place
from fsstore.engines.sql.tables import commits, snapshots
from fsstore.errors import EventStoreError
from fsstore.model import Commit, CommitAttempt, Snapshot, named

_LARGEST = (1 << 31) - 1
_PREDECESSORS_AT_ONCE = 100


class NotStoredError(Exception):
    """The attempts do not follow what is stored. Roll back, then ask `refusal`."""


_c, _s = commits.c, snapshots.c
_of_stream = and_(_c.BucketId == bindparam("bucket"), _c.StreamId == bindparam("stream"))
_head = select(func.max(_c.CommitSequence), func.max(_c.StreamRevision)).where(_of_stream)
_known = select(_c.CommitId).where(_of_stream, _c.CommitId == bindparam("commit"))
_has_commits = select(func.count()).select_from(
    select(_c.CheckpointNumber).where(_of_stream, _c.CommitSequence == 1).subquery("beginning")
)
_has_snapshot = select(func.count()).where(
    _s.BucketId == bindparam("bucket"), _s.StreamId == bindparam("stream"), _s.StreamRevision == bindparam("revision")
)

_followed = select(_c.BucketId, _c.StreamId, _c.CommitSequence, _c.StreamRevision).where(
    _c.BucketId.in_(bindparam("buckets", expanding=True)),
    _c.StreamId.in_(bindparam("streams", expanding=True)),
    _c.CommitSequence.in_(bindparam("sequences", expanding=True)),
)
_WRITTEN = [column for column in _c if column.name not in ("Dispatched", "Headers")]
_COUNTED = {"preserve_rowcount": True}  # SQLAlchemy else forgets how many rows an INSERT made
_insert = insert(commits)
_insert_following = insert(commits).from_select(
    [column.name for column in _WRITTEN],
    select(*(bindparam(column.name, type_=column.type) for column in _WRITTEN)).where(
        _c.BucketId == bindparam("BucketId", type_=_c.BucketId.type),
        _c.StreamId == bindparam("StreamId", type_=_c.StreamId.type),
        _c.CommitSequence == bindparam("sequence", type_=_c.CommitSequence.type),
        _c.StreamRevision == bindparam("revision", type_=_c.StreamRevision.type),
    ),
    include_defaults=False,
)


def append(connection: Connection, attempts: Sequence[CommitAttempt], rows: Sequence[dict[str, Any]]) -> list[Commit]:
    """Store the attempts, whose rows these are, or raise `NotStoredError`, or the database's own complaint about a key.

    Each stream's first attempt must follow a commit that is there; the others follow one another. That it is
    the last that is followed, and that no id is there twice, the unique keys say.
    """
    for attempt, row in zip(attempts, rows, strict=True):
        check_size(connection, row["Payload"], named(attempt))
    beginnings = _beginnings(attempts)
    if beginnings is None:
        raise NotStoredError
    first = tokens.take(connection, len(rows)) - len(rows) + 1
    if len(rows) == 1 and beginnings:
        _append_one(connection, {**rows[0], "CheckpointNumber": first})
    else:
        if not _all_are_there(connection, beginnings):
            raise NotStoredError
        numbered = [{**row, "CheckpointNumber": token} for token, row in enumerate(rows, first)]
        connection.execute(_insert, numbered if len(numbered) > 1 else numbered[0])
    return [Commit.of(attempt, token) for token, attempt in enumerate(attempts, first)]


def _append_one(connection: Connection, row: dict[str, Any]) -> None:
    """Check and insert in one round trip: the row is selected from the commit that it follows."""
    sequence, revision = row["CommitSequence"] - 1, row["StreamRevision"] - row["Items"]
    values = {**row, "sequence": sequence, "revision": revision}
    if connection.execute(_insert_following, values, execution_options=_COUNTED).rowcount != 1:
        raise NotStoredError


def _all_are_there(connection: Connection, beginnings: Sequence[CommitAttempt]) -> bool:
    """Whether the commits that these follow are stored."""
    for start in range(0, len(beginnings), _PREDECESSORS_AT_ONCE):
        followed = {
            (
                bucket_key(each.bucket_id),
                hashed(each.stream_id),
                each.commit_sequence - 1,
                each.stream_revision - len(each.events),
            )
            for each in beginnings[start : start + _PREDECESSORS_AT_ONCE]
        }
        buckets, streams, sequences, _ = map(sorted, map(set, zip(*followed, strict=True)))
        asked = {"buckets": buckets, "streams": streams, "sequences": sequences}
        # More than was asked for, as SQL Server compares no tuples.
        if not followed <= {tuple(row) for row in connection.execute(_followed, asked)}:
            return False
    return True


def refusal(connection: Connection, attempts: Sequence[CommitAttempt]) -> EventStoreError | None:
    """Why these attempts cannot be stored, by the first that is wrong; `None` when by now they can."""
    tokens.take(connection, 0)
    heads: dict[tuple[str, str], tuple[int, int]] = {}
    ids = set()
    for attempt in attempts:
        name = (attempt.bucket_id, attempt.stream_id)
        stream = place(*name)
        if name not in heads:
            sequence, revision = connection.execute(_head, stream).one()
            heads[name] = (sequence or 0, revision or 0)
        known = connection.execute(_known, {**stream, "commit": attempt.commit_id}).first()
        if known is not None or (*name, attempt.commit_id) in ids:
            return duplicate(attempt)
        sequence, revision = heads[name]
        if not follows(attempt, sequence, revision):
            return conflict(attempt, sequence, revision)
        heads[name] = (attempt.commit_sequence, attempt.stream_revision)
        ids.add((*name, attempt.commit_id))
    return None


def mark(connection: Connection, token: int) -> None:
    """Mark the commit of this token as dispatched; nothing when it is gone."""
    connection.execute(update(commits).where(_c.CheckpointNumber == token).values(Dispatched=1))


def add_snapshot(connection: Connection, snapshot: Snapshot, payload: bytes) -> bool:
    """Store it, unless the stream is not there or has one at that revision."""
    if snapshot.stream_revision > _LARGEST:
        raise ValueError(f"a snapshot's revision is at most {_LARGEST} in SQL, not {snapshot.stream_revision}")
    check_size(connection, payload, f"a snapshot of stream {snapshot.stream_id!r} in bucket {snapshot.bucket_id!r}")
    tokens.lock(connection)
    stream = place(snapshot.bucket_id, snapshot.stream_id)
    if not connection.execute(_has_commits, stream).scalar():
        return False
    if connection.execute(_has_snapshot, {**stream, "revision": snapshot.stream_revision}).scalar():
        return False
    connection.execute(
        insert(snapshots),
        {
            "BucketId": stream["bucket"],
            "StreamId": stream["stream"],
            "StreamRevision": snapshot.stream_revision,
            "Payload": payload,
        },
    )
    return True


def delete_stream(connection: Connection, bucket_id: str, stream_id: str) -> None:
    """Forget one stream."""
    tokens.lock(connection)
    for table in (snapshots, commits):
        connection.execute(
            delete(table).where(
                table.c.BucketId == bucket_key(bucket_id),
                table.c.StreamId == hashed(stream_id),
            )
        )


def purge(connection: Connection, bucket_id: str | None) -> None:
    """Forget every stream of the bucket, or of the store."""
    tokens.lock(connection)
    for table in (snapshots, commits):
        statement = delete(table)
        if bucket_id is not None:
            statement = statement.where(table.c.BucketId == bucket_key(bucket_id))
        connection.execute(statement)


def _beginnings(attempts: Sequence[CommitAttempt]) -> list[CommitAttempt] | None:
    """The first attempt of each stream that has commits before it; `None` when one cannot follow anything."""
    heads: dict[tuple[str, str], tuple[int, int]] = {}
    found = []
    for attempt in attempts:
        name = (attempt.bucket_id, attempt.stream_id)
        before = (attempt.commit_sequence - 1, attempt.stream_revision - len(attempt.events))
        known = heads.get(name)
        if known is None and before[0]:
            found.append(attempt)
        elif before != (known or (0, 0)):
            return None
        heads[name] = (attempt.commit_sequence, attempt.stream_revision)
    if any(not 0 < attempt.stream_revision <= _LARGEST for attempt in found):
        return None
    return found
