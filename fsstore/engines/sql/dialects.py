"""What differs from database to database, in one place: drivers, connections, clocks, and the meaning of errors.

Knows SQLAlchemy and the drivers' manners; no table, no statement about commits.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from sqlalchemy import URL, ColumnElement, Connection, Double, Engine, event, literal_column
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from fsstore.engines import without_password
from fsstore.options import check_options, no_option

WRITES = "fsstore_writes"
"""The execution option of a connection whose transaction is going to write."""
OUTSIDE = "fsstore_outside"
"""The execution option of a connection on which SQLite begins no transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One kind of database."""

    name: str
    driver: str
    """What SQLAlchemy calls the driver that is used unless the URL names one."""
    modules: Mapping[str, str]
    """Driver to the module that must be there."""
    extra: str
    """The extra of fsstore that installs the driver."""
    now: ColumnElement[float]
    """Seconds since 1970 by the database's clock."""
    connect_arguments: Callable[[float], dict[str, Any]]
    """What the driver is given: timeouts in seconds."""
    asyncio_driver: str | None = None
    """What SQLAlchemy calls the driver for tasks, and its module too; without, tasks use threads."""
    asyncio_arguments: Callable[[float], dict[str, Any]] | None = None
    """What that driver is given, where it has other arguments than the one that waits."""
    session: tuple[str, ...] = ()
    """What is said on every new connection."""
    lock_timeout: str | None = None
    """Said on every new connection, with milliseconds or seconds filled in."""
    isolation: str | None = "READ COMMITTED"
    one_writer: bool = False
    """Writers are better queued here than by the database, which makes them sleep and try again."""
    before_creating: Callable[[Connection], object] | None = None
    """Done before the tables are made, outside of every transaction."""
    again: re.Pattern[str] = field(default=re.compile("(?!)"))
    """In errors after which the transaction is rolled back and may be tried again at once: deadlocks and the like."""
    unavailable: re.Pattern[str] = field(default=re.compile("(?!)"))
    """In errors that pass when somebody else has done something: full, read-only, shutting down."""
    undone: re.Pattern[str] = field(default=re.compile("(?!)"))
    """In errors of COMMIT after which nothing of the transaction is there, nor will be after a crash."""
    refuses: re.Pattern[str] = field(default=re.compile("(?!)"))
    """In errors of connecting that stay until somebody does something: no such database, a wrong password."""
    damaged: re.Pattern[str] = field(default=re.compile("(?!)"))
    """In errors about what is stored not being what it was."""
    duplicate: re.Pattern[str] = field(default=re.compile("(?!)"))
    """In errors about a key that is there already."""


def _mysql_arguments(seconds: float) -> dict[str, Any]:
    timeout_seconds = max(1, round(seconds))
    return {"connect_timeout": timeout_seconds, "read_timeout": timeout_seconds + 10, "charset": "utf8mb4"}


def _now(expression: str) -> ColumnElement[float]:
    return literal_column(expression, Double())


_MYSQL: dict[str, Any] = {
    "driver": "pymysql",
    "modules": {"pymysql": "pymysql"},
    "extra": "mysql",
    "now": _now("UNIX_TIMESTAMP(SYSDATE(6))"),
    "connect_arguments": lambda seconds: {**_mysql_arguments(seconds), "write_timeout": max(1, round(seconds)) + 10},
    # Not aiomysql, which fails on bytes with the PyMySQL of today, and knows no timeout for answers.
    "asyncio_driver": "asyncmy",
    "asyncio_arguments": _mysql_arguments,
    # asyncmy escapes with backslashes, whatever the server says. The tokens are counted without a WHERE.
    "session": (
        "SET SESSION sql_mode = CONCAT(REPLACE(@@sql_mode, 'NO_BACKSLASH_ESCAPES', ''), ',STRICT_ALL_TABLES'), "
        "SESSION time_zone = '+00:00', SESSION sql_safe_updates = 0",
    ),
    "lock_timeout": "SET SESSION innodb_lock_wait_timeout = {seconds}",
    # deadlock, also Galera's certification failure
    "again": re.compile(r"\(1213,"),
    # lock wait timeout, read-only, shutting down, too many connections, disk full, not part of a cluster
    "unavailable": re.compile(r"\((1205|1290|1836|1053|1040|1021|1114|1047),"),
    # access denied for the user or to the database, no such database
    "refuses": re.compile(r"\((1044|1045|1049|1698),"),
    # a table that crashed, an index or a table that is corrupt
    "damaged": re.compile(r"\((1194|1712|1877),"),
    "duplicate": re.compile(r"\(1062,"),
}


