"""What is asked of the database: every question one statement, every answer one page.

The functions take a connection inside of a transaction and leave no cursor open. A page begins after a place in
the order it is read in, so that a walk of any length holds one page. Knows neither who waits for an answer nor how
long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Integer, Select, and_, bindparam, func, select

from fsstore.engines.sql.rows import COMMIT_COLUMNS, PAYLOAD, REVISION, TOKEN, Rows, bucket_key, place, unescaped
from fsstore.engines.sql.tables import commits, snapshots
from fsstore.model import Commit, StreamHead

_LARGEST = (1 << 31) - 1  # of a revision, a column of four bytes
_LARGEST_TOKEN = (1 << 63) - 1
_BEFORE_EVERY_KEY = "0"  # of 40 digits; Oracle takes an empty text for NULL, and nothing comes after that

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items, made as they are taken, and the place to go on after; `None` at the end."""

    items: Iterable[Item]
    after: Any
    payload_bytes: int = 0


Ask = Callable[[Any, int, Connection], Page[Item]]
"""Gives the page of items after a place, at most so many; `None` is the beginning."""

FIRST_PAGE = 64
_PAGE_ROWS = 2_000
_PAGE_BYTES = 4 << 20


def next_limit(limit: int, page: Page[Any]) -> int:
    """How many items to ask for after `page`, which had `limit`: more, while they are small."""
    each_bytes = max(page.payload_bytes // limit, 1)
    return max(1, min(limit * 4, _PAGE_ROWS, _PAGE_BYTES // each_bytes))


def _within(number: int, largest: int = _LARGEST) -> int:
    """The number, or the nearest that a column of its kind can hold."""
    return max(-largest, min(number, largest))


_c, _s = commits.c, snapshots.c
_limit: Any = bindparam("limit", type_=Integer())
_of_bucket = _c.BucketId == bindparam("bucket")
_of_stream = and_(_of_bucket, _c.StreamId == bindparam("stream"))

_stream = select(*COMMIT_COLUMNS).where(_of_stream, _c.StreamRevision > bindparam("after"))
_stream = _stream.order_by(_c.StreamRevision).limit(_limit)
# The last commit that touches a revision is the first that reaches it.
_last_revision = select(func.min(_c.StreamRevision)).where(_of_stream, _c.StreamRevision >= bindparam("high"))
_stream_up_to = _stream.where(
    _c.StreamRevision <= func.coalesce(_last_revision.correlate(None).scalar_subquery(), bindparam("high"))
)

_in_order = select(*COMMIT_COLUMNS).where(_c.CheckpointNumber > bindparam("after"))
_in_order = _in_order.order_by(_c.CheckpointNumber).limit(_limit)

_newest_snapshot = (
    select(_s.StreamRevision, _s.Payload)
    .where(
        _s.BucketId == bindparam("bucket"),
        _s.StreamId == bindparam("stream"),
        _s.StreamRevision <= bindparam("high"),
    )
    .order_by(_s.StreamRevision.desc())
    .limit(1)
)

_streams = (
    select(
        _c.StreamId,
        func.max(_c.StreamIdOriginal).label("StreamIdOriginal"),
        func.max(_c.StreamRevision).label("HeadRevision"),
    )
    .where(_of_bucket, _c.StreamId > bindparam("after"))
    .group_by(_c.StreamId)
    .subquery("streams")
)
_snapshot_revision = (
    select(func.coalesce(func.max(_s.StreamRevision), 0))
    .where(_s.BucketId == bindparam("bucket"), _s.StreamId == _streams.c.StreamId)
    .scalar_subquery()
)
_found = select(_streams, _snapshot_revision.label("SnapshotRevision")).subquery("found")
_heads = (
    select(_found)
    .where(_found.c.HeadRevision - _found.c.SnapshotRevision >= bindparam("threshold"))
    .order_by(_found.c.StreamId)
    .limit(_limit)
)


def stream(rows: Rows, bucket_id: str, stream_id: str, low: int, high: int | None) -> Ask[Commit]:
    """The commits of a stream that hold an event within the revisions, which are no empty range, oldest first."""
    values: dict[str, Any] = place(bucket_id, stream_id)
    first = _within(max(low, 1) - 1)
    if high is None:
        return _pages(rows, _stream, values, REVISION, first)
    return _pages(rows, _stream_up_to, {**values, "high": _within(high)}, REVISION, first)


def checkpoints(rows: Rows, after_token: int, to_token: int | None, bucket_id: str | None) -> Ask[Commit]:
    """The commits after a token, up to and with the other, in their order."""
    statement, values = _of_optional_bucket(bucket_id)
    if to_token is not None:
        statement = statement.where(_c.CheckpointNumber <= bindparam("to"))
        values["to"] = _within(to_token, _LARGEST_TOKEN)
    return _pages(rows, statement, values, TOKEN, _within(after_token, _LARGEST_TOKEN))


def dates(rows: Rows, start: datetime, end: datetime | None, bucket_id: str | None) -> Ask[Commit]:
    """The commits of a time, in checkpoint order."""
    statement, values = _of_optional_bucket(bucket_id)
    statement = statement.where(_c.CommitStamp >= bindparam("start"))
    values["start"] = start
    if end is not None:
        statement, values["end"] = statement.where(_c.CommitStamp < bindparam("end")), end
    return _pages(rows, statement, values, TOKEN, 0)


def undispatched(rows: Rows) -> Ask[Commit]:
    """The commits without a mark, in checkpoint order."""
    return _pages(rows, _in_order.where(_c.Dispatched == 0), {}, TOKEN, 0)


def _of_optional_bucket(bucket_id: str | None) -> tuple[Select[Any], dict[str, Any]]:
    return (_in_order, {}) if bucket_id is None else (_in_order.where(_of_bucket), {"bucket": bucket_key(bucket_id)})


def _pages(rows: Rows, statement: Select[Any], values: dict[str, Any], key: int, first: int) -> Ask[Commit]:
    def ask(after: Any, limit: int, connection: Connection) -> Page[Commit]:
        asked = {**values, "after": first if after is None else after, "limit": limit}
        found = connection.execute(statement, asked).all()
        # What cannot be read raises where it stands: those before it are given.
        items = map(rows.commit_of, found)
        return Page(items, found[-1][key] if len(found) == limit else None, sum(len(row[PAYLOAD]) for row in found))

    return ask


def heads(bucket_id: str, threshold: int) -> Ask[StreamHead]:
    """The streams of a bucket whose newest snapshot is so far behind, in no order that means anything."""
    values = {"bucket": bucket_key(bucket_id), "threshold": _within(threshold)}

    def ask(after: Any, limit: int, connection: Connection) -> Page[StreamHead]:
        asked = {**values, "after": _BEFORE_EVERY_KEY if after is None else after, "limit": limit}
        found = connection.execute(_heads, asked).all()
        items = [StreamHead(bucket_id, unescaped(original), head, snapshot) for _, original, head, snapshot in found]
        return Page(items, found[-1][0] if len(found) == limit else None)

    return ask


def newest_snapshot(
    connection: Connection, bucket_id: str, stream_id: str, high: int | None
) -> tuple[int, bytes] | None:
    """Revision and payload of the newest snapshot at or before a revision."""
    values = {**place(bucket_id, stream_id), "high": _LARGEST if high is None else _within(high)}
    row = connection.execute(_newest_snapshot, values).first()
    return None if row is None else (row[0], row[1])
