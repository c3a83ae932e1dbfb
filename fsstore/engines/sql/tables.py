"""The tables of a store that fsstore made: NEventStore's `Commits` and `Snapshots`, and our own beside them.

Same names, columns and keys as NEventStore.Persistence.SQL; what differs, and why, is in docs/sql.md. Names stand
unquoted, so that every database folds them as it does for the C# library. Knows no form of payload.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import DDLCompiler
from sqlalchemy.types import TypeEngine

from fsstore.engines.sql import types

_ORIGINAL_CHARACTERS = 2_000  # 1,000, each escaped in the worst case

metadata = MetaData()


class _PrimaryKey(PrimaryKeyConstraint):
    """A primary key with a name, but on MySQL and MariaDB, which ignore it with a warning that asyncmy logs."""


@compiles(_PrimaryKey, "mysql", "mariadb")
def _without_name(key: _PrimaryKey, compiler: DDLCompiler, **_options: Any) -> str:
    return f"PRIMARY KEY ({', '.join(compiler.preparer.format_column(each) for each in key.columns)})"


def _column(name: str, kind: TypeEngine[Any] | type[TypeEngine[Any]], **options: Any) -> Column[Any]:
    return Column(name, kind, quote=False, **{"nullable": False, **options})


def _index(name: str, table: Table, *columns: str, unique: bool = False, **options: Any) -> Index:
    return Index(name, *(table.c[column] for column in columns), unique=unique, quote=False, **options)


def _table(name: str, *parts: Any) -> Table:
    return Table(name, metadata, *parts, quote=False, mysql_engine="InnoDB", mariadb_engine="InnoDB")


commits = _table(
    "Commits",
    _column("BucketId", types.Key),
    _column("BucketIdOriginal", types.text(_ORIGINAL_CHARACTERS), nullable=True),
    _column("StreamId", types.Key),
    _column("StreamIdOriginal", types.text(_ORIGINAL_CHARACTERS)),
    _column("StreamRevision", Integer),
    _column("Items", Integer),
    _column("CommitId", types.CommitId),
    _column("CommitSequence", Integer),
    _column("CommitStamp", types.CommitStamp),
    _column("CheckpointNumber", types.Number, autoincrement=False),
    _column("Dispatched", SmallInteger, server_default=text("0")),
    _column("Headers", types.Payload, nullable=True),
    _column("Payload", types.Payload),
    _PrimaryKey("CheckpointNumber", name="PK_Commits"),
    CheckConstraint("StreamRevision > 0"),
    CheckConstraint("Items > 0"),
    CheckConstraint("CommitSequence > 0"),
)
_index("IX_Commits_CommitSequence", commits, "BucketId", "StreamId", "CommitSequence", unique=True)
_index("IX_Commits_CommitId", commits, "BucketId", "StreamId", "CommitId", unique=True)
_index("IX_Commits_Revisions", commits, "BucketId", "StreamId", "StreamRevision", "Items", unique=True)
_index("IX_Commits_Stamp", commits, "CommitStamp")
_index("IX_Commits_Bucket_Checkpoint", commits, "BucketId", "CheckpointNumber")
_index("IX_Commits_Bucket_Stamp", commits, "BucketId", "CommitStamp")
_undispatched = commits.c.Dispatched == 0
_index(
    "IX_Commits_Dispatched",
    commits,
    "Dispatched",
    "CheckpointNumber",
    sqlite_where=_undispatched,
    postgresql_where=_undispatched,
    mssql_where=_undispatched,
)

snapshots = _table(
    "Snapshots",
    _column("BucketId", types.Key),
    _column("StreamId", types.Key),
    _column("StreamRevision", Integer),
    _column("Payload", types.Payload),
    _PrimaryKey("BucketId", "StreamId", "StreamRevision", name="PK_Snapshots"),
    CheckConstraint("StreamRevision > 0"),
)

store = _table(
    "FsstoreStore",
    _column("Id", SmallInteger, autoincrement=False),
    _column("SchemaVersion", Integer),
    _column("LastToken", types.Number),
    _PrimaryKey("Id", name="PK_FsstoreStore"),
)
"""One row. That it is there says whose store this is; its lock is what commits queue at."""

checkpoints = _table(
    "FsstoreCheckpoints",
    _column("NameKey", types.Key),
    _column("Name", types.text(400)),
    _column("Value", types.Payload),
    _PrimaryKey("NameKey", name="PK_FsstoreCheckpoints"),
)

leases = _table(
    "FsstoreLeases",
    _column("NameKey", types.Key),
    _column("Name", types.text(400)),
    _column("Holder", types.Key, nullable=True),
    _column("Fence", types.Number),
    _column("ExpiresAt", Double),
    _PrimaryKey("NameKey", name="PK_FsstoreLeases"),
)

DELIVERY = (checkpoints, leases)
