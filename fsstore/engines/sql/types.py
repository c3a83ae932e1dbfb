"""Column types: one name for what a column means, and how each database keeps it.

Chosen so that nothing is lost or altered: no time is rounded, no text compared by a language's rules, no id cut.
Knows SQLAlchemy's dialects, nothing of tables.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Integer, LargeBinary, String, Unicode, Uuid
from sqlalchemy.dialects import mssql, mysql, oracle, postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

KEY_CHARACTERS = 40
_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_TICKS_PER_MICROSECOND = 10


def _everywhere_mysql(common: TypeEngine[Any], special: TypeEngine[Any]) -> TypeEngine[Any]:
    return common.with_variant(special, "mysql", "mariadb")


Key: TypeEngine[str] = _everywhere_mysql(
    String(KEY_CHARACTERS), mysql.VARCHAR(KEY_CHARACTERS, charset="ascii", collation="ascii_bin")
).with_variant(mssql.VARCHAR(KEY_CHARACTERS, collation="Latin1_General_BIN2"), "mssql")
"""A few plain characters, compared byte by byte."""


def text(characters: int) -> TypeEngine[str]:
    """Any Unicode but NUL, never compared."""
    return _everywhere_mysql(Unicode(characters), mysql.VARCHAR(characters, charset="utf8mb4", collation="utf8mb4_bin"))


Payload: TypeEngine[bytes] = _everywhere_mysql(LargeBinary(), mysql.LONGBLOB()).with_variant(
    mssql.VARBINARY("max"),  # type: ignore[no-untyped-call]
    "mssql",
)
"""Bytes of any length; SQLAlchemy alone would give SQL Server an IMAGE and MySQL 65,535 bytes."""

Number: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
"""A token; in SQLite the word INTEGER makes the key the row's own number."""


class CommitId(TypeDecorator[UUID]):
    """A UUID as the database's own type, or as its 16 bytes."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """How `dialect` keeps it."""
        match dialect.name:
            case "postgresql" | "mssql":
                return dialect.type_descriptor(Uuid())
            case "mysql" | "mariadb":
                return dialect.type_descriptor(mysql.BINARY(16))
            case "oracle":
                return dialect.type_descriptor(oracle.RAW(16))
            case _:
                return dialect.type_descriptor(LargeBinary(16))

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> Any:
        """What is sent."""
        return value if value is None or dialect.name in ("postgresql", "mssql") else value.bytes

    def process_result_value(self, value: Any, dialect: Dialect) -> UUID | None:
        """What came back."""
        return value if value is None or isinstance(value, UUID) else UUID(bytes=bytes(value))


class CommitStamp(TypeDecorator[datetime]):
    """A time in UTC to the microsecond, from the year 1 to 9999, that sorts as time does.

    PostgreSQL: `timestamptz`. SQL Server: `datetime2(7)`, sent as text, since its drivers cut a time to
    milliseconds. Oracle: `timestamp(6)`. MySQL: ticks of 100 ns since the year 1, as NEventStore does, since its
    own type begins in the year 1000. SQLite: text.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """How `dialect` keeps it."""
        match dialect.name:
            case "postgresql":
                return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True))
            case "mssql":
                return dialect.type_descriptor(mssql.DATETIME2(7))  # type: ignore[no-untyped-call]
            case "oracle":
                return dialect.type_descriptor(oracle.TIMESTAMP())
            case "mysql" | "mariadb":
                return dialect.type_descriptor(BigInteger())
            case _:
                return dialect.type_descriptor(String(26))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """What is sent."""
        if value is None or dialect.name == "postgresql":
            return value
        if dialect.name in ("mysql", "mariadb"):
            return (value - _BEGINNING) // timedelta(microseconds=1) * _TICKS_PER_MICROSECOND
        naive = value.replace(tzinfo=None)
        if dialect.name == "oracle":
            return naive
        return naive.isoformat("T" if dialect.name == "mssql" else " ", "microseconds")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """What came back."""
        if value is None:
            return None
        if isinstance(value, int):
            return _BEGINNING + timedelta(microseconds=value // _TICKS_PER_MICROSECOND)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        assert isinstance(value, datetime)
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
