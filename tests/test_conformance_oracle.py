"""The SQL engine on a live Oracle, when `FSSTORE_TEST_ORACLE_URL` names an empty database that the tests may fill."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fsstore.engine import PersistenceEngine
from fsstore.engines import engine_for
from fsstore.testing import Capabilities, EngineConformance

URL = os.environ.get("FSSTORE_TEST_ORACLE_URL", "")


@pytest.mark.skipif(not URL, reason="no server: set FSSTORE_TEST_ORACLE_URL")
class TestOracle(EngineConformance):
    capabilities = Capabilities(durable=True, shared=True, delivery=True)
    machine_settings = settings(
        max_examples=8,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )

    @pytest.fixture(autouse=True)
    def use(self, record_property: pytest.RecordProperty) -> None:
        record_property("server", f"at {URL.rpartition('@')[2]}")

    def open_engine(self, where: Path) -> PersistenceEngine:
        return engine_for(URL)

    def discard_store(self, where: Path) -> None:
        engine = engine_for(URL)
        engine.initialize()
        engine.drop()