def _write_ahead(connection: Connection) -> None:
    """SQLite: readers and a writer do not wait for one another. The file remembers it."""
    connection.exec_driver_sql("PRAGMA journal_mode = WAL")


DATABASES = {
    "sqlite": Database(
        name="SQLite",
        driver="pysqlite",
        modules={"pysqlite": "sqlite3"},
        asyncio_driver="aiosqlite",
        extra="sql",
        now=_now("((julianday('now') - 2440587.5) * 86400.0)"),
        connect_arguments=lambda seconds: {"timeout": seconds, "check_same_thread": False},
        # Durable when COMMIT returns, also in WAL mode.
        session=("PRAGMA synchronous = FULL",),
        isolation=None,
        one_writer=True,
        before_creating=_write_ahead,
        unavailable=re.compile("database is locked|database table is locked|disk is full|disk I/O error|readonly"),
        # Not one of flushing the log: whoever opens it after a crash finds the commit in it.
        undone=re.compile("^SQLITE_(FULL|BUSY|IOERR_WRITE)"),
        damaged=re.compile("database disk image is malformed|file is not a database"),
        duplicate=re.compile("UNIQUE constraint failed"),
    ),
    "postgresql": Database(
        name="PostgreSQL",
        driver="psycopg",
        modules={"psycopg": "psycopg"},
        asyncio_driver="psycopg",
        extra="postgresql",
        now=_now("CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"),
        connect_arguments=lambda seconds: {
            "client_encoding": "utf8",
            "connect_timeout": max(2, round(seconds)),
            "keepalives_idle": 30,
            "tcp_user_timeout": round(seconds * 1000) + 10_000,
        },
        # The driver reads times in no other style.
        session=("SET TIME ZONE 'UTC'", "SET DateStyle = 'ISO'"),
        lock_timeout="SET lock_timeout = {milliseconds}",
        again=re.compile("^(40001|40P01) "),
        # lock timeout, read-only, out of resources, shutting down
        unavailable=re.compile("^(55P03|25006|53...|57P0.) "),
        # Of errors of connecting there is only the text.
        refuses=re.compile(
            "^(28...|3D000) |(database|role) .* does not exist|authentication failed|no password|no pg_hba.conf|"
            r"^- (.*: )?(invalid (connection option|\w+ value|port number)|bad value for)"
        ),
        damaged=re.compile("^XX00[12] "),
        duplicate=re.compile("^23505 "),
    ),
    "mysql": Database(name="MySQL", **_MYSQL),
    "mariadb": Database(name="MariaDB", **_MYSQL),
    "mssql": Database(
        name="SQL Server",
        driver="pymssql",
        modules={"pymssql": "pymssql", "pyodbc": "pyodbc", "mssqlpython": "mssql_python"},
        extra="mssql",
        now=_now("(DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME()) / 1000000.0)"),
        connect_arguments=lambda seconds: {"login_timeout": max(1, round(seconds))},
        session=("SET XACT_ABORT ON",),
        lock_timeout="SET LOCK_TIMEOUT {milliseconds}",
        again=re.compile(r"\b(1205|3960)\b"),
        # lock timeout; Azure SQL: not available, busy, resource limits
        unavailable=re.compile(r"\b(1222|40613|40197|40501|49918|49919|49920|10928|10929|1105|9002)\b"),
        # login failed, no such database or not for this user
        refuses=re.compile(r"\b(18456|4060)\b"),
        # a page that is not what was written
        damaged=re.compile(r"\((823|824)[,)]"),
        duplicate=re.compile(r"\b(2627|2601)\b"),
    ),
    "oracle": Database(
        name="Oracle",
        driver="oracledb",
        modules={"oracledb": "oracledb"},
        asyncio_driver="oracledb",
        extra="oracle",
        now=_now("((CAST(SYS_EXTRACT_UTC(SYSTIMESTAMP) AS DATE) - DATE '1970-01-01') * 86400)"),
        connect_arguments=lambda seconds: {"tcp_connect_timeout": seconds},
        again=re.compile("ORA-00060|ORA-08177"),
        unavailable=re.compile("ORA-(00054|30006|01033|01034|01089|01109|16000|01653|01654|01691)"),
        # wrong name or password, an account that is locked
        refuses=re.compile("ORA-(01017|28000)"),
        damaged=re.compile("ORA-01578"),
        duplicate=re.compile("ORA-00001"),
    ),
}

_IN_SQLITE_URL = ("cached_statements", "check_same_thread", "detect_types", "isolation_level", "timeout", "uri")
_KNOWN = "sqlite, postgresql, mysql, mariadb, mssql and oracle"


