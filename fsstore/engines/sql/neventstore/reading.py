"""The answers to reads of a C# store, in short statements, page by page.

A database may compare text without regard to case or trailing spaces; what a statement finds is compared again here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Row, and_, false, func, literal_column, select

from fsstore.engines.sql.neventstore import cells
from fsstore.engines.sql.neventstore.numbering import PAGE, Ask, Numbering, Numbers, Places
from fsstore.engines.sql.neventstore.rows import Rows
from fsstore.model import Commit, Snapshot, StreamHead

Keep = Callable[[Row[Any]], bool]
_LARGEST = (1 << 63) - 1
Limit = TypeVar("Limit", int, int | None)


def _within(number: Limit) -> Limit:
    """The number, or the nearest that a driver can send."""
    return number if number is None else max(-_LARGEST, min(number, _LARGEST))


class Reading:
    """Finds what is asked for. `rows` says what the tables are."""

    def __init__(self, ask: Ask, rows: Rows) -> None:
        self._ask = ask
        self._rows = rows
        self._commits = rows.generation.commits
        self._numbering: Numbering = (Numbers if rows.generation.is_numbered else Places)(ask, rows)

    def stream(self, bucket_id: str, stream_id: str, min_revision: int, max_revision: int | None) -> Iterator[Commit]:
        """A stream's commits within the revisions, oldest first."""
        condition = self._rows.of_stream(bucket_id, stream_id)
        if condition is None:
            return
        min_revision, max_revision = _within(min_revision), _within(max_revision)
        table = self._commits.c
        conditions = [condition, table.streamrevision >= min_revision]
        if max_revision is not None and self._rows.generation.has("items"):
            conditions.append(table.streamrevision - table["items"] < max_revision)
        after = 0
        while True:
            statement = select(*self._rows.columns).where(*conditions, table.commitsequence > after)
            page = self._ask(statement.order_by(table.commitsequence).limit(PAGE))
            for row, token in zip(page, self._numbering.tokens(page), strict=True):
                if token is None or self._rows.bucket(row) != bucket_id or self._rows.stream(row) != stream_id:
                    continue
                commit = self._rows.commit(row, token)
                if max_revision is not None and commit.stream_revision - len(commit.events) >= max_revision:
                    return
                yield commit
            if len(page) < PAGE:
                return
            after = int(page[-1]._mapping["commitsequence"])

    def walk(
        self,
        bucket_id: str | None,
        condition: ColumnElement[bool] | None = None,
        keep: Keep | None = None,
        *,
        after: int = 0,
        to: int | None = None,
    ) -> Iterator[Commit]:
        """The commits under the condition that `keep` keeps, in the order of their tokens."""
        in_bucket = self._rows.of_bucket(bucket_id)
        if in_bucket is None:
            return

        def kept(row: Row[Any]) -> bool:
            return (bucket_id is None or self._rows.bucket(row) == bucket_id) and (keep is None or keep(row))

        wanted = in_bucket if condition is None else and_(in_bucket, condition)
        for row, token in self._numbering.walk(wanted, kept, _within(after), _within(to)):
            yield self._rows.commit(row, token)

    def dated(self, bucket_id: str | None, start: datetime, end: datetime | None) -> Iterator[Commit]:
        """The commits of a time."""
        column = self._commits.c.commitstamp
        condition = column >= self._rows.cells.earliest(start)
        if end is not None:
            condition = and_(condition, column < self._rows.cells.latest(end))

        def within(row: Row[Any]) -> bool:
            stamp = cells.stamp(cells.read_ticks(row._mapping["commitstamp"]))
            return start <= stamp and (end is None or stamp < end)

        return self.walk(bucket_id, condition, within)

    def undispatched(self) -> Iterator[Commit]:
        """The commits whose `Dispatched` is not set; none where there is no such column."""
        if not self._rows.generation.has("dispatched"):
            return iter(())
        column = self._commits.c.dispatched
        is_boolean = self._rows.cells.dialect == "postgresql"
        return self.walk(None, column.is_(false()) if is_boolean else column == literal_column("0"))

    # ---- snapshots ----

    def snapshot(self, bucket_id: str, stream_id: str, max_revision: int | None) -> Snapshot | None:
        """A stream's newest snapshot up to a revision."""
        condition = self._rows.snapshots_of(bucket_id, stream_id)
        table = self._rows.generation.snapshots
        if condition is None or table is None:
            return None
        statement = select(*(column.label(column.key) for column in table.c)).where(condition)
        if max_revision is not None:
            statement = statement.where(table.c.streamrevision <= _within(max_revision))
        for row in self._ask(statement.order_by(table.c.streamrevision.desc()).limit(1)):
            if self._rows.bucket(row) == bucket_id:
                return self._rows.snapshot(row, bucket_id, stream_id)
        return None

    def heads(self, bucket_id: str, max_threshold: int) -> Iterator[StreamHead]:
        """The streams of a bucket that are so far ahead of their newest snapshot."""
        in_bucket = self._rows.of_bucket(bucket_id)
        if in_bucket is None:
            return
        table = self._commits.c
        named = [table[name].label(name) for name in ("bucketid", "streamid", "streamidoriginal") if name in table]
        statement = select(*named, func.max(table.streamrevision).label("head")).where(in_bucket)
        statement = statement.group_by(*(column.element for column in named)).order_by(table.streamid).limit(PAGE)
        page = self._ask(statement)
        while page:
            newest = self._newest_snapshots(bucket_id, [row._mapping["streamid"] for row in page])
            for row in page:
                head = int(row._mapping["head"])
                snapshot = newest.get(row._mapping["streamid"], 0)
                if head >= snapshot + max_threshold and self._rows.bucket(row) == bucket_id:
                    yield StreamHead(bucket_id, self._rows.stream(row), head, snapshot)
            page = self._ask(statement.where(table.streamid > page[-1]._mapping["streamid"]))

    def _newest_snapshots(self, bucket_id: str, keys: list[Any]) -> dict[Any, int]:
        table = self._rows.generation.snapshots
        if table is None:
            return {}
        statement = select(table.c.streamid.label("streamid")).where(table.c.streamid.in_(keys))
        if self._rows.generation.has_buckets:
            statement = statement.where(table.c.bucketid == bucket_id)
        statement = statement.add_columns(func.max(table.c.streamrevision).label("newest"))
        found = self._ask(statement.group_by(table.c.streamid))
        return {row._mapping["streamid"]: int(row._mapping["newest"]) for row in found}
