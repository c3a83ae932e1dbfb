"""The database of a C# store: its statements and transactions, and for SQLite a file of which no byte changes.

An SQLite file is opened read-only. A file in WAL mode that nobody has open is opened as immutable too, since SQLite
would otherwise make its `-wal` and `-shm` files anew.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, Executable, NullPool, Row, create_engine

from fsstore.engines.sql.dialects import Database, prepare
from fsstore.engines.sql.errors import DONE_AGAIN
from fsstore.engines.sql.sqlite_file import is_wal_at_rest
from fsstore.engines.sql.transactions import Transactions
from fsstore.engines.under_way import UnderWay
from fsstore.errors import StoreClosedError

Result = TypeVar("Result")


class Connecting:
    """The database behind `engine`, until it is closed. `name` is what messages call it."""

    def __init__(self, engine: Engine, database: Database, name: str, timeout_seconds: float) -> None:
        self._engine = engine
        self._database = database
        self._timeout_seconds = timeout_seconds
        self._transactions = Transactions(engine, database, timeout_seconds=timeout_seconds)
        self._process = os.getpid()
        self._under_way = UnderWay()
        self.name = name
        self.dialect = engine.dialect.name
        self.is_open = True

    def anew(self) -> Connecting:
        """The same, open, also where this one is closed."""
        return Connecting(self._engine, self._database, self.name, self._timeout_seconds)

    def check(self) -> None:
        """`StoreClosedError` once it is closed, and in a process that inherited it."""
        if not self.is_open:
            raise StoreClosedError(f"{self.name} is closed; open it again")
        if self._process != os.getpid():
            raise StoreClosedError(f"{self.name} was opened before this process forked; open it anew in the child")

    def ask(self, statement: Executable) -> list[Row[Any]]:
        """The rows that one statement finds, in a transaction of its own."""
        return self.read(lambda connection: list(connection.execute(statement).all()))

    def read(self, ask: Callable[[Connection], Result]) -> Result:
        """What `ask` finds in one transaction."""
        return self._under_way.make(lambda: self._transactions.read(ask, f"reading {self.name}"), self.check)

    def write(self, change: Callable[[Connection], Result], what: str, settles: str = DONE_AGAIN) -> Result:
        """Do `change` in one transaction; as `Transactions.write`."""
        return self._under_way.make(lambda: self._transactions.write(change, what, settles), self.check)

    def close(self) -> None:
        """Let calls that began finish, then let go of the connections. Harmless when repeated."""
        self.is_open = False
        inherited = self._process != os.getpid()
        if not inherited:
            self._under_way.wait()
        # The parent goes on using connections that were inherited over a fork.
        self._engine.dispose(close=not inherited)


def sqlite_engine(path: str, database: Database, timeout_seconds: float, *, write: bool) -> Engine:
    """SQLAlchemy's engine for an SQLite file that is there; without `write`, one that changes no byte of it."""
    uri = f"file:{quote(os.path.abspath(path))}?mode={'rw' if write else 'ro'}"

    def connect() -> sqlite3.Connection:
        untouched = "&immutable=1" if not write and is_wal_at_rest(path) else ""
        return sqlite3.connect(uri + untouched, uri=True, timeout=timeout_seconds, check_same_thread=False)

    engine = create_engine(
        URL.create("sqlite", database=path), creator=connect, poolclass=NullPool, hide_parameters=True
    )
    prepare(engine, database, timeout_seconds)
    return engine
