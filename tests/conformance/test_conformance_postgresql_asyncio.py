"""The SQL engine for tasks keeps its promises on PostgreSQL: the same suite, through an event loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from test_conformance_sqlite_asyncio import for_tasks

from fsstore.engine import PersistenceEngine
from fsstore.testing import AwaitedEngine, Capabilities, EngineConformance


class TestPostgreSQLForTasks(EngineConformance):
    capabilities = Capabilities(durable=True, shared=True)
    machine_settings: ClassVar[settings] = settings(EngineConformance.machine_settings, max_examples=2)
    race_commits = 4
    example_settings: ClassVar[settings] = settings(EngineConformance.example_settings, max_examples=6)

    @pytest.fixture(autouse=True)
    def use(self, postgresql_databases: Any, record_property: pytest.RecordProperty) -> None:
        self.databases = postgresql_databases
        record_property("server", postgresql_databases.description)

    def open_engine(self, where: Path) -> PersistenceEngine:
        return AwaitedEngine(lambda: for_tasks(self.databases.store_url(where)))

    def discard_store(self, where: Path) -> None:
        self.databases.empty(where)
