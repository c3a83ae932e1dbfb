"""SQL with an asyncio driver: cancelled commits are whole or nothing, and nobody waits for the database in the loop."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tasks_on_a_driver import DriverForTasks, UnderTrio, threads_do_it

import fsstore
from fsstore.testing import first_attempt

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/a.db"


class TestSqlite(DriverForTasks):
    pass


class TestSqliteUnderTrio(UnderTrio):
    pass


async def test_the_loop_goes_on_while_another_holds_the_database(tmp_path: Path) -> None:
    """And closing waits for the commit whose caller was cancelled."""
    path = tmp_path / "a.db"
    store = await fsstore.open_async(f"sqlite:///{path}")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(store.commit(first_attempt("order")))
        await asyncio.sleep(0.1)
        assert [commit async for commit in store.get_from("order")] == []
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        closed = asyncio.create_task(store.close())
        await asyncio.sleep(0.1)
        assert not closed.done()
        other.execute("ROLLBACK")
        await closed
    with fsstore.open(f"sqlite:///{path}") as again:
        assert [commit.stream_id for commit in again.advanced.get_from_checkpoint()] == ["order"]


async def test_a_database_in_memory_stays_with_threads() -> None:
    await threads_do_it("sqlite://")


async def test_an_option_that_only_the_driver_for_threads_has_stays_with_threads(
    mariadb_databases: Any, tmp_path: Path
) -> None:
    pytest.importorskip("asyncmy", reason="pip install 'fsstore[aiosql]'")
    url = mariadb_databases.url(tmp_path)
    await threads_do_it(f"{url}{'&' if '?' in url else '?'}program_name=orders&write_timeout=9")
    mariadb_databases.drop(tmp_path)


async def test_a_store_that_is_made_on_mariadb_says_nothing_in_the_log_of_its_application(
    mariadb_databases: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("asyncmy", reason="pip install 'fsstore[aiosql]'")
    for _ in range(2):
        async with fsstore.open_async(mariadb_databases.url(tmp_path)) as store:
            await store.commit(first_attempt("order"))
            await store.advanced.drop()
    mariadb_databases.drop(tmp_path)
    assert caplog.messages == []
