"""The conformance suite of the SQL engine on a server: one of the tests' own, or one that somebody else runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings

from fsstore.engine import PersistenceEngine
from fsstore.engines.sql.engine import SqlEngine
from fsstore.testing import Capabilities, EngineConformance


class ServerConformance(EngineConformance):
    """Several engines on one database, which may be slow."""

    capabilities = Capabilities(durable=True, shared=True, delivery=True)
    race_commits = 6
    machine_settings: ClassVar[settings] = settings(
        EngineConformance.machine_settings, max_examples=6, stateful_step_count=25
    )
    # The engine above them is the same on SQLite, where more values are tried.
    example_settings: ClassVar[settings] = settings(EngineConformance.example_settings, max_examples=20)


class OwnServerConformance(ServerConformance):
    """Every store has a database to itself. A subclass says with the fixture `databases` on which server."""

    engine_options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def use(self, databases: Any, record_property: pytest.RecordProperty) -> None:
        self.databases = databases
        record_property("server", databases.description)

    def open_engine(self, where: Path) -> PersistenceEngine:
        return SqlEngine(self.databases.store_url(where), **self.engine_options)

    def discard_store(self, where: Path) -> None:
        self.databases.empty(where)


class LiveServerConformance(ServerConformance):
    """All stores are in the one database at `url`, which the tests may fill."""

    url: ClassVar[str]

    @pytest.fixture(autouse=True)
    def use(self, record_property: pytest.RecordProperty) -> None:
        record_property("server", f"at {self.url.rpartition('@')[2]}")

    def open_engine(self, where: Path) -> PersistenceEngine:
        return SqlEngine(self.url)

    def discard_store(self, where: Path) -> None:
        engine = SqlEngine(self.url)
        engine.initialize()
        engine.drop()
