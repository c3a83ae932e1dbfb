"""A transaction from beginning to end: connect, do, commit, and try again where that is safe.

The only place that waits for a database, as a thread or as a task (`fsstore.engines.waiting`). What is said within
a transaction is a function that takes the connection; what an error means, `errors.py` says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, ExceptionContext, Transaction, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from fsstore.engines.sql.dialects import OUTSIDE, WRITES, Database, code_of, prepare
from fsstore.engines.sql.errors import DONE_AGAIN, TRIES, Verdict, file_error, judged, pause_seconds, storage_error
from fsstore.engines.sql.sqlite_file import file_of, in_memory
from fsstore.engines.waiting import ThreadWaiting, Waiting
from fsstore.errors import StorageUnavailableError
from fsstore.model import checked_seconds
from fsstore.options import no_option

Result = TypeVar("Result")
_OPTIONS = ("create", "pool_size", "timeout_seconds", "those of SQLAlchemy's create_engine")
_LONGEST_TIMEOUT_SECONDS = 2_000_000.0  # in milliseconds, the most that every database and driver can take


def checked_timeout(value: float) -> float:
    """How long a database is waited for."""
    return checked_seconds(value, "timeout_seconds", most=_LONGEST_TIMEOUT_SECONDS)


def connected(
    url: URL,
    database: Database,
    timeout_seconds: float,
    pool_size: int,
    options: Mapping[str, Any],
    create: Callable[..., Engine] = create_engine,
) -> Engine:
    """SQLAlchemy's engine for a database, with a pool; nothing is connected yet."""
    arguments = {**database.connect_arguments(timeout_seconds), **options.get("connect_args", {})}
    chosen: dict[str, Any] = {"pool_size": pool_size, "max_overflow": pool_size, "pool_timeout": timeout_seconds}
    if in_memory(url):
        # The database is the connection: one, which callers take turns with.
        chosen |= {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}
    # Every transaction here ends itself; another ROLLBACK would be a round trip for nothing.
    chosen["pool_reset_on_return"] = None
    if database.isolation is not None:
        chosen["isolation_level"] = database.isolation
    try:
        engine = create(url, **{"hide_parameters": True, **chosen, **options, "connect_args": arguments})
    except TypeError as error:
        unknown = [name for name in options if repr(name) in str(error)]
        if "Invalid argument" not in str(error) or not unknown:
            raise
        raise no_option(f"a store in {database.name}", unknown[0], _OPTIONS) from error
    prepare(engine, database, timeout_seconds)
    if in_memory(url):

        @event.listens_for(engine, "handle_error")
        def keep(context: ExceptionContext) -> None:
            context.is_disconnect = False  # SQLAlchemy closes what was interrupted: here that would be the store

    return engine


class KeyTakenError(Exception):
    """A key is there already; the transaction was rolled back. Its cause is the database's error."""


class Transactions:
    """The transactions on one database, from any number of threads, or of tasks."""

    def __init__(
        self, engine: Engine, database: Database, waiting: Waiting | None = None, *, timeout_seconds: float = 30.0
    ) -> None:
        """`timeout_seconds`: how long a database that cannot be reached is tried again, and other writers are waited
        for."""
        self._engine = engine
        self._timeout_seconds = timeout_seconds
        self._writing = engine.execution_options(**{WRITES: True})
        self._file = file_of(engine.url)
        self._database = database
        self._waiting = waiting if waiting is not None else ThreadWaiting()
        self._turn: AbstractContextManager[object] = (
            self._waiting.lock(timeout_seconds) if database.one_writer else nullcontext()
        )

    def read(self, ask: Callable[[Connection], Result], what: str) -> Result:
        """The answer of `ask`, which changes nothing."""
        return self._tried(self._engine, ask, what)

    def write(self, change: Callable[[Connection], Result], what: str, settles: str = DONE_AGAIN) -> Result:
        """Do `change` and commit it; durable on return. An error of its own rolls it back and comes out.

        `KeyTakenError` when the database says that a key is there. `StorageUnavailableError` when others were in
        the way too often, the database cannot be reached, or, then `in_doubt`, was lost or failed while it committed;
        its text says what `settles` that.
        """
        try:
            with self._turn:
                return self._tried(self._writing, change, what, settles)
        except TimeoutError as error:
            raise StorageUnavailableError(
                f"{what}: others of this process were writing for {self._timeout_seconds:g} seconds, nothing was "
                "stored, try again later"
            ) from error

    def outside(self, act: Callable[[Connection], Result], what: str) -> Result:
        """Do what the database does in no transaction."""
        return self._tried(self._engine.execution_options(**{OUTSIDE: True}), act, what)

    def _tried(
        self, engine: Engine, act: Callable[[Connection], Result], what: str, settles: str = DONE_AGAIN
    ) -> Result:
        tries, unreached_since = 0, float("inf")
        while True:
            committing = False
            try:
                with engine.connect() as connection:
                    try:
                        with connection.begin() as transaction:
                            result = act(connection)
                            committing = engine is self._writing
                            self._commit(connection, transaction)
                            return result
                    except BaseException as error:
                        if not isinstance(error, Exception):
                            self._interrupted(connection)
                        raise
            except SQLAlchemyError as error:
                if self._file is not None and (refused := file_error(error, self._file, what)):
                    raise refused from error
                verdict = judged(error, self._database, committing=committing)
                if verdict is Verdict.DUPLICATE:
                    raise KeyTakenError from error
                tries += 1
                if verdict is Verdict.RECONNECT:
                    # Where nobody answers, each try takes as long as connecting may.
                    unreached_since = min(unreached_since, time.monotonic())
                given_up = tries >= TRIES or time.monotonic() - unreached_since >= self._timeout_seconds
                if given_up or verdict not in (Verdict.AGAIN, Verdict.RECONNECT):
                    raise storage_error(error, verdict, self._database, what, self._file, settles) from error
            self._waiting.sleep(pause_seconds(tries))

    def _interrupted(self, connection: Connection) -> None:
        """End a transaction of which this thread had not heard when it was interrupted: the pool does not look at what
        it is given back."""
        if connection.closed or connection.invalidated:
            return
        if in_memory(connection.engine.url):
            connection.connection.rollback()
        else:
            connection.invalidate()

    def _commit(self, connection: Connection, transaction: Transaction) -> None:
        try:
            transaction.commit()
        except DBAPIError as error:
            if self._database.undone.search(code_of(error)):
                # What readers kept from being committed SQLite leaves open, and the file locked.
                connection.connection.rollback()
            raise
