"""What a server or a database is set to by those who run it alters nothing of what is stored and read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

import fsstore
from fsstore.engines.sql.dialects import parsed
from fsstore.model import CommitAttempt, EventMessage
from fsstore.testing.attempts import first_attempt

STREAMS = ["back\\slash", "quote'", "\\'; DROP TABLE Commits; -- ", 'two "', "🦜", "a\u0308", "%s :name"]
BODY = {"bytes": bytes(range(256)), "text": "\\ ' \" \0 🦜"}


def attempt(stream_id: str) -> CommitAttempt:
    first = first_attempt(stream_id)
    return CommitAttempt(stream_id, 1, first.commit_id, 1, first.commit_stamp, {}, (EventMessage(BODY),))


def run_sql(url: str, *statements: str) -> None:
    engine = create_engine(parsed(url)[0], isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def check_that_all_comes_back(url: str) -> None:
    with fsstore.open(url) as store:
        for stream_id in STREAMS:
            stored = store.commit(attempt(stream_id))
            assert list(store.get_from(stream_id)) == [stored]

    async def check_for_tasks() -> None:
        async with fsstore.open_async(url) as store:
            for stream_id in STREAMS:
                stored = await store.commit(attempt(f"{stream_id} of a task"))
                assert [commit async for commit in store.get_from(f"{stream_id} of a task")] == [stored]

    anyio.run(check_for_tasks)


@contextmanager
def globally(url: str, variable: str, value: str) -> Iterator[None]:
    run_sql(url, f"SET @@GLOBAL.{variable} = {value}")
    try:
        yield
    finally:
        run_sql(url, f"SET @@GLOBAL.{variable} = DEFAULT")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("sql_mode", "'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'"), ("sql_mode", "''"), ("sql_safe_updates", "1")],
)
def test_a_server_of_mariadb(mariadb_databases: Any, tmp_path: Path, variable: str, value: str) -> None:
    url = mariadb_databases.url(tmp_path)
    with globally(url, variable, value):
        check_that_all_comes_back(url)
    mariadb_databases.drop(tmp_path)


@pytest.mark.parametrize(
    "setting", ["datestyle TO 'SQL, DMY'", "timezone TO 'Asia/Kolkata'", "standard_conforming_strings TO off"]
)
def test_a_database_of_postgresql(postgresql_databases: Any, tmp_path: Path, setting: str) -> None:
    url = postgresql_databases.url(tmp_path)
    run_sql(url, f"ALTER DATABASE {make_url(url).database} SET {setting}")
    check_that_all_comes_back(url)
    postgresql_databases.drop(tmp_path)


def test_a_database_of_postgresql_that_was_made_without_an_encoding(postgresql_databases: Any, tmp_path: Path) -> None:
    """As initdb makes it where the locale is C."""
    url = postgresql_databases.url(tmp_path)
    name = f"{make_url(url).database}_ascii"
    run_sql(url, f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    check_that_all_comes_back(make_url(url).set(database=name).render_as_string(hide_password=False))
    run_sql(url, f"DROP DATABASE {name}")
    postgresql_databases.drop(tmp_path)
