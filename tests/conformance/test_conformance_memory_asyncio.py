"""In threads for tasks, an engine keeps its promises: the same suite, through an event loop."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from hypothesis import settings

from fsstore.engine import PersistenceEngine
from fsstore.engines.memory import MemoryEngine
from fsstore.engines.threaded import awaiting
from fsstore.testing import AwaitedEngine, Capabilities, EngineConformance


class TestMemoryInThreads(EngineConformance):
    capabilities = Capabilities(durable=False, shared=False)
    machine_settings: ClassVar[settings] = settings(EngineConformance.machine_settings, max_examples=4)
    race_commits = 4
    example_settings: ClassVar[settings] = settings(EngineConformance.example_settings, max_examples=6)

    def open_engine(self, where: Path) -> PersistenceEngine:
        return AwaitedEngine(lambda: awaiting(MemoryEngine()))
