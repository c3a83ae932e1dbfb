"""The model itself keeps every promise, with every capability: the suite asks for nothing impossible."""

from __future__ import annotations

from pathlib import Path

from model_engine import RECORD_LIMIT_BYTES, ModelEngine, places

from fsstore.engine import PersistenceEngine
from fsstore.testing import Capabilities, EngineConformance


class TestModelEngine(EngineConformance):
    capabilities = Capabilities(durable=True, shared=True, delivery=True, record_limit_bytes=RECORD_LIMIT_BYTES)

    def open_engine(self, where: Path) -> PersistenceEngine:
        return ModelEngine(where)

    def discard_store(self, where: Path) -> None:
        places.pop(where, None)
