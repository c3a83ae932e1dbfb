"""The tables in the database: are they there, whose are they, and making or migrating our own.

Tables that somebody else made are never altered. Ours say their version in FsstoreStore; an older one is brought
up step by step, a newer one is refused. Creating may be interrupted anywhere and raced by others: whoever comes
next goes on with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from sqlalchemy import Connection, insert, inspect, select, update
from sqlalchemy.schema import CreateIndex, CreateTable, DropTable

from fsstore.engines.sql import tables
from fsstore.errors import StorageError

VERSION = 1

MIGRATIONS: Sequence[Callable[[Connection], None]] = ()
"""Step n brings a store of version n to version n + 1; a step may run again when it was interrupted."""


class Owner(Enum):
    """Whose tables are in the database."""

    NOBODY = "nobody"
    FSSTORE = "fsstore"
    FSSTORE_UNFINISHED = "fsstore, not finished"
    SOMEBODY_ELSE = "somebody else"


def table_names(connection: Connection) -> set[str]:
    """The tables that are there, in lower case, as databases fold names in different ways."""
    return {name.lower() for name in inspect(connection).get_table_names()}


def owner(connection: Connection) -> Owner:
    """Whose tables are there."""
    names = table_names(connection)
    if tables.store.name.lower() in names:
        return Owner.FSSTORE if version(connection) else Owner.FSSTORE_UNFINISHED
    return Owner.SOMEBODY_ELSE if {"commits", "snapshots"} & names else Owner.NOBODY


def version(connection: Connection) -> int:
    """The version of our tables; 0 while they are being made."""
    return connection.execute(select(tables.store.c.SchemaVersion)).scalar() or 0


def create(connection: Connection) -> None:
    """Make what is missing of our tables, the one that says whose they are first, and say last that they are there.

    Where others did so meanwhile, theirs are brought up to date as by `migrate`.
    """
    there = table_names(connection)
    for table in (tables.store, tables.commits, tables.snapshots, *tables.DELIVERY):
        if table.name.lower() not in there:
            connection.execute(CreateTable(table))
        known = (
            {str(index["name"]).lower() for index in inspect(connection).get_indexes(table.name.lower())}
            if (table.name.lower() in there)
            else set()
        )
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            if str(index.name).lower() not in known:
                connection.execute(CreateIndex(index))
    if version(connection):
        migrate(connection)
    else:
        connection.execute(insert(tables.store), {"Id": 1, "SchemaVersion": VERSION, "LastToken": 0})


def migrate(connection: Connection, migrations: Sequence[Callable[[Connection], None]] = MIGRATIONS) -> None:
    """Bring our tables to the newest version, each step with its number; `StorageError` for a newer store."""
    newest = len(migrations) + 1
    found = version(connection)
    if found > newest:
        raise StorageError(
            f"this store has tables of version {found}, and this fsstore knows up to {newest}: use a newer fsstore"
        )
    for number in range(found, newest):
        migrations[number - 1](connection)
        connection.execute(update(tables.store).values(SchemaVersion=number + 1))


def drop(connection: Connection) -> None:
    """Destroy our tables; the one that says whose they are goes last."""
    there = table_names(connection)
    for table in (*tables.DELIVERY, tables.snapshots, tables.commits, tables.store):
        if table.name.lower() in there:
            connection.execute(DropTable(table))
