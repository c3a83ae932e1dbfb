"""A MongoDB server for tests: the one that `FSSTORE_TEST_MONGODB_URL` names, else a private SecantusDB.

SecantusDB speaks MongoDB's protocol over WiredTiger. It is a process of its own, which can be killed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest

from fsstore.engine import PersistenceEngine
from fsstore.engines.tasks import TaskEngine
from fsstore.engines.threaded import awaiting
from fsstore.testing import AwaitedEngine
from servers.process import HOST, Server, find, free_port, memory

URL_VARIABLE = "FSSTORE_TEST_MONGODB_URL"
INSTALL = "no MongoDB server: pip install SecantusDB, or set FSSTORE_TEST_MONGODB_URL"


FailPoint = Callable[..., AbstractContextManager[None]]
"""`with failing("insert", errorCode=112, times=2):` — the server's next two inserts fail so."""


@contextmanager
def running() -> Iterator[str]:
    """The URL of a server that is up, without a database."""
    given = os.environ.get(URL_VARIABLE)
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="fsstore-mongodb-", dir=memory(), ignore_cleanup_errors=True) as directory:
        server, url = standing(Path(directory) / "server", "--enable-test-commands", flush=False)
        server.start()
        try:
            yield url
        finally:
            server.kill()


def description(url: str) -> str:
    """For the table of engines."""
    return f"MongoDB at {url.rpartition('@')[2]}" if os.environ.get(URL_VARIABLE) else "SecantusDB, private"


def database(where: Path) -> str:
    """A name for the database of the test at `where`."""
    return "fsstore_test_" + sha1(str(where).encode()).hexdigest()[:20]


def drop(url: str, where: Path) -> None:
    """Remove that database."""
    from pymongo import MongoClient

    with MongoClient[dict[str, object]](url) as client:
        client.drop_database(database(where))


def waiting(who: str, url: str, **options: Any) -> PersistenceEngine:
    """The engine on that URL, not yet initialized, in which `who` waits: "threads" or "tasks"."""
    from fsstore.engines.mongo import open_engine

    def for_tasks() -> TaskEngine:
        engine = awaiting(open_engine(url, **options))
        assert isinstance(engine, TaskEngine), "this is not to be a test of threads"
        return engine

    return AwaitedEngine(for_tasks) if who == "tasks" else open_engine(url, **options)


def standing(directory: Path, *flags: str, flush: bool = True) -> tuple[Server, str]:
    """A server process, not yet started, that flushes on every commit if it is to; and its URL."""
    program = find("secantusd-py", also_in=[str(Path(sys.executable).parent)])
    if program is None:
        pytest.skip(INSTALL)
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [program, "--host", HOST, "--port", str(port), "--storage-path", str(directory / "data")]
    if flush:
        command.append("--sync-on-commit")
    server = Server([*command, "--cache-size", "64M", *flags], port, directory / "log")
    return server, f"mongodb://{HOST}:{port}/"
