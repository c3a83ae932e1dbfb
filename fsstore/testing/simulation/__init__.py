"""A disk in memory that loses what a real one may lose: for tests of engines, and of applications on a store.

`SimulatedDisk` takes the place of the real disk in the file engine. docs/durability-testing.md shows how to cut the
power under an application and look. Nothing in here knows an engine.
"""

from fsstore.testing.simulation.choices import Choose, drawn, keep_everything, lose_everything, outcomes, seeded
from fsstore.testing.simulation.disk import SimulatedDisk
from fsstore.testing.simulation.interleaving import interleave
from fsstore.testing.simulation.machine import CALLS, Call, Fault, PowerCut, ProcessKilled

__all__ = [
    "CALLS",
    "Call",
    "Choose",
    "Fault",
    "PowerCut",
    "ProcessKilled",
    "SimulatedDisk",
    "drawn",
    "interleave",
    "keep_everything",
    "lose_everything",
    "outcomes",
    "seeded",
]
