"""What SQL Server and Oracle are told, which no test here can ask: tables and statements as compiled, word for word.

`statements/<dialect>.sql` holds them. After a change that is meant, write them anew and read the difference:

    FSSTORE_WRITE_STATEMENTS=1 pytest tests/sql/test_statements.py
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from fsstore.engines.sql import reads, schema, tables, tokens, writes
from fsstore.engines.sql.rows import Rows
from fsstore.engines.sql.types import CommitStamp
from fsstore.serialization import MsgpackSerializer

_STORED = Path(__file__).with_name("statements")
NAMES = ["sqlite", "postgresql", "mysql", "mssql", "oracle"]


def dialect_of(name: str) -> Dialect:
    dialect: Dialect = import_module(f"sqlalchemy.dialects.{name}").dialect()
    return dialect


def text(name: str) -> str:
    dialect = dialect_of(name)
    statements = []
    for table in tables.metadata.sorted_tables:
        statements.append(CreateTable(table))
        statements += [CreateIndex(index) for index in sorted(table.indexes, key=lambda each: str(each.name))]
    take = tokens._take_naming if name == "mysql" else tokens._take_returning
    statements += [take, writes._insert_following, writes._insert, writes._followed, writes._head, writes._known]
    statements += [writes._has_commits, writes._has_snapshot]
    statements += [reads._stream, reads._stream_up_to, reads._in_order, reads._newest_snapshot, reads._heads]
    lines = [str(statement.compile(dialect=dialect)).strip() for statement in statements]
    return "\n;\n".join("\n".join(line.rstrip() for line in each.splitlines()) for each in lines) + "\n"


@pytest.mark.parametrize("name", NAMES)
def test_statements_are_as_stored(name: str) -> None:
    stored = _STORED / f"{name}.sql"
    if os.environ.get("FSSTORE_WRITE_STATEMENTS"):
        stored.parent.mkdir(exist_ok=True)
        stored.write_text(text(name), "utf-8")
    assert text(name) == stored.read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_no_type_loses_anything(name: str) -> None:
    words = text(name).replace("(", " ").replace(",", " ").split()
    assert not {"DATETIME", "IMAGE", "DATE", "TEXT", "NTEXT", "BLOB"} & set(words) - (
        {"BLOB"} if name in ("sqlite", "oracle") else set()
    )


def test_sql_server_gets_every_digit_of_a_time() -> None:
    moment = datetime(2024, 2, 29, 12, 0, 0, 123_457, tzinfo=UTC)
    assert CommitStamp().process_bind_param(moment, dialect_of("mssql")) == "2024-02-29T12:00:00.123457"
    assert CommitStamp().process_result_value("2024-02-29 12:00:00.1234570", dialect_of("mssql")) == moment


def test_nothing_is_asked_with_an_empty_text() -> None:
    """Oracle takes it for NULL, to which nothing compares."""
    with create_engine("sqlite://").connect() as connection:
        schema.create(connection)
        asked: list[dict[str, Any]] = []
        event.listen(connection, "before_execute", lambda *said: asked.append(said[3]))
        for ask in (reads.heads("bucket", 1), reads.undispatched(Rows(MsgpackSerializer()))):
            assert list(ask(None, 10, connection).items) == []
    assert len(asked) == 2
    assert [value for values in asked for value in values.values() if value == ""] == []
