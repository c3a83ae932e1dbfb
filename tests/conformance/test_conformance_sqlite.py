"""The SQL engine on SQLite keeps every promise, over reopening and with several engines on one file."""

from __future__ import annotations

from pathlib import Path

from hypothesis import settings

from fsstore.engine import PersistenceEngine
from fsstore.engines.sql.engine import SqlEngine
from fsstore.testing import Capabilities, EngineConformance


class TestSqlite(EngineConformance):
    capabilities = Capabilities(durable=True, shared=True, delivery=True)
    machine_settings = settings(EngineConformance.machine_settings, max_examples=15)

    def open_engine(self, where: Path) -> PersistenceEngine:
        return SqlEngine(f"sqlite:///{where}.db")
