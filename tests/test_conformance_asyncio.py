"""The asyncio twins keep the promises of their engines: the same suite, through an event loop."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings

from fsstore.engine import AsyncPersistenceEngine, PersistenceEngine
from fsstore.engines import engine_for
from fsstore.engines.file import FileEngine
from fsstore.engines.memory import MemoryEngine
from fsstore.engines.sql.awaiting import AsyncSqlEngine
from fsstore.engines.threaded import awaiting
from fsstore.testing import AwaitedEngine, Capabilities, EngineConformance

FEWER = settings(EngineConformance.machine_settings, max_examples=10)


class TestMemoryInThreads(EngineConformance):
    capabilities = Capabilities(durable=False, shared=False)
    machine_settings: ClassVar[settings] = FEWER

    def open_engine(self, where: Path) -> PersistenceEngine:
        return AwaitedEngine(lambda: awaiting(MemoryEngine()))


class TestFileForTasks(EngineConformance):
    capabilities = Capabilities(durable=True, shared=True)
    machine_settings: ClassVar[settings] = FEWER

    def open_engine(self, where: Path) -> PersistenceEngine:
        return AwaitedEngine(lambda: awaiting(FileEngine(where, durability="os")))

    def discard_store(self, where: Path) -> None:
        shutil.rmtree(where, ignore_errors=True)


def for_tasks(url: str) -> AsyncPersistenceEngine:
    """The database's engine on its asyncio driver, and not on threads."""
    engine = awaiting(engine_for(url))
    assert isinstance(engine, AsyncSqlEngine)
    return engine


class TestSqliteForTasks(EngineConformance):
    capabilities = Capabilities(durable=True, shared=True)
    machine_settings: ClassVar[settings] = settings(EngineConformance.machine_settings, max_examples=2)

    def open_engine(self, where: Path) -> PersistenceEngine:
        return AwaitedEngine(lambda: for_tasks(f"sqlite:///{where}.db"))


class TestPostgreSQLForTasks(EngineConformance):
    capabilities = Capabilities(durable=True, shared=True)
    machine_settings: ClassVar[settings] = settings(EngineConformance.machine_settings, max_examples=2)

    @pytest.fixture(autouse=True)
    def use(self, postgresql_databases: Any, record_property: pytest.RecordProperty) -> None:
        self.databases = postgresql_databases
        record_property("server", postgresql_databases.description)

    def open_engine(self, where: Path) -> PersistenceEngine:
        return AwaitedEngine(lambda: for_tasks(self.databases.url(where)))

    def discard_store(self, where: Path) -> None:
        self.databases.drop(where)
