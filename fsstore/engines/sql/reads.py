"""What is asked of the database: every question one statement, every answer one page.

The functions take a connection inside of a transaction and leave no cursor open. A page begins after a place in
the order it is read in, so that a walk of any length holds one page. Knows a store's form, no serializer, and
neither who waits for an answer nor how long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Select, and_, bindparam, func, select

from fsstore.engines.sql.forms import Form
from fsstore.model import Commit, StreamHead

_LARGEST = (1 << 31) - 1  # of a revision, a column of four bytes
_LARGEST_TOKEN = (1 << 63) - 1

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items, and the place to go on after; `None` at the end."""

    items: Sequence[Item]
    after: Any
    payload_bytes: int = 0


Ask = Callable[[Connection, Any, int], Page[Item]]
"""Gives the page of at most so many items after a place; `None` is the beginning."""


FIRST_PAGE = 64
_PAGE_ROWS = 2_000
_PAGE_BYTES = 4 << 20


def next_limit(limit: int, page: Page[Any]) -> int:
    """How many items to ask for after `page`, which had `limit`: more, while they are small."""
    each_bytes = max(page.payload_bytes // limit, 1)
    return max(1, min(limit * 4, _PAGE_ROWS, _PAGE_BYTES // each_bytes))


def within(number: int, largest: int = _LARGEST) -> int:
    """The number, or the nearest that a column of its kind can hold."""
    return max(-largest, min(number, largest))


class Reads:
    """The questions to one store."""

    def __init__(self, form: Form) -> None:
        self._form = form
        c, s = form.commits.c, form.snapshots.c
        self._columns = [c[name] for name in form.commit_columns]
        self._token = form.commit_columns.index("CheckpointNumber")
        self._revision = form.commit_columns.index("StreamRevision")
        self._of_stream = and_(c.BucketId == bindparam("bucket"), c.StreamId == bindparam("stream"))
        self._of_bucket = c.BucketId == bindparam("bucket")
        self._limit: Any = bindparam("limit", type_=c.StreamRevision.type)

        stream = select(*self._columns).where(self._of_stream, c.StreamRevision > bindparam("after"))
        # The last commit that touches a revision is the first that reaches it.
        last = select(func.min(c.StreamRevision)).where(self._of_stream, c.StreamRevision >= bindparam("high"))
        self._stream = stream.order_by(c.StreamRevision).limit(self._limit)
        self._stream_up_to = (
            stream.where(c.StreamRevision <= func.coalesce(last.correlate(None).scalar_subquery(), bindparam("high")))
            .order_by(c.StreamRevision)
            .limit(self._limit)
        )

        self._newest_snapshot = (
            select(s.StreamRevision, s.Payload)
            .where(
                s.BucketId == bindparam("bucket"),
                s.StreamId == bindparam("stream"),
                s.StreamRevision <= bindparam("high"),
            )
            .order_by(s.StreamRevision.desc())
            .limit(1)
        )
        self._heads = self._heads_statement()

    def _heads_statement(self) -> Select[Any]:
        c, s = self._form.commits.c, self._form.snapshots.c
        heads = (
            select(
                c.StreamId,
                func.max(c[self._form.original_id_column]).label("OriginalId"),
                func.max(c.StreamRevision).label("HeadRevision"),
            )
            .where(self._of_bucket, c.StreamId > bindparam("after"))
            .group_by(c.StreamId)
            .subquery("heads")
        )
        snapshot = (
            select(func.coalesce(func.max(s.StreamRevision), 0))
            .where(s.BucketId == bindparam("bucket"), s.StreamId == heads.c.StreamId)
            .scalar_subquery()
        )
        found = select(heads, snapshot.label("SnapshotRevision")).subquery("found")
        return (
            select(found)
            .where(found.c.HeadRevision - found.c.SnapshotRevision >= bindparam("threshold"))
            .order_by(found.c.StreamId)
            .limit(self._limit)
        )

    # ---- commits ----

    def stream(self, bucket_id: str, stream_id: str, low: int, high: int | None) -> Ask[Commit]:
        """The commits of a stream that hold an event within the revisions, oldest first."""
        values: dict[str, Any] = {
            "bucket": self._form.bucket_key(bucket_id),
            "stream": self._form.stream_key(stream_id),
        }
        statement = self._stream
        if high is not None:
            statement, values["high"] = self._stream_up_to, within(high)
            if high < 1 or low > high:
                return lambda connection, after, limit: Page((), None)
        return self._pages(statement, values, self._revision, within(max(low, 1) - 1))

    def checkpoints(self, after_token: int, to_token: int | None, bucket_id: str | None) -> Ask[Commit]:
        """The commits after a token, up to and with the other, in their order."""
        c = self._form.commits.c
        values: dict[str, Any] = {}
        statement = self._in_order(bucket_id, values)
        if to_token is not None:
            statement = statement.where(c.CheckpointNumber <= bindparam("to"))
            values["to"] = within(to_token, _LARGEST_TOKEN)
        return self._pages(statement, values, self._token, within(after_token, _LARGEST_TOKEN))

    def dates(self, start: datetime, end: datetime | None, bucket_id: str | None) -> Ask[Commit]:
        """The commits of a time, in checkpoint order."""
        c = self._form.commits.c
        values: dict[str, Any] = {"start": start}
        statement = self._in_order(bucket_id, values).where(c.CommitStamp >= bindparam("start"))
        if end is not None:
            statement, values["end"] = statement.where(c.CommitStamp < bindparam("end")), end
        return self._pages(statement, values, self._token, 0)

    def undispatched(self) -> Ask[Commit]:
        """The commits without a mark, in checkpoint order."""
        statement = self._in_order(None, {}).where(self._form.commits.c.Dispatched == 0)
        return self._pages(statement, {}, self._token, 0)

    def _in_order(self, bucket_id: str | None, values: dict[str, Any]) -> Select[Any]:
        c = self._form.commits.c
        statement = select(*self._columns).where(c.CheckpointNumber > bindparam("after"))
        statement = statement.order_by(c.CheckpointNumber).limit(self._limit)
        if bucket_id is None:
            return statement
        values["bucket"] = self._form.bucket_key(bucket_id)
        return statement.where(self._of_bucket)

    def _pages(self, statement: Select[Any], values: dict[str, Any], place: int, first: int) -> Ask[Commit]:
        def ask(connection: Connection, after: Any, limit: int) -> Page[Commit]:
            asked = {**values, "after": first if after is None else after, "limit": limit}
            rows = connection.execute(statement, asked).all()
            return Page(
                [self._form.commit_of(row) for row in rows],
                rows[-1][place] if len(rows) == limit else None,
                sum(len(row[-1]) for row in rows),
            )

        return ask

    # ---- the rest ----

    def heads(self, bucket_id: str, threshold: int) -> Ask[StreamHead]:
        """The streams of a bucket whose newest snapshot is so far behind, in no order that means anything."""
        values = {"bucket": self._form.bucket_key(bucket_id), "threshold": within(threshold)}

        def ask(connection: Connection, after: Any, limit: int) -> Page[StreamHead]:
            asked = {**values, "after": "" if after is None else after, "limit": limit}
            rows = connection.execute(self._heads, asked).all()
            heads = [
                StreamHead(bucket_id, self._form.stream_id_of(original), head, snapshot)
                for _, original, head, snapshot in rows
            ]
            return Page(heads, rows[-1][0] if len(rows) == limit else None)

        return ask

    def newest_snapshot(
        self, connection: Connection, bucket_id: str, stream_id: str, high: int | None
    ) -> tuple[int, bytes] | None:
        """Revision and payload of the newest snapshot at or before a revision."""
        values = {
            "bucket": self._form.bucket_key(bucket_id),
            "stream": self._form.stream_key(stream_id),
            "high": _LARGEST if high is None else within(high),
        }
        row = connection.execute(self._newest_snapshot, values).first()
        return None if row is None else (row[0], row[1])

    def last_token(self, connection: Connection) -> int:
        """The highest token that was given out."""
        return self._form.last_token(connection)
