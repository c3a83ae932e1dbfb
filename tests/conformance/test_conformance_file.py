"""The file engine keeps every promise, over reopening and with several engines on one store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fsstore.engine import PersistenceEngine
from fsstore.testing import Capabilities, EngineConformance

file_engine = pytest.importorskip("fsstore.engines.file", exc_type=ImportError)
if not hasattr(file_engine, "open_engine"):
    pytest.skip("fsstore.engines.file has no open_engine yet", allow_module_level=True)


class TestFileEngine(EngineConformance):
    capabilities = Capabilities(durable=True, shared=True, delivery=True)

    def open_engine(self, where: Path) -> PersistenceEngine:
        engine: PersistenceEngine = file_engine.open_engine(str(where))
        return engine

    def discard_store(self, where: Path) -> None:
        shutil.rmtree(where, ignore_errors=True)
