"""A database of its own for each test, a server that can be killed, and one that fails as it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from servers import mongodb
from servers.process import Server

pymongo = pytest.importorskip("pymongo", reason="pip install 'fsstore[mongodb]'")


@pytest.fixture
def database(mongodb_server: str) -> Iterator[Any]:
    """The database itself, as pymongo sees it."""
    with pymongo.MongoClient(mongodb_server) as client:
        name = "fsstore_test_" + uuid4().hex[:16]
        yield client[name]
        client.drop_database(name)


@pytest.fixture
def url(mongodb_server: str, database: Any) -> str:
    """The URL of that database."""
    base, _, query = mongodb_server.partition("?")
    return f"{base.rstrip('/')}/{database.name}" + (f"?{query}" if query else "")


@pytest.fixture(params=["threads", "tasks"])
def who(request: pytest.FixtureRequest) -> str:
    """Who waits for the server."""
    return str(request.param)


@pytest.fixture
def killable(tmp_path: Path) -> Iterator[tuple[Server, str]]:
    """A server of the test's own, which is up, and its URL."""
    server, url = mongodb.standing(tmp_path / "server")
    server.start()
    yield server, url
    server.kill()


@pytest.fixture
def failing(database: Any) -> mongodb.FailPoint:
    """The server fails the named commands as often as is said, in the way that is said."""

    @contextmanager
    def armed(*commands: str, times: int = 1, **how: Any) -> Iterator[None]:
        admin = database.client.admin
        data = {"failCommands": list(commands), **how}
        try:
            admin.command("configureFailPoint", "failCommand", mode={"times": times}, data=data)
        except pymongo.errors.OperationFailure as error:
            pytest.skip(f"this server has no test commands: {error}")
        try:
            yield
        finally:
            admin.command("configureFailPoint", "failCommand", mode="off")

    return armed
