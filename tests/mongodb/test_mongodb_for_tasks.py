"""MongoDB with pymongo's awaiting client: cancelled commits are whole or nothing, and nobody waits in the loop."""

from __future__ import annotations

import asyncio
import os
import signal
from importlib import util
from typing import Any

import pytest
from servers.process import Server
from tasks_on_a_driver import DriverForTasks, UnderTrio, threads_do_it

import fsstore
from fsstore.testing import first_attempt

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class TestMongoDB(DriverForTasks):
    pass


class TestMongoDBUnderTrio(UnderTrio):
    pass


async def test_closing_waits_for_all_that_was_accepted(url: str) -> None:
    """Also for commits that wait for their number, and whose callers were cancelled."""
    store = await fsstore.open_async(url)
    writers = [asyncio.create_task(store.commit(first_attempt(f"order {number}"))) for number in range(20)]
    await asyncio.wait(writers, return_when=asyncio.FIRST_COMPLETED)
    for writer in writers:
        writer.cancel()
    await store.close()
    with fsstore.open(url) as again:
        assert len(list(again.advanced.get_from_checkpoint())) == 20


async def test_the_loop_goes_on_while_the_server_stands_still(killable: tuple[Server, str]) -> None:
    server, url = killable
    store = await fsstore.open_async(url)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        writer = asyncio.create_task(store.commit(first_attempt("order")))
        await asyncio.sleep(0.1)
        writer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writer
        closed = asyncio.create_task(store.close())
        await asyncio.sleep(0.1)
        assert not closed.done()
    finally:
        os.kill(server.pid, signal.SIGCONT)
    await closed
    with fsstore.open(url) as again:
        assert [commit.stream_id for commit in again.advanced.get_from_checkpoint()] == ["order"]


async def test_without_greenlet_threads_do_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, *arguments: Any, find: Any = util.find_spec) -> Any:
        return None if name == "greenlet" else find(name, *arguments)

    monkeypatch.setattr(util, "find_spec", missing)
    await threads_do_it(url)
