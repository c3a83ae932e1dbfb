"""The instruments that hold an engine to its word, for the authors of engines everywhere.

Subclass `EngineConformance` in a test module, say how your engine is opened, and pytest collects one test
for every promise of `fsstore.engine.PersistenceEngine`. `EngineMachine` and the strategies are the parts it
is made of. `SimulatedDisk` is a disk that loses what a power cut loses. This package knows the protocol and no
engine. It needs the extra:
``pip install 'fsstore[testing]'``.
"""
# ruff: noqa: E402 (what is missing has to be said before the imports that would fail on it)

try:
    import hypothesis as _hypothesis  # noqa: F401
    import pytest
except ImportError as error:
    raise ImportError(
        f"fsstore.testing needs {error.name}, which is not installed: pip install 'fsstore[testing]'"
    ) from error

# Before the modules are imported: afterwards their assertions would only say "AssertionError".
pytest.register_assert_rewrite("fsstore.testing.promises", "fsstore.testing.machine")

from fsstore.testing import strategies
from fsstore.testing.attempts import fill, first_attempt, next_attempt
from fsstore.testing.awaited import AwaitedEngine
from fsstore.testing.capabilities import Capabilities
from fsstore.testing.conformance import EngineConformance
from fsstore.testing.machine import EngineMachine
from fsstore.testing.model import EngineModel
from fsstore.testing.simulation import PowerCut, ProcessKilled, SimulatedDisk

__all__ = [
    "AwaitedEngine",
    "Capabilities",
    "EngineConformance",
    "EngineMachine",
    "EngineModel",
    "PowerCut",
    "ProcessKilled",
    "SimulatedDisk",
    "fill",
    "first_attempt",
    "next_attempt",
    "strategies",
]