def parsed(url: str) -> tuple[URL, Database]:
    """SQLAlchemy's URL with the driver filled in, and the kind of database.

    `ValueError` for a URL that is none or means a database without an entry here, `ImportError` that names the
    extra for a driver that is not installed.
    """
    try:
        found = make_url(url)
    except ArgumentError as error:
        raise ValueError(f"this is no database URL: {error}") from error
    name, _, driver = found.drivername.partition("+")
    database = DATABASES.get(name)
    if database is None:
        raise ValueError(f"no store in {name!r}: the SQL engine knows {_KNOWN}")
    driver = driver or database.driver
    if driver not in database.modules:
        known = ", ".join(sorted(database.modules))
        raise ValueError(f"the driver {driver!r} is not one that waits: for {database.name} use {known}")
    _require(database, database.modules[driver])
    if name == "sqlite" and (found.host or found.username or found.password or found.port):
        raise ValueError(
            "an SQLite URL names a file after three slashes (sqlite:///orders.db), with four its whole path, "
            f"not {found.render_as_string(hide_password=True)!r}"
        )
    found = found.set(drivername=f"{name}+{driver}")
    if name == "sqlite" and not found.query.get("uri"):  # SQLAlchemy would leave them out
        check_options("the URL of an SQLite database", found.query, _IN_SQLITE_URL)
    module = database.modules[driver]
    for option in sorted(unknown_options(found, module)):
        shown = without_password(found.render_as_string(hide_password=True))
        raise no_option(f"the URL {shown}", option, (f"those of {module}.connect",))
    return found, database


def unknown_options(url: URL, module: str) -> set[str]:
    """What the driver does not take of all that the URL says, as far as the signature of its `connect` tells."""
    try:
        taken = inspect.signature(import_module(module).connect).parameters
    except ValueError:  # it is not written in Python
        return set()
    if not url.query or any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        return set()
    dialect: Any = url.get_dialect()
    _, given = dialect(dbapi=dialect.import_dbapi()).create_connect_args(url)
    return set(given) - set(taken)


def _require(database: Database, module: str) -> None:
    try:
        import_module(module)
    except ImportError as error:
        raise ImportError(
            f"a store in {database.name} needs {module}: pip install 'fsstore[{database.extra}]'"
        ) from error


def prepare(engine: Engine, database: Database, timeout_seconds: float) -> None:
    """Have every new connection of `engine` say what this database needs to hear first."""
    statements = list(database.session)
    if database.lock_timeout is not None:
        seconds = max(1, round(timeout_seconds))
        statements.append(database.lock_timeout.format(seconds=seconds, milliseconds=round(timeout_seconds * 1000)))

    @event.listens_for(engine, "connect")
    def say_first(connection: Any, record: Any) -> None:
        if engine.dialect.name == "sqlite":
            # The driver would begin transactions by itself, and later than we say.
            connection.isolation_level = None
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()
        if engine.dialect.name != "sqlite":
            connection.commit()

    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            options = connection.get_execution_options()
            if options.get(OUTSIDE):
                return
            # A transaction that reads and then writes could fail half-way; one that is going to write says so.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(WRITES) else "BEGIN")

    if engine.dialect.name == "sqlite" and not engine.dialect.is_async:

        @event.listens_for(engine, "invalidate")
        def unlock(connection: Any, record: Any, error: BaseException | None) -> None:
            # One that is closed keeps the file locked as long as anybody, as a traceback, has its last cursor.
            with suppress(connection.Error):
                connection.rollback()


_SMALL_BYTES = 256 << 10
_MOST_OF_THE_REST_BYTES = 32 << 10


def check_size(connection: Connection, data: bytes, what: str) -> None:
    """`ValueError` for `data` that no statement can hold. MySQL would only close the connection, as if it were lost."""
    if connection.dialect.name not in ("mysql", "mariadb") or len(data) <= _SMALL_BYTES:
        return
    most_bytes = int(connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one())
    # Written out, bytes take more room, up to twice as much: the driver knows how much.
    driver: Any = connection.connection.driver_connection
    written_bytes = len(driver.escape(data)) + _MOST_OF_THE_REST_BYTES
    if written_bytes > most_bytes:
        raise ValueError(
            f"{what} has {len(data)} bytes, {written_bytes} as a statement, of which the server takes at most "
            f"{most_bytes}: make its max_allowed_packet larger"
        )


def code_of(error: DBAPIError) -> str:
    """What the patterns of a `Database` are matched with: SQLSTATE or SQLite's name of the error where the driver has
    it, and what it says."""
    code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", None)
    return f"{code or '-'} {error.orig}"
