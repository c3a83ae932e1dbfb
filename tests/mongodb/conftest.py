"""One server for the tests of a module here, and a database of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from servers import mongodb

pymongo = pytest.importorskip("pymongo", reason="pip install 'fsstore[mongodb]'")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mongodb.running(tmp_path_factory.mktemp("mongodb")) as url:
        yield url


@pytest.fixture
def database(server: str) -> Iterator[Any]:
    """The database itself, as pymongo sees it."""
    with pymongo.MongoClient(server) as client:
        name = "fsstore_test_" + uuid4().hex[:16]
        yield client[name]
        client.drop_database(name)


@pytest.fixture
def url(server: str, database: Any) -> str:
    """The URL of that database."""
    base, _, query = server.partition("?")
    return f"{base.rstrip('/')}/{database.name}" + (f"?{query}" if query else "")
