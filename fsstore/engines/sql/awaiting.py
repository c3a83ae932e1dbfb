"""The SQL engine for tasks: the same engine once more, with connections of SQLAlchemy's asyncio.

Transactions, retries, the meaning of errors and all statements are those of `SqlEngine`; only who waits differs.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import replace
from typing import Any

from sqlalchemy import URL, Engine
from sqlalchemy.util import greenlet_spawn

from fsstore.engines import tasks
from fsstore.engines.sql.dialects import unknown_options
from fsstore.engines.sql.engine import SqlEngine
from fsstore.engines.sql.sqlite_file import in_memory
from fsstore.engines.waiting import TaskWaiting
from fsstore.model import Commit, CommitAttempt

# What a caller may have chosen for connections that block, and no other kind has.
_BLOCKING_OPTIONS = {"creator", "module", "pool", "poolclass"}


class AsyncSqlEngine(tasks.TaskEngine):
    """A store in an SQL database for the tasks of one event loop."""

    blocking: SqlEngine

    async def commit(self, attempt: CommitAttempt) -> Commit:
        return (await self.commit_many((attempt,)))[0]

    async def commit_many(self, attempts: Iterable[CommitAttempt]) -> list[Commit]:
        commits = await super().commit_many(attempts)
        if commits:
            self.blocking.wake(commits[-1].checkpoint_token)
        return commits


def twin(blocking: SqlEngine) -> AsyncSqlEngine | None:
    """The engine for tasks on the same database; `None` where only threads can do it."""
    database = blocking.database
    driver = database.asyncio_driver
    if driver is None or in_memory(blocking.url) or _BLOCKING_OPTIONS & set(blocking.sqlalchemy_options):
        return None
    if not tasks.possible(driver):
        return None
    if database.asyncio_arguments is not None:
        if "connect_args" in blocking.sqlalchemy_options:  # meant for the other driver
            return None
        database = replace(database, connect_arguments=database.asyncio_arguments)
    url = _for_tasks(blocking.url, driver)
    if unknown_options(url, driver):  # what the other one takes
        return None
    called = copy(blocking)
    called.connect(url, database, TaskWaiting(), _created)
    return AsyncSqlEngine(called, blocking, max_calls=2 * blocking.pool_size, spawn=greenlet_spawn)


def _for_tasks(url: URL, driver: str) -> URL:
    return url.set(drivername=f"{url.get_backend_name()}+{driver}")


def _created(url: URL, **options: Any) -> Engine:
    # It cannot be imported without greenlet.
    from sqlalchemy.ext.asyncio import create_async_engine

    return create_async_engine(url, **options).sync_engine
