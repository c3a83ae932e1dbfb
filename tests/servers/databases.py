"""A database for each test on an SQL server that is up: made when it is asked for, dropped at the end.

A store that nothing but the engine has touched can be emptied instead, for another test to find it without a commit:
making the tables takes longer than most tests do.
"""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from sqlalchemy import Engine, create_engine, delete, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from fsstore.engines.sql import tables
from fsstore.engines.sql.dialects import parsed


class Databases:
    """The tests' databases on the server at `url`."""

    def __init__(self, url: str, description: str) -> None:
        self.server_url = url
        self.description = description
        found, self._database = parsed(url)
        self._server = create_engine(found, isolation_level="AUTOCOMMIT")
        self._names: dict[Path, str] = {}
        self._emptied: list[str] = []
        self._stores: dict[str, Engine] = {}

    def url(self, where: Path) -> str:
        """The URL of the database for a test at `where`."""
        if where not in self._names:
            name = f"fsstore_{uuid4().hex[:20]}"
            self._run(f"CREATE DATABASE {name}")
            self._names[where] = name
        return self._url(self._names[where])

    def drop(self, where: Path) -> None:
        """Remove the database of `where`, if there is one."""
        if where in self._names:
            self._drop(self._names.pop(where))

    def store_url(self, where: Path) -> str:
        """The same, of a database that may hold a store that another test has emptied."""
        if where not in self._names and self._emptied:
            self._names[where] = self._emptied.pop()
        return self.url(where)

    def empty(self, where: Path) -> None:
        """Keep the store of `where`, if there is one, without anything in it, for another test."""
        name = self._names.pop(where, None)
        if name is None:
            return
        if name not in self._stores:
            self._stores[name] = create_engine(parsed(self._url(name))[0])
        try:
            with self._stores[name].begin() as connection:
                for table in (tables.commits, tables.snapshots, *tables.DELIVERY):
                    connection.execute(delete(table))
                connection.execute(update(tables.store).values(LastToken=0))
        except DBAPIError:  # the test has dropped the tables
            self._drop(name)
        else:
            self._emptied.append(name)

    def close(self) -> None:
        """Let go of the server."""
        for name in self._emptied:
            self._drop(name)
        self._server.dispose()

    def _drop(self, name: str) -> None:
        if name in self._stores:
            self._stores.pop(name).dispose()
        self._run(f"DROP DATABASE {name}" + (" WITH (FORCE)" if self._database.name == "PostgreSQL" else ""))

    def _url(self, name: str) -> str:
        return make_url(self.server_url).set(database=name).render_as_string(hide_password=False)

    def _run(self, statement: str) -> None:
        with self._server.connect() as connection:
            connection.exec_driver_sql(statement)
