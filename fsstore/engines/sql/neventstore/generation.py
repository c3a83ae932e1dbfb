"""Whose tables these are: recognized by their columns, with what this generation of the C# library has and has not.

NEventStore 5 and later numbers its commits (`CheckpointNumber`) and keeps a stream's id hashed beside the original;
4 has no number; JOliver EventStore 3.x has neither buckets nor numbers, and a GUID is the stream's id. `Dispatched`
went with 6, `Items` came with 3. A store that fsstore made has these tables too, and one of its own that says so.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnClause, Connection, TableClause, column, inspect, table
from sqlalchemy.exc import SAWarning

OWN_TABLE = "fsstorestore"
_ALWAYS = {"streamid", "commitid", "commitsequence", "commitstamp", "streamrevision", "payload"}
_KNOWN = _ALWAYS | {"bucketid", "streamidoriginal", "items", "checkpointnumber", "dispatched", "headers"}


@dataclass(frozen=True, slots=True)
class Generation:
    """The tables as they are, and which of the columns that not every generation has are there.

    The tables' columns go by their names in lower case; `zoned` says whether a commit's stamp has a time zone.
    """

    commits: TableClause
    snapshots: TableClause | None
    zoned: bool

    def has(self, name: str) -> bool:
        """Whether `Commits` has the column."""
        return name in self.commits.c

    @property
    def is_numbered(self) -> bool:
        """Whether the database gave each commit its checkpoint token: NEventStore 5 and later."""
        return self.has("checkpointnumber")

    @property
    def has_buckets(self) -> bool:
        """Whether streams are in buckets and their ids hashed: NEventStore 4 and later."""
        return self.has("bucketid") and self.has("streamidoriginal")

    def __str__(self) -> str:
        if self.is_numbered:
            return "NEventStore 5 or later"
        return "NEventStore 4" if self.has_buckets else "JOliver EventStore 3.x"


def recognized(connection: Connection) -> Generation | None:
    """The generation of a C# library whose tables the database holds; `None`: none, or fsstore's own. Only reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # "guid" is a type to C# alone
        inspector = inspect(connection)
        names = {name.casefold(): name for name in inspector.get_table_names()}
        if "commits" not in names or OWN_TABLE in names:
            return None
        columns = inspector.get_columns(names["commits"])
        snapshots = inspector.get_columns(names["snapshots"]) if "snapshots" in names else None
    found = {each["name"].casefold(): each for each in columns}
    if not found.keys() >= _ALWAYS:
        return None
    return Generation(
        _table(names["commits"], [each["name"] for each in columns]),
        None if snapshots is None else _table(names["snapshots"], [each["name"] for each in snapshots]),
        bool(getattr(found["commitstamp"]["type"], "timezone", False)),
    )


def _table(name: str, columns: list[str]) -> TableClause:
    """The table with columns of no type, so that values come as the driver has them, under names in lower case."""
    found: list[ColumnClause[Any]] = [column(each) for each in columns if each.casefold() in _KNOWN]
    for each in found:
        each.key = each.name.casefold()
    return table(name, *found)
