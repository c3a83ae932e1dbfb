"""A database of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

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
