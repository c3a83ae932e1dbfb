"""The SQL engine on PostgreSQL keeps every promise, with several engines on one database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from fsstore.engine import PersistenceEngine
from fsstore.engines import engine_for
from fsstore.testing import Capabilities, EngineConformance


class TestPostgreSQL(EngineConformance):
    capabilities = Capabilities(durable=True, shared=True, delivery=True)
    machine_settings = settings(
        max_examples=8,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )

    @pytest.fixture(autouse=True)
    def use(self, postgresql_databases: Any, record_property: pytest.RecordProperty) -> None:
        self.databases = postgresql_databases
        record_property("server", self.databases.description)

    def open_engine(self, where: Path) -> PersistenceEngine:
        return engine_for(self.databases.url(where))

    def discard_store(self, where: Path) -> None:
        self.databases.drop(where)
