"""The cells of a C# store's rows that differ from database to database: GUIDs and times.

| | GUID | time (UTC, to 100 ns in C#) |
|---|---|---|
| SQLite, System.Data.SQLite | its 16 bytes in .NET's order, or text in lower case | text ending in `Z` |
| SQLite, Microsoft.Data.Sqlite | text in upper case | text without a zone |
| PostgreSQL | `uuid` | `timestamp`, or `timestamptz` since Npgsql 6; microseconds |
| MySQL | its 16 bytes in .NET's order | ticks of 100 ns since the year 1 |
| SQL Server | `uniqueidentifier` | `datetime` or `datetime2` |
| Oracle | its 16 bytes in .NET's order | `timestamp` |
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, literal

from fsstore.errors import CorruptionError
from fsstore.serialization.neventstore import scalars

_UUID_DATABASES = ("postgresql", "mssql")
_TICKS_DATABASES = ("mysql", "mariadb")
_EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC) - timedelta(milliseconds=1)


def read_uuid(cell: Any) -> UUID:
    """A GUID, however the database keeps it."""
    try:
        return scalars.uuid_from(cell)
    except (ValueError, TypeError) as error:
        raise CorruptionError(f"{cell!r:.60} is no GUID", expected="16 bytes or their text") from error


def read_ticks(cell: Any) -> int:
    """A time, however the database keeps it, as ticks since the year 1 in UTC: nothing is cut off."""
    try:
        if isinstance(cell, datetime):
            return scalars.ticks_of(cell)
        if isinstance(cell, int):
            return cell
        text = str(cell)
        fraction = text.partition(".")[2]
        seventh = int(fraction[6]) if len(fraction) > 6 and fraction[6].isdigit() else 0
        return scalars.ticks_of(datetime.fromisoformat(text)) + seventh
    except ValueError as error:
        raise CorruptionError(f"{cell!r:.60} is no time", expected="a time in UTC") from error


def stamp(ticks: int) -> datetime:
    """The time of so many ticks, cut to microseconds."""
    return scalars.datetime_from_ticks(ticks).replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cells:
    """How a database of `dialect` is asked for and given these values; `zoned`: its times have a zone; the last two
    are SQLite's, where they are what the rows show."""

    dialect: str
    zoned: bool = False
    text_guids: str = "upper"
    suffix: str = ""

    def like(self, commit_id: Any, commit_stamp: Any) -> Cells:
        """The same for a store whose rows have cells like these."""
        text_guids = "" if isinstance(commit_id, bytes) else "lower" if str(commit_id).islower() else "upper"
        suffix = "Z" if isinstance(commit_stamp, str) and commit_stamp.endswith("Z") else ""
        return Cells(self.dialect, self.zoned, text_guids, suffix)

    def uuid(self, value: UUID) -> Any:
        """The cell that holds a GUID in a row like those that are there."""
        if self.dialect in _UUID_DATABASES:
            return value
        if self.dialect == "sqlite" and self.text_guids:
            return str(value).upper() if self.text_guids == "upper" else str(value)
        return value.bytes_le

    def uuids(self, value: UUID) -> list[Any]:
        """Every cell that may hold the GUID."""
        if self.dialect == "sqlite":
            return [value.bytes_le, str(value).upper(), str(value)]
        return [self.uuid(value)]

    def time(self, value: datetime) -> Any:
        """The cell that holds a time in a row like those that are there."""
        if self.dialect in _TICKS_DATABASES:
            return scalars.ticks_of(value)
        if self.dialect != "sqlite":
            moment = value if self.zoned else value.astimezone(UTC).replace(tzinfo=None)
            return literal(moment, DateTime(timezone=self.zoned))
        text = value.astimezone(UTC).replace(tzinfo=None).isoformat(" ")
        return (text.rstrip("0") if value.microsecond else text) + self.suffix

    def earliest(self, value: datetime) -> Any:
        """A cell that no cell of a time from `value` on is below. SQLite compares text, which may have any number
        of digits, a zone or none: there it is the day before, as a zone is less than a day from UTC."""
        if self.dialect != "sqlite":
            return self.time(value)
        return f"{(max(value, _EARLIEST).astimezone(UTC) - timedelta(days=1)).date()}"

    def latest(self, value: datetime) -> Any:
        """A cell that every cell of a time before `value` is below, even if a driver cuts what it sends to
        milliseconds."""
        if self.dialect != "sqlite":
            return self.time(min(value, _LATEST) + timedelta(milliseconds=1))
        day = value.astimezone(UTC).date()
        return f"{day + timedelta(days=2)}" if day < day.max - timedelta(days=1) else "9999-12-32"
