"""The memory engine keeps every promise that can be kept without a disk."""

from __future__ import annotations

from pathlib import Path

from fsstore.engine import PersistenceEngine
from fsstore.engines.memory import open_engine
from fsstore.testing import Capabilities, EngineConformance


class TestMemoryEngine(EngineConformance):
    capabilities = Capabilities(durable=False, shared=False, delivery=True)

    def open_engine(self, where: Path) -> PersistenceEngine:
        return open_engine("memory:")
