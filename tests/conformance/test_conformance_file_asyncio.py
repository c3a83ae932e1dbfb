"""The file engine for tasks keeps its promises: the same suite, through an event loop."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

from hypothesis import settings

from fsstore.engine import PersistenceEngine
from fsstore.engines.file import FileEngine
from fsstore.engines.threaded import awaiting
from fsstore.testing import AwaitedEngine, Capabilities, EngineConformance


class TestFileForTasks(EngineConformance):
    capabilities = Capabilities(durable=True, shared=True)
    machine_settings: ClassVar[settings] = settings(EngineConformance.machine_settings, max_examples=4)
    race_commits = 4
    example_settings: ClassVar[settings] = settings(EngineConformance.example_settings, max_examples=6)

    def open_engine(self, where: Path) -> PersistenceEngine:
        return AwaitedEngine(lambda: awaiting(FileEngine(where, durability="os")))

    def discard_store(self, where: Path) -> None:
        shutil.rmtree(where, ignore_errors=True)
