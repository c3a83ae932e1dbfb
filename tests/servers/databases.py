"""A database for each test on an SQL server that is up: made when it is asked for, dropped at the end."""

from __future__ import annotations

from hashlib import sha1
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from fsstore.engines.sql.dialects import parsed


class Databases:
    """The tests' databases on the server at `url`."""

    def __init__(self, url: str, description: str) -> None:
        self.server_url = url
        self.description = description
        found, self._database = parsed(url)
        self._server = create_engine(found, isolation_level="AUTOCOMMIT")
        self._made: set[str] = set()

    def url(self, where: Path) -> str:
        """The URL of the database for a test at `where`."""
        name = "fsstore_" + sha1(str(where).encode()).hexdigest()[:20]
        if name not in self._made:
            self._run(f"CREATE DATABASE {name}")
            self._made.add(name)
        return make_url(self.server_url).set(database=name).render_as_string(hide_password=False)

    def drop(self, where: Path) -> None:
        """Remove the database of `where`."""
        name = make_url(self.url(where)).database
        assert name is not None
        self._run(f"DROP DATABASE {name}" + (" WITH (FORCE)" if self._database.name == "PostgreSQL" else ""))
        self._made.discard(name)

    def close(self) -> None:
        """Let go of the server."""
        self._server.dispose()

    def _run(self, statement: str) -> None:
        with self._server.connect() as connection:
            connection.exec_driver_sql(statement)
