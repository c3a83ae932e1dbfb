"""The memory engine: a store that lives as long as its object, and the shortest engine there is."""

from fsstore.engines.memory.engine import MemoryEngine, open_engine

__all__ = ["MemoryEngine", "open_engine"]
