"""The SQL engine for tasks keeps its promises on SQLite's asyncio driver: the same suite, through an event loop."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings

from fsstore.engine import AsyncPersistenceEngine, PersistenceEngine
from fsstore.engines.threaded import awaiting
from fsstore.testing import AwaitedEngine, Capabilities, EngineConformance

pytest.importorskip("aiosqlite", reason="pip install 'fsstore[aiosql]'")


def for_tasks(url: str) -> AsyncPersistenceEngine:
    """The database's engine on its asyncio driver, and not on threads."""
    from fsstore.engines.sql.awaiting import AsyncSqlEngine
    from fsstore.engines.sql.engine import SqlEngine

    engine = awaiting(SqlEngine(url))
    assert isinstance(engine, AsyncSqlEngine)
    return engine


class TestSqliteForTasks(EngineConformance):
    capabilities = Capabilities(durable=True, shared=True)
    machine_settings: ClassVar[settings] = settings(EngineConformance.machine_settings, max_examples=2)
    race_commits = 4
    example_settings: ClassVar[settings] = settings(EngineConformance.example_settings, max_examples=6)

    def open_engine(self, where: Path) -> PersistenceEngine:
        return AwaitedEngine(lambda: for_tasks(f"sqlite:///{where}.db"))
