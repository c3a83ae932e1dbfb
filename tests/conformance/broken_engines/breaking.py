"""How an engine is registered as broken: `BREAKAGES` and the conformance class beside each engine."""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import Phase, settings
from model_engine import RECORD_LIMIT_BYTES, ModelEngine, places

from fsstore.model import Commit
from fsstore.testing import Capabilities, EngineConformance, EngineModel

BREAKAGES: dict[str, tuple[type[ModelEngine], tuple[str, ...]]] = {}
PROMISES = [name for name in dir(EngineConformance) if name.startswith("test_")]
CAPABILITIES = Capabilities(durable=True, shared=True, delivery=True, record_limit_bytes=RECORD_LIMIT_BYTES)

# The first failure will do, and the same one every time.
MACHINE_SETTINGS, EXAMPLE_SETTINGS = (
    settings(given, phases=[Phase.generate], derandomize=True, max_examples=100)
    for given in (EngineConformance.machine_settings, EngineConformance.example_settings)
)


def caught_by(*tests: str, capabilities: Capabilities = CAPABILITIES) -> Any:
    """The engine is broken; these tests, and no others that are run on it, must fail."""

    def register(engine: type[ModelEngine]) -> type[ModelEngine]:
        def open_engine(self: EngineConformance, where: Path) -> ModelEngine:
            return engine(where)

        def discard_store(self: EngineConformance, where: Path) -> None:
            places.pop(where, None)

        suite = type(
            f"Test{engine.__name__}",
            (EngineConformance,),
            {
                # Of the others pytest would make items, 170 for each of these classes, that nobody asks for.
                **{name: None for name in PROMISES if name not in tests},
                "__module__": engine.__module__,
                "capabilities": capabilities,
                "machine_settings": MACHINE_SETTINGS,
                "example_settings": EXAMPLE_SETTINGS,
                "open_engine": open_engine,
                "discard_store": discard_store,
            },
        )
        setattr(sys.modules[engine.__module__], suite.__name__, suite)
        BREAKAGES[engine.__name__] = (engine, tests)
        return engine

    return register


def stored_anyway(model: EngineModel, attempt: Any) -> Commit:
    model.last_token += 1
    model.commits.append(Commit.of(deepcopy(attempt), model.last_token))
    return model.commits[-1]


def stream_of(model: EngineModel, attempt: Any) -> list[Commit]:
    return model.get_from(attempt.bucket_id, attempt.stream_id)
