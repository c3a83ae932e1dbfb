"""A transaction from beginning to end: connect, do, commit, and try again where that is safe.

The only place that waits for a database. What is said within a transaction is a function that takes the
connection; what an error means, `errors.py` says.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from fsstore.engines.sql.dialects import WRITES, Database
from fsstore.engines.sql.errors import TRIES, Verdict, judged, pause_seconds, storage_error

Result = TypeVar("Result")


class KeyTakenError(Exception):
    """A key is there already; the transaction was rolled back. Its cause is the database's error."""


class Transactions:
    """The transactions on one database, from any number of threads."""

    def __init__(self, engine: Engine, database: Database) -> None:
        self._engine = engine
        self._writing = engine.execution_options(**{WRITES: True})
        self._database = database
        self._turn: AbstractContextManager[object] = threading.Lock() if database.one_writer else nullcontext()

    def read(self, ask: Callable[[Connection], Result], what: str) -> Result:
        """The answer of `ask`, which changes nothing."""
        return self._tried(self._engine, ask, what)

    def write(self, change: Callable[[Connection], Result], what: str) -> Result:
        """Do `change` and commit it; durable on return. An error of its own rolls it back and comes out.

        `KeyTakenError` when the database says that a key is there. `StorageUnavailableError` when others were in
        the way too often, the database cannot be reached, or, then `in_doubt`, was lost while it committed.
        """
        with self._turn:
            return self._tried(self._writing, change, what)

    def _tried(self, engine: Engine, act: Callable[[Connection], Result], what: str) -> Result:
        tries = 0
        while True:
            committing = False
            try:
                with engine.connect() as connection, connection.begin() as transaction:
                    result = act(connection)
                    committing = engine is self._writing
                    transaction.commit()
                    return result
            except SQLAlchemyError as error:
                verdict = judged(error, self._database, committing=committing)
                if verdict is Verdict.DUPLICATE:
                    raise KeyTakenError from error
                tries += 1
                if verdict not in (Verdict.AGAIN, Verdict.RECONNECT) or tries >= TRIES:
                    raise storage_error(error, verdict, self._database, what) from error
            time.sleep(pause_seconds(tries, random.random()))
