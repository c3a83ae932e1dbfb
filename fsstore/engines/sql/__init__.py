"""The SQL engine: SQLite, PostgreSQL, MySQL and MariaDB, SQL Server, Oracle, through SQLAlchemy. See docs/sql.md."""

from __future__ import annotations

from typing import Any

from fsstore.engine import PersistenceEngine
from fsstore.serialization import Serializer


def open_engine(url: str, *, serializer: Serializer | None = None, **options: Any) -> PersistenceEngine:
    """The engine for a database's URL, not yet initialized; the options are those of `SqlEngine`. A database is
    asked whose store it holds before anything else: nothing is made in one that a C# library wrote."""
    try:
        from fsstore.engines.sql.engine import SqlEngine
        from fsstore.engines.sql.neventstore.opening import open_csharp_store
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "sqlalchemy":
            raise
        raise ImportError("a store in an SQL database needs SQLAlchemy: pip install 'fsstore[sql]'") from error
    engine = SqlEngine(url, serializer=serializer, **options)  # checks the options, and connects to nothing
    found = open_csharp_store(url, serializer, **options)
    return found if found is not None else engine
