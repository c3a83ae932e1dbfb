"""Connections to a C# store's database: one for each statement, and for SQLite such that no byte changes.

An SQLite file is opened read-only. A file in WAL mode that nobody has open is opened as immutable too, since SQLite
would otherwise make its `-wal` and `-shm` files anew.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from fsstore.errors import StorageError, StorageUnavailableError, StoreClosedError

_WAL_VERSIONS = b"\x02\x02"
_BUSY_SECONDS = 30


class Connecting:
    """The database behind `engine`, until it is closed."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self.is_open = True

    @property
    def dialect(self) -> str:
        """SQLAlchemy's name for the kind of database."""
        return self._engine.dialect.name

    def check(self) -> None:
        """`StoreClosedError` once it is closed."""
        if not self.is_open:
            raise StoreClosedError(f"the store at {self._name} is closed; open it again")

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection for reading, given back at the end."""
        self.check()
        with self._errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A connection in a transaction of its own, committed at the end."""
        self.check()
        with self._errors(), self._engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Let go of the connections. Harmless when repeated."""
        self.is_open = False
        self._engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            raise StorageUnavailableError(f"the database {self._name} does not answer: {error.orig}") from error
        except DBAPIError as error:
            raise StorageError(f"the database {self._name} refused: {error.orig}") from error
        except SQLAlchemyError as error:
            raise StorageError(f"the database {self._name}: {error}") from error


def sqlite_engine(path: str, *, write: bool) -> Engine:
    """SQLAlchemy's engine for an SQLite file that is there; without `write`, one that changes no byte of it."""
    mode = "mode=rw" if write else "mode=ro"
    if not write and _is_wal_at_rest(path):
        mode += "&immutable=1"
    uri = f"file:{quote(os.path.abspath(path))}?{mode}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, check_same_thread=False)

    return create_engine(URL.create("sqlite", database=path), creator=connect, poolclass=NullPool)


def _is_wal_at_rest(path: str) -> bool:
    with open(path, "rb") as file:
        header = file.read(20)
    return header[18:20] == _WAL_VERSIONS and not os.path.exists(path + "-wal")
