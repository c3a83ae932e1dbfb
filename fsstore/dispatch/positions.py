"""What a store remembers of its subscriptions: the position of every partition, under names the engine keeps.

It reads and names; nothing here is moved, and nobody waits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fsstore.dispatch.cursors import unpack_position
from fsstore.engine import DeliveryEngine, PersistenceEngine
from fsstore.errors import StorageError
from fsstore.model import checked_name

MAX_NAME_CHARACTERS = 150
_PREFIX = "subscription"
_PART = re.compile(f"{_PREFIX}(?:#([0-9]+)of([0-9]+))?")


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """What is remembered of a subscription: each partition's checkpoint token, and the least of them."""

    name: str
    positions: dict[int, int]
    partitions: int

    @property
    def position(self) -> int:
        return min(self.positions.values())


def position_key(name: str, partition: int, partitions: int) -> str:
    """The name under which the position of a partition is kept, and the lease of who reads it."""
    return f"{_PREFIX}/{name}" if partitions == 1 else f"{_PREFIX}#{partition}of{partitions}/{name}"


def delivering(engine: PersistenceEngine) -> DeliveryEngine:
    """`engine` as one that remembers names; `StorageError` when it cannot."""
    if not isinstance(engine, DeliveryEngine):
        raise StorageError(f"{type(engine).__name__} cannot remember subscriptions: it is no DeliveryEngine")
    return engine


def checked_subscription(name: str) -> str:
    """`name` as a subscription's: 1 to 150 characters."""
    if len(checked_name(name)) > MAX_NAME_CHARACTERS:
        raise ValueError(f"a subscription's name has at most {MAX_NAME_CHARACTERS} characters, not {len(name)}")
    return name


def state_of(engine: DeliveryEngine, name: str) -> SubscriptionState | None:
    return next((state for state in all_states(engine) if state.name == name), None)


def all_states(engine: DeliveryEngine) -> list[SubscriptionState]:
    found: dict[str, SubscriptionState] = {}
    for key in engine.get_checkpoint_names():
        kind, _, name = key.partition("/")
        part = _PART.fullmatch(kind)
        if part is None:
            continue
        partition, partitions = (int(part[1]), int(part[2])) if part[1] else (0, 1)
        position = unpack_position(engine.get_checkpoint(key))
        if position is not None:
            state = found.setdefault(name, SubscriptionState(name, {}, partitions))
            state.positions[partition] = position
    return [found[name] for name in sorted(found)]
