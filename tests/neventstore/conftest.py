"""The stores that C# wrote, each in its database: files for SQLite, dumps loaded into private servers."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy
from servers import mariadb, postgresql
from sqlalchemy.pool import NullPool

from tests.neventstore.samples import DATA

Make = Callable[[str], str]


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    with postgresql.running() as url:
        yield url


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[str]:
    with mariadb.running() as url:
        yield url


def _statement(url: str, *statements: str) -> None:
    url = url.replace("postgresql:", "postgresql+psycopg:").replace("mysql:", "mysql+pymysql:")
    engine = sqlalchemy.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.fixture(scope="session")
def postgresql_store(postgresql_server: str) -> str:
    """The URL of a database with the PostgreSQL sample."""
    _statement(postgresql_server, "CREATE DATABASE sample")
    url = postgresql_server.rpartition("/")[0] + "/sample"
    postgresql.run_sql(url, gzip.decompress((DATA / "nes10-postgresql-json.sql.gz").read_bytes()))
    return url


@pytest.fixture(scope="session")
def mysql_store(mysql_server: str) -> str:
    """The URL of a database with the MySQL sample."""
    return loaded_mysql(mysql_server, "sample")


def loaded_mysql(server: str, name: str) -> str:
    """The URL of a new database of that name with the MySQL sample."""
    _statement(server, f"CREATE DATABASE {name}")
    url = f"{server.rpartition('/')[0]}/{name}"
    script = gzip.decompress((DATA / "nes10-mysql-deflated.sql.gz").read_bytes()).decode()
    lines = [line for line in script.splitlines() if not line.startswith(("/*M!", "--"))]
    _statement(url, *(each.replace("%", "%%") for each in "\n".join(lines).split(";\n") if each.strip()))
    return url
