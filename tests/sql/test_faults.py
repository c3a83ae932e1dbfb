"""Databases that no other try would open or read: what is wrong is said at once, with the file's or database's name."""

from __future__ import annotations

import errno
import os
import re
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from fsstore.engine import PersistenceEngine
from fsstore.engines.sql import sqlite_file
from fsstore.engines.sql.dialects import DATABASES
from fsstore.engines.sql.engine import SqlEngine
from fsstore.engines.sql.errors import Verdict, judged, storage_error
from fsstore.engines.threaded import awaiting
from fsstore.engines.waiting import TaskWaiting, ThreadWaiting
from fsstore.errors import CorruptionError, StorageError, StorageUnavailableError
from fsstore.model import EventMessage, Snapshot
from fsstore.testing import AwaitedEngine
from fsstore.testing.attempts import fill, first_attempt, next_attempt

PAGE_BYTES = 4096
Opening = Callable[[str], PersistenceEngine]


@pytest.fixture(params=["threads", "tasks"])
def open_engine(request: pytest.FixtureRequest) -> Opening:
    """The engine as it is, or its twin for tasks."""
    if request.param == "threads":
        return SqlEngine
    return lambda url: AwaitedEngine(lambda: awaiting(SqlEngine(url)))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is tried again."""

    def sleep(self: object, seconds: float) -> None:
        raise AssertionError("it was tried again")

    for waiting in (ThreadWaiting, TaskWaiting):
        monkeypatch.setattr(waiting, "sleep", sleep)


def pages(path: Path) -> bytearray:
    """The database, with a store of several pages in it, that can be damaged and written back."""
    engine = SqlEngine(f"sqlite:///{path}")
    engine.initialize()
    for number in range(10):
        fill(engine, f"stream {number}", commits=10)
    engine.close()
    data = bytearray(path.read_bytes())
    assert len(data) > 10 * PAGE_BYTES
    return data


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("notes.txt", "is no SQLite database: name another path, or move that file away"),
        ("none/orders.db", "cannot be made, its directory does not exist: make it or name another path"),
        ("directory", "is a directory: name a file in it"),
        ("notes.txt/orders.db", "cannot be opened (Not a directory): name another path"),
        ("x" * 300, "cannot be opened (File name too long): name another path"),
        ("/proc/orders.db", "cannot be made in its directory: see to the permissions there, or name another path"),
    ],
)
def test_a_path_that_can_hold_no_database_is_refused(
    name: str, said: str, open_engine: Opening, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("notes that somebody took\n" * 100)
    (tmp_path / "directory").mkdir()
    path = tmp_path / name
    engine = open_engine(f"sqlite:///{path}")
    with pytest.raises(StorageError, match=re.escape(f"{path} {said}")) as raised:
        engine.initialize()
    assert type(raised.value) is StorageError
    assert (tmp_path / "notes.txt").read_text().startswith("notes")
    engine.close()


def test_a_file_that_cannot_be_made_for_want_of_handles_may_be_made_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    path, said = str(tmp_path / "orders.db"), "unable to open database file"
    assert sqlite_file.fault(path, said) is not None
    monkeypatch.setattr(os, "open", refuse)
    assert sqlite_file.fault(path, said) is None


def test_a_file_that_may_not_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, said = tmp_path / "orders.db", "unable to open database file"
    path.touch()
    assert sqlite_file.fault(str(path), said) is None
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # for the superuser it is never so
    assert "may not be read and written by this user" in str(sqlite_file.fault(str(path), said))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (slice(1 * PAGE_BYTES, 2 * PAGE_BYTES), "malformed"),  # the row that says whose tables they are
        (slice(100, PAGE_BYTES), "malformed"),  # the names of the tables
        (slice(16, 24), "not a database"),  # after the letters by which SQLite knows its files
    ],
)
def test_a_damaged_file_is_said_on_opening(damage: slice, said: str, open_engine: Opening, tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    data = pages(path)
    data[damage] = b"\xff" * len(data[damage])
    path.write_bytes(data)
    engine = open_engine(f"sqlite:///{path}")
    with pytest.raises(CorruptionError, match=said) as raised:
        engine.initialize()
    assert (raised.value.path, raised.value.expected) == (str(path), "what was stored")
    assert "backup" in str(raised.value.repair)
    assert path.read_bytes() == data
    engine.close()


@pytest.mark.usefixtures("at_once")
def test_damage_that_a_read_or_a_commit_meets_is_said(open_engine: Opening, tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    data = pages(path)
    start = 3 * PAGE_BYTES  # the commits
    data[start : start + PAGE_BYTES] = b"\xff" * PAGE_BYTES
    path.write_bytes(data)
    engine = open_engine(f"sqlite:///{path}")
    engine.initialize()
    calls: list[Callable[[], Any]] = [
        lambda: list(engine.get_from_checkpoint()),
        lambda: engine.commit(first_attempt("new")),
    ]
    for call in calls:
        with pytest.raises(CorruptionError, match="SQLite found damage") as raised:
            call()
        assert raised.value.path == str(path)
    engine.close()


@pytest.mark.parametrize("who", ["threads", "tasks"])
def test_nobody_waits_longer_for_another_process_because_others_of_this_one_do(who: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/orders.db"
    blocking = SqlEngine(url, timeout_seconds=1)
    blocking.initialize()
    engine = blocking if who == "threads" else AwaitedEngine(lambda: awaiting(blocking))
    failed: list[float] = []

    def commit(number: int) -> None:
        begun = time.monotonic()
        with pytest.raises(StorageUnavailableError, match="try again later") as raised:
            engine.commit(first_attempt(f"stream {number}"))
        assert not raised.value.in_doubt
        failed.append(time.monotonic() - begun)

    with closing(sqlite3.connect(f"{tmp_path}/orders.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        threads = [Thread(target=commit, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        other.execute("ROLLBACK")
    assert len(failed) == 6
    assert max(failed) < 4
    fill(engine, "afterwards")
    engine.close()


def test_a_file_that_is_read_only_where_tables_are_to_be_made_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ThreadWaiting, "sleep", lambda self, seconds: None)
    (tmp_path / "orders.db").touch()
    engine = SqlEngine(f"sqlite:///file:{tmp_path}/orders.db?mode=ro&uri=true")
    with pytest.raises(StorageUnavailableError, match=r"making the tables in .*readonly"):
        engine.initialize()
    engine.close()


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("server", ["postgresql", "mariadb"])
@pytest.mark.parametrize("wrong", [{"database": "nowhere"}, {"username": "nobody", "password": "wrong"}])
def test_what_a_server_does_not_let_in_is_refused(
    server: str, wrong: dict[str, str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    databases: Any = request.getfixturevalue(f"{server}_databases")
    url = make_url(databases.url(tmp_path)).set(**wrong)
    engine = SqlEngine(url.render_as_string(hide_password=False))
    with pytest.raises(StorageError, match=f"refused.*{next(iter(wrong.values()))}") as raised:
        engine.initialize()
    assert type(raised.value) is StorageError
    engine.close()
    databases.drop(tmp_path)


class DriverError(Exception):
    """An error of a driver."""

    def __init__(self, said: str, sqlstate: str | None = None) -> None:
        super().__init__(said)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("database", "said"),
    [
        ("postgresql", DriverError("invalid page in block 3", "XX001")),
        ("mysql", DriverError('(1712, "Index Commits is corrupted")')),
        ("mssql", DriverError("(824, b'SQL Server detected a logical consistency-based I/O error')")),
        ("oracle", DriverError("ORA-01578: ORACLE data block corrupted")),
    ],
)
def test_damage_that_a_server_finds_is_said(database: str, said: DriverError) -> None:
    found = DATABASES[database]
    error = DBAPIError("SELECT", {}, said)
    verdict = judged(error, found, committing=False)
    assert verdict is Verdict.DAMAGED
    assert isinstance(storage_error(error, verdict, found, "reading"), CorruptionError)


@pytest.mark.parametrize(
    ("database", "said"),
    [
        ("postgresql", 'connection failed: FATAL:  password authentication failed for user "orders"'),
        ("postgresql", 'invalid connection option "bogus"'),
        ("postgresql", 'connection is bad: invalid sslmode value: "bogus"'),
        ("postgresql", "bad value for connect_timeout: 'x'"),
        ("mssql", "(18456, b\"Login failed for user 'orders'\")"),
        ("oracle", "ORA-01017: invalid username/password; logon denied"),
    ],
)
def test_what_no_other_try_changes_is_not_tried_again(database: str, said: str) -> None:
    for each, verdict in ((said, Verdict.FAILED), ("no answer", Verdict.RECONNECT)):
        error = DBAPIError(None, None, DriverError(each))
        assert judged(error, DATABASES[database], committing=False) is verdict


@pytest.mark.parametrize("who", ["threads", "tasks"])
def test_what_the_server_takes_no_statement_of_is_no_lost_connection(
    who: str, mariadb_databases: Any, tmp_path: Path
) -> None:
    """MariaDB closes the connection on a statement that is too long, whatever is tried again."""
    url = mariadb_databases.url(tmp_path)
    engine = SqlEngine(url) if who == "threads" else AwaitedEngine(lambda: awaiting(SqlEngine(url)))
    engine.initialize()
    [stored] = fill(engine, "stream")
    large = EventMessage(bytes(17 << 20))
    with pytest.raises(ValueError, match=r"commit .* of stream 'stream' .* make its max_allowed_packet larger"):
        engine.commit(next_attempt(stored, events=[large]))
    with pytest.raises(ValueError, match=r"a snapshot of stream 'stream' .* max_allowed_packet"):
        engine.add_snapshot(Snapshot("stream", 1, bytes(17 << 20)))
    commit = engine.commit(next_attempt(stored, events=[EventMessage(bytes(3 << 20))]))
    assert list(engine.get_from_checkpoint(1)) == [commit]
    engine.close()
    mariadb_databases.drop(tmp_path)


@pytest.mark.parametrize("database", ["postgresql", "mysql"])
def test_a_server_that_never_answers_is_not_waited_for_again_and_again(database: str) -> None:
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    accepted.append(server.accept()[0])

        Thread(target=accept, daemon=True).start()
        engine = SqlEngine(
            f"{database}://orders@127.0.0.1:{server.getsockname()[1]}/orders",
            timeout_seconds=2,
            connect_args={"read_timeout": 1} if database == "mysql" else {},
        )
        with pytest.raises(StorageUnavailableError, match="nothing was stored"):
            engine.initialize()
        assert 2 <= len(accepted) <= 4
        engine.close()
        server.shutdown(socket.SHUT_RDWR)
    for each in accepted:
        each.close()
