"""What a store remembers of its subscriptions: the position of every partition, under names the engine keeps.

It reads and names; nothing here is moved, and nobody waits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from fsstore.dispatch.cursors import unpack_position
from fsstore.engine import DeliveryEngine, PersistenceEngine
from fsstore.errors import CorruptionError, StorageError

_PREFIX = "subscription"
_PART = re.compile(f"{_PREFIX}(?:#([0-9]+)of([0-9]+))?")


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """What is remembered of a subscription: each partition's checkpoint token, and the least of them.

    `damaged`: the partitions for which something is stored that is no position. Nobody can read those before the
    subscription is reset or deleted; they count as standing at 0.
    """

    name: str
    positions: dict[int, int]
    partitions: int
    damaged: set[int] = field(default_factory=set)

    @property
    def position(self) -> int:
        """The token up to which nothing comes again, in whatever partition."""
        return min(self.positions.get(partition, 0) for partition in range(self.partitions))


def position_key(name: str, partition: int, partitions: int) -> str:
    """The name under which the position of a partition is kept, and the lease of who reads it."""
    return f"{_PREFIX}/{name}" if partitions == 1 else f"{_PREFIX}#{partition}of{partitions}/{name}"


def delivering(engine: PersistenceEngine) -> DeliveryEngine:
    """`engine` as one that remembers names; `StorageError` when it cannot."""
    if not isinstance(engine, DeliveryEngine):
        why = getattr(engine, "subscriptions_refused", "it is no DeliveryEngine")
        raise StorageError(f"{type(engine).__name__} cannot remember subscriptions: {why}")
    return engine


def checked_state(engine: DeliveryEngine, name: str, partitions: int) -> SubscriptionState | None:
    """What is remembered of the name; `ValueError` where it is divided otherwise."""
    state = state_of(engine, name)
    if state is not None and state.partitions != partitions:
        raise ValueError(
            f"subscription {name!r} is read in {state.partitions} partitions, not {partitions}; "
            "delete it to divide it anew"
        )
    return state


def state_of(engine: DeliveryEngine, name: str) -> SubscriptionState | None:
    """What is remembered of the name; `None` where nothing is."""
    return _states(engine, (entry for entry in _entries(engine) if entry[0] == name)).get(name)


def all_states(engine: DeliveryEngine) -> list[SubscriptionState]:
    """What is remembered of every name, in their order."""
    found = _states(engine, _entries(engine))
    return [found[name] for name in sorted(found)]


# A subscription's name, a partition of how many, and the name under which the engine keeps the position of that.
_Entry = tuple[str, int, int, str]


def _entries(engine: DeliveryEngine) -> Iterator[_Entry]:
    for key in engine.get_checkpoint_names():
        kind, _, name = key.partition("/")
        part = _PART.fullmatch(kind)
        if part is not None:
            partition, partitions = (int(part[1]), int(part[2])) if part[1] else (0, 1)
            yield name, partition, partitions, key


def _states(engine: DeliveryEngine, entries: Iterator[_Entry]) -> dict[str, SubscriptionState]:
    found: dict[str, SubscriptionState] = {}
    for name, partition, partitions, key in entries:
        value = engine.get_checkpoint(key)
        if value is None:
            continue
        state = found.setdefault(name, SubscriptionState(name, {}, partitions))
        try:
            state.positions[partition] = unpack_position(value, name)
        except CorruptionError:
            state.damaged.add(partition)
    return found
