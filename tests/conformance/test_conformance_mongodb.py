"""The MongoDB engine keeps every promise, with several engines on one store and against a real server."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from servers import mongodb

from fsstore.engine import PersistenceEngine
from fsstore.engines.mongo import open_engine
from fsstore.testing import Capabilities, EngineConformance

pytest.importorskip("pymongo", reason="pip install 'fsstore[mongodb]'")


class TestMongoEngine(EngineConformance):
    capabilities = Capabilities(durable=True, shared=True, delivery=True, record_limit_bytes=16 << 20)
    machine_settings = settings(EngineConformance.machine_settings, max_examples=4, stateful_step_count=20)
    race_commits = 4
    example_settings = settings(EngineConformance.example_settings, max_examples=10)

    @pytest.fixture(autouse=True)
    def use(self, mongodb_server: str, record_property: pytest.RecordProperty) -> None:
        self.url = mongodb_server
        record_property("server", mongodb.description(mongodb_server))

    def open_engine(self, where: Path) -> PersistenceEngine:
        return open_engine(self.url, database=mongodb.database(where))

    def discard_store(self, where: Path) -> None:
        mongodb.drop(self.url, where)
