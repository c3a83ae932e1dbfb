"""Rows as NEventStore would have written them, into the tables that it made.

The forms of the rows that are there are followed: the payloads' by `PayloadWriter`, GUIDs' and times' by `Cells`. The
table itself gives each commit its number, under a lock that keeps the numbers in the order of commits among writers
of this library; the C# library takes no such lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, TableClause, and_, delete, func, insert, or_, select, text, update

from fsstore.engines.refusals import conflict, duplicate, follows, storing, unwritable, writing_snapshot
from fsstore.engines.sql.dialects import check_size
from fsstore.engines.sql.errors import COMMITTED_AGAIN
from fsstore.engines.sql.neventstore.connecting import Connecting
from fsstore.engines.sql.neventstore.rows import MAX_BUCKET_CHARACTERS, Rows, hashed
from fsstore.engines.sql.transactions import KeyTakenError
from fsstore.errors import SerializationError, StorageUnavailableError
from fsstore.model import Commit, CommitAttempt, Snapshot, named
from fsstore.serialization.neventstore import PayloadWriter

_MAX_INT = (1 << 31) - 1
_LOCKS = {
    "postgresql": "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE",
    "mssql": "SELECT TOP 0 1 FROM {} WITH (TABLOCKX, HOLDLOCK)",
    "oracle": "LOCK TABLE {} IN EXCLUSIVE MODE",
    **dict.fromkeys(("mysql", "mariadb"), "SELECT {1} FROM {0} ORDER BY {1} LIMIT 1 FOR UPDATE"),
}
# MySQL locks the first row: new ones come behind it, so that everybody waits at the same. Where there is no row it is
# the gap that keeps others from inserting, and READ COMMITTED locks none.
ISOLATION = dict.fromkeys(("mysql", "mariadb"), "REPEATABLE READ")
_TRIES = 10


@dataclass(frozen=True, slots=True)
class Writing:
    """Writes commits and snapshots into the tables of `rows`."""

    connecting: Connecting
    rows: Rows
    payloads: PayloadWriter

    def commit_many(self, attempts: Sequence[CommitAttempt]) -> list[Commit]:
        """Store all attempts in order, or none."""
        if not attempts:
            return []
        made = [(attempt, self._row_of(attempt)) for attempt in attempts]
        what = storing(attempts)

        def store(connection: Connection) -> list[Commit]:
            self._lock(connection)
            return [self._commit(connection, attempt, row) for attempt, row in made]

        for _ in range(_TRIES):
            try:
                return self.connecting.write(store, what, COMMITTED_AGAIN)
            except KeyTakenError:
                continue  # by a program in C#, which takes no lock: now it can be seen
        raise StorageUnavailableError(f"{what}: {_TRIES} commits of others came first, one after the other: try again")

    def add_snapshot(self, snapshot: Snapshot) -> bool:
        """Store a snapshot, unless its stream has no commits or a snapshot at that revision."""
        if snapshot.stream_revision > _MAX_INT:
            raise ValueError(
                f"a revision is at most {_MAX_INT} in NEventStore's tables, not {snapshot.stream_revision}"
            )
        table = self._snapshots
        key = {
            "bucketid": snapshot.bucket_id,
            "streamid": hashed(snapshot.stream_id),
            "streamrevision": snapshot.stream_revision,
        }
        with writing_snapshot(snapshot):
            row = {**key, "payload": self.payloads.snapshot(snapshot.payload)}
        same = and_(*(table.c[name] == cell for name, cell in key.items()))

        def store(connection: Connection) -> bool:
            self._lock(connection)
            if self._head(connection, snapshot.bucket_id, snapshot.stream_id) == (0, 0):
                return False
            if connection.execute(select(table.c.streamrevision).where(same)).first() is not None:
                return False
            connection.execute(insert(table).values({table.c[name]: cell for name, cell in row.items()}))
            return True

        try:
            return self.connecting.write(store, "adding a snapshot")
        except KeyTakenError:
            return False

    def mark(self, token: int) -> None:
        """Set `Dispatched`, where there is such a column."""
        table = self._commits
        if self.rows.generation.has("dispatched"):
            flag = True if self.connecting.dialect == "postgresql" else 1
            statement = update(table).where(table.c.checkpointnumber == token)
            statement = statement.values({table.c.dispatched: flag})
            self.connecting.write(lambda connection: connection.execute(statement), "marking a commit as dispatched")

    def delete_stream(self, bucket_id: str, stream_id: str) -> None:
        """Delete a stream's snapshots and commits."""
        self._delete({"bucketid": bucket_id, "streamid": hashed(stream_id)}, "deleting a stream")

    def purge(self, bucket_id: str | None) -> None:
        """Delete the snapshots and commits of a bucket, or all."""
        self._delete({} if bucket_id is None else {"bucketid": bucket_id}, "purging")

    def _delete(self, key: dict[str, str], what: str) -> None:
        def forget(connection: Connection) -> None:
            self._lock(connection)
            for table in self._tables:
                connection.execute(delete(table).where(*(self._is(table.c[name], cell) for name, cell in key.items())))

        self.connecting.write(forget, what)

    def _is(self, column: ColumnElement[Any], text: str) -> ColumnElement[bool]:
        """That a cell is exactly this text, where the database would take another case for the same."""
        if self.connecting.dialect in ("mysql", "mariadb"):
            return and_(column == text, func.hex(column) == text.encode().hex().upper())
        if self.connecting.dialect == "mssql":
            return and_(column == text, column.collate("Latin1_General_BIN2") == text)
        return column == text

    def drop(self) -> None:
        """Drop the tables."""

        def destroy(connection: Connection) -> None:
            for table in self._tables:
                connection.execute(text(f"DROP TABLE {_quoted(connection, table)}"))

        self.connecting.write(destroy, "dropping the tables")

    # ---- tables ----

    @property
    def _commits(self) -> TableClause:
        return self.rows.generation.commits

    @property
    def _snapshots(self) -> TableClause:
        assert self.rows.generation.snapshots is not None
        return self.rows.generation.snapshots

    @property
    def _tables(self) -> tuple[TableClause, TableClause]:
        return self._snapshots, self._commits

    # ---- single steps, within a transaction ----

    def _lock(self, connection: Connection) -> None:
        """Wait until no other writer of this library is at work, and be the one until the transaction ends."""
        lock = _LOCKS.get(self.connecting.dialect)
        if lock is not None:  # SQLite's transactions begin with one
            number = connection.dialect.identifier_preparer.quote(self._commits.c.checkpointnumber.name)
            connection.execute(text(lock.format(_quoted(connection, self._commits), number)))

    def _row_of(self, attempt: CommitAttempt) -> dict[str, Any]:
        """The cells of an attempt's row, but its number."""
        if len(attempt.bucket_id) > MAX_BUCKET_CHARACTERS:
            raise ValueError(f"a bucket id has at most {MAX_BUCKET_CHARACTERS} characters in NEventStore's tables")
        if attempt.stream_revision > _MAX_INT:
            raise ValueError(f"a revision is at most {_MAX_INT} in NEventStore's tables")
        try:
            headers, payload = self.payloads.commit(attempt.headers, attempt.events)
        except SerializationError as error:
            raise unwritable(attempt, error) from error
        row = {
            "bucketid": attempt.bucket_id,
            "streamid": hashed(attempt.stream_id),
            "streamidoriginal": attempt.stream_id,
            "streamrevision": attempt.stream_revision,
            "items": len(attempt.events),
            "commitid": self.rows.cells.uuid(attempt.commit_id),
            "commitsequence": attempt.commit_sequence,
            "commitstamp": self.rows.cells.time(attempt.commit_stamp),
            "headers": headers,
            "payload": payload,
        }
        return {name: cell for name, cell in row.items() if self.rows.generation.has(name)}

    def _commit(self, connection: Connection, attempt: CommitAttempt, row: dict[str, Any]) -> Commit:
        table = self._commits
        check_size(connection, row["payload"], named(attempt))
        same = or_(*(table.c.commitid == cell for cell in self.rows.cells.uuids(attempt.commit_id)))
        stream = and_(*(table.c[name] == row[name] for name in ("bucketid", "streamid")))
        if connection.execute(select(table.c.commitsequence).where(stream, same)).first() is not None:
            raise duplicate(attempt)
        sequence, revision = self._head(connection, attempt.bucket_id, attempt.stream_id)
        if not follows(attempt, sequence, revision):
            raise conflict(attempt, sequence, revision)
        statement = insert(table).values({table.c[name]: cell for name, cell in row.items()})
        if connection.dialect.insert_returning:
            token = connection.execute(statement.returning(table.c.checkpointnumber)).scalar_one()
        else:
            token = connection.execute(statement).lastrowid
        return Commit.of(attempt, int(token))

    def _head(self, connection: Connection, bucket_id: str, stream_id: str) -> tuple[int, int]:
        """Sequence and revision of a stream's last commit."""
        table = self._commits.c
        statement = select(func.max(table.commitsequence), func.max(table.streamrevision))
        sequence, revision = connection.execute(
            statement.where(table.bucketid == bucket_id, table.streamid == hashed(stream_id))
        ).one()
        return sequence or 0, revision or 0


def _quoted(connection: Connection, table: TableClause) -> str:
    return connection.dialect.identifier_preparer.format_table(table)
