"""The MongoDB engine keeps every promise, with several engines on one store and against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha1
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from servers import mongodb

from fsstore.engine import PersistenceEngine
from fsstore.testing import Capabilities, EngineConformance

pymongo = pytest.importorskip("pymongo", reason="pip install 'fsstore[mongodb]'")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mongodb.running(tmp_path_factory.mktemp("mongodb")) as url:
        yield url


class TestMongoEngine(EngineConformance):
    capabilities = Capabilities(durable=True, shared=True, delivery=True, record_limit_bytes=16 << 20)
    machine_settings = settings(
        max_examples=10,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )

    @pytest.fixture(autouse=True)
    def use(self, server: str, record_property: pytest.RecordProperty) -> None:
        self.url = server
        record_property("server", mongodb.description(server))

    def open_engine(self, where: Path) -> PersistenceEngine:
        from fsstore.engines.mongo import open_engine

        return open_engine(self.url, database=database(where))

    def discard_store(self, where: Path) -> None:
        with pymongo.MongoClient(self.url) as client:
            client.drop_database(database(where))


def database(where: Path) -> str:
    """A name for the database of the test at `where`."""
    return "fsstore_test_" + sha1(str(where).encode()).hexdigest()[:20]
