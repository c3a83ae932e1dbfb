"""Opening a database: what is refused and what the message says, and tables that several make at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import update

import fsstore
from fsstore.engines import engine_for
from fsstore.engines.sql import schema, tables
from fsstore.engines.sql.dialects import parsed
from fsstore.engines.sql.engine import SqlEngine
from fsstore.errors import StorageError
from fsstore.testing.attempts import fill, first_attempt

PROCESSES = 2
_PROGRAM = Path(__file__).with_name("opening_process.py")
_READ_AND_CLOSE = """
import sys, fsstore
with fsstore.open(sys.argv[1]) as store:
    print(len(list(store.advanced.get_from_checkpoint())))
"""


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("postgresql://host/orders", "psycopg", "postgresql"),
        ("mysql://host/orders", "pymysql", "mysql"),
        ("mariadb://host/orders", "pymysql", "mysql"),
        ("mssql://host/orders", "pymssql", "mssql"),
        ("oracle://host/orders", "oracledb", "oracle"),
    ],
)
def test_a_driver_that_is_not_installed_is_an_error_that_names_the_extra(
    url: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"needs {module}: pip install 'fsstore\[{extra}\]'"):
        engine_for(url)


@pytest.mark.parametrize("url", ["sqlite:///{}/orders.db", "postgresql://127.0.0.1:1/orders"])
def test_an_option_that_nobody_has_is_named_with_those_that_there_are(url: str, tmp_path: Path) -> None:
    with pytest.raises(
        TypeError,
        match=r"a store in (SQLite|PostgreSQL) has no option 'bogus'; it has create, pool_size, timeout_seconds and "
        "those of SQLAlchemy's create_engine$",
    ):
        engine_for(url.format(tmp_path), bogus=1, echo=False)


@pytest.mark.parametrize("option", ["create=false", "mode=ro"])
def test_an_option_that_no_url_of_sqlite_has_is_refused(option: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=f"the URL of an SQLite database has no option '{option.partition('=')[0]}'"):
        fsstore.open(f"sqlite:///{tmp_path}/orders.db?{option}")
    assert not list(tmp_path.iterdir())
    with fsstore.open(f"sqlite:///{tmp_path}/orders.db?timeout=3") as store:
        fill(store.advanced, "stream")
    with fsstore.open(f"sqlite:///file:{tmp_path}/orders.db?mode=rw&uri=true") as store:
        assert len(list(store.get_from("stream"))) == 1


@pytest.mark.parametrize("database", ["mysql", "mariadb", "mssql", "oracle"])
def test_an_option_that_the_url_of_a_server_does_not_have_is_refused_before_it_is_asked(database: str) -> None:
    driver = {"mssql": "pymssql", "oracle": "oracledb"}.get(database, "pymysql")
    pytest.importorskip(driver, reason=f"pip install 'fsstore[{database}]'")
    path = "?service_name=orders&bogus=1" if database == "oracle" else "orders?bogus=1"
    with pytest.raises(
        TypeError,
        match=rf"^the URL {database}\+{driver}://me:\*\*\*@127\.0\.0\.1:1/.*bogus=1.* has no option 'bogus'; "
        rf"it has those of {driver}\.connect$",
    ):
        engine_for(f"{database}://me:secret@127.0.0.1:1/{path}")


@pytest.mark.parametrize("option", ["ssl_ca=a.pem&ssl_check_hostname=true", "charset=utf8mb4&connect_timeout=3"])
def test_an_option_that_is_read_on_the_way_to_the_driver_is_none_that_nobody_has(option: str) -> None:
    pytest.importorskip("pymysql", reason="pip install 'fsstore[mysql]'")
    assert parsed(f"mysql://127.0.0.1/orders?{option}")


@pytest.mark.parametrize("url", ["sqlite://orders.db", "sqlite://user@/orders.db"])
def test_a_url_of_sqlite_with_two_slashes_is_told_that_it_takes_three(url: str) -> None:
    with pytest.raises(ValueError, match=r"^an SQLite URL names a file after three slashes .*, not '.*orders\.db'$"):
        fsstore.open(url)


def test_readers_and_a_writer_of_an_sqlite_file_do_not_wait_for_one_another(tmp_path: Path) -> None:
    fsstore.open(f"sqlite:///{tmp_path}/orders.db").close()
    with closing(sqlite3.connect(tmp_path / "orders.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_second_store_in_one_process_leaves_the_first_its_locks(tmp_path: Path) -> None:
    """Without them another process takes itself for the last one, and removes the log that is in use."""
    url = f"sqlite:///{tmp_path}/orders.db"
    with fsstore.open(url) as one, fsstore.open(url):
        fill(one.advanced, "a", commits=2)
        for commits in (2, 4):
            process = [sys.executable, "-c", _READ_AND_CLOSE, url]
            assert subprocess.run(process, check=True, capture_output=True).stdout == b"%d\n" % commits
            fill(one.advanced, f"after {commits}", commits=2)


def test_tables_of_others_are_not_dropped(tmp_path: Path) -> None:
    engine = SqlEngine(f"sqlite:///{tmp_path}/orders.db")
    with engine.sqlalchemy_engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE Commits (Message TEXT)")
    for _ in range(2):  # open, then closed
        with pytest.raises(StorageError, match="a table Commits or Snapshots that fsstore did not make"):
            engine.drop()
        engine.close()
    with engine.sqlalchemy_engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM Commits").scalar() == 0
    engine.sqlalchemy_engine.dispose()


def test_who_opens_a_store_waits_for_no_writer(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/orders.db"
    with fsstore.open(url) as store:
        stored = fill(store.advanced, "stream")
    with closing(sqlite3.connect(tmp_path / "orders.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with fsstore.open(url, timeout_seconds=0) as store:
            assert list(store.get_from("stream")) == stored


def test_dropping_what_is_gone_makes_no_file(tmp_path: Path) -> None:
    engine = SqlEngine(f"sqlite:///{tmp_path}/orders.db")
    engine.drop()
    assert list(tmp_path.iterdir()) == []


def test_tables_of_a_newer_version_are_refused_and_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/orders.db"
    engine = SqlEngine(url)
    engine.initialize()
    engine.commit(first_attempt("stream"))
    with engine.sqlalchemy_engine.begin() as connection:
        connection.execute(update(tables.store).values(SchemaVersion=99))
    engine.close()
    before = (tmp_path / "orders.db").read_bytes()

    engine = SqlEngine(url)
    with pytest.raises(StorageError, match="tables of version 99, and this fsstore knows up to 1: use a newer"):
        engine.initialize()
    engine.close()
    assert (tmp_path / "orders.db").read_bytes() == before


def test_tables_that_a_newer_version_made_meanwhile_are_refused(tmp_path: Path) -> None:
    engine = SqlEngine(f"sqlite:///{tmp_path}/orders.db")
    engine.initialize()
    with engine.sqlalchemy_engine.begin() as connection:
        connection.execute(update(tables.store).values(SchemaVersion=99))
        with pytest.raises(StorageError, match="tables of version 99"):
            schema.create(connection)
    engine.close()


def test_two_processes_make_the_tables_at_once(url: str) -> None:
    opening = [
        subprocess.Popen(
            [sys.executable, _PROGRAM, url, f"stream {number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for number in range(PROCESSES)
    ]
    try:
        for process in opening:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        for process in opening:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
        for process in opening:
            process.communicate(timeout=60)
        assert [process.returncode for process in opening] == [0] * PROCESSES
    finally:
        for process in opening:
            process.kill()
            process.wait()
    engine = engine_for(url, create=False)
    engine.initialize()
    assert [commit.checkpoint_token for commit in engine.get_from_checkpoint()] == list(range(1, PROCESSES + 1))
    engine.close()
