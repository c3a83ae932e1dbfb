"""The MongoDB engine for tasks keeps its promises on pymongo's awaiting client: the same suite, in an event loop."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings
from servers import mongodb

from fsstore.engine import PersistenceEngine
from fsstore.testing import Capabilities, EngineConformance

pytest.importorskip("pymongo", reason="pip install 'fsstore[mongodb]'")


class TestMongoEngineForTasks(EngineConformance):
    capabilities = Capabilities(durable=True, shared=True, record_limit_bytes=16 << 20)
    machine_settings: ClassVar[settings] = settings(EngineConformance.machine_settings, max_examples=2)
    race_commits = 4
    example_settings: ClassVar[settings] = settings(EngineConformance.example_settings, max_examples=6)

    @pytest.fixture(autouse=True)
    def use(self, mongodb_server: str, record_property: pytest.RecordProperty) -> None:
        self.url = mongodb_server
        record_property("server", mongodb.description(mongodb_server))

    def open_engine(self, where: Path) -> PersistenceEngine:
        return mongodb.waiting("tasks", self.url, database=mongodb.database(where))

    def discard_store(self, where: Path) -> None:
        mongodb.drop(self.url, where)
