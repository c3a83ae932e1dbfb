"""The whole conformance suite as one class, for the test module of any engine.

    class TestMyEngine(EngineConformance):
        capabilities = Capabilities(durable=True, shared=True)

        def open_engine(self, where: Path) -> PersistenceEngine:
            return MyEngine(where)

pytest then collects one test for every promise, and the state machine. Nothing is skipped but what the
capabilities exclude, and the reason of such a skip names the capability. The promises stand in
`fsstore.testing.promises`, a module a topic.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from fsstore.testing.machine import EngineMachine
from fsstore.testing.promises.arguments import ArgumentPromises
from fsstore.testing.promises.commits import BatchPromises, CommitPromises
from fsstore.testing.promises.concurrency import ConcurrencyPromises
from fsstore.testing.promises.deletion import DeletionPromises
from fsstore.testing.promises.delivery import DeliveryPromises
from fsstore.testing.promises.dispatch_marks import DispatchMarkPromises
from fsstore.testing.promises.lifecycle import CapabilityPromises, LifecyclePromises, ReopeningPromises
from fsstore.testing.promises.reading import CheckpointPromises, DatePromises, StreamReadingPromises
from fsstore.testing.promises.sharing import SharingPromises
from fsstore.testing.promises.snapshots import SnapshotPromises, StreamHeadPromises
from fsstore.testing.promises.values import ValuePromises


class EngineConformance(
    CapabilityPromises,
    CommitPromises,
    BatchPromises,
    StreamReadingPromises,
    CheckpointPromises,
    DatePromises,
    SnapshotPromises,
    StreamHeadPromises,
    DispatchMarkPromises,
    DeletionPromises,
    LifecyclePromises,
    ReopeningPromises,
    ArgumentPromises,
    ValuePromises,
    ConcurrencyPromises,
    SharingPromises,
    DeliveryPromises,
):
    """Every promise of `PersistenceEngine`, and of `DeliveryEngine` where that is declared.

    Subclass it, define `open_engine`, declare `capabilities`.
    """

    machine_settings: ClassVar[settings] = settings(
        max_examples=40,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    """How long the state machine runs; an engine that is slow to open may want fewer examples."""

    def test_any_history_goes_as_the_model_says(self, tmp_path: Path) -> None:
        places = count()

        suite = self

        class Machine(EngineMachine):
            def __init__(self) -> None:
                where = tmp_path / f"store{next(places)}"
                super().__init__(
                    lambda: suite.open_engine(where), suite.capabilities, lambda: suite.discard_store(where)
                )

        run_state_machine_as_test(Machine, settings=self.machine_settings)
