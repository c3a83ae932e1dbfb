"""The asyncio twins keep the promises of their engines: the same suite, through an event loop."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

from hypothesis import settings

from fsstore.engine import PersistenceEngine
from fsstore.engines.file import FileEngine
from fsstore.engines.memory import MemoryEngine
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
