"""All subscriptions of a store: opened, listed, reset and deleted. What one of them does is `subscription`'s."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from fsstore.dispatch.arguments import check_reading, checked_subscription
from fsstore.dispatch.cursors import pack_position
from fsstore.dispatch.following import head_token
from fsstore.dispatch.positions import SubscriptionState, all_states, delivering, position_key, state_of
from fsstore.dispatch.subscription import Subscription
from fsstore.dispatch.turns import Turn
from fsstore.engine import PersistenceEngine
from fsstore.errors import StorageUnavailableError
from fsstore.model import Commit, checked_at_least
from fsstore.options import check_options, keywords_of
from fsstore.steps import all_of, run

_OPTIONS = keywords_of(Subscription) - {"select"}  # that is for the store's hooks


class Subscriptions:
    """All subscriptions of one store: opened, listed, reset and deleted."""

    def __init__(self, engine: PersistenceEngine, select: Callable[[Commit], Commit | None] | None = None) -> None:
        self._engine = engine
        self._select = select
        self._open: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self._mutex = threading.Lock()

    @staticmethod
    def check(name: str, options: Mapping[str, Any]) -> None:
        """`TypeError` or `ValueError` for what cannot be given to `subscribe`; nothing is read for that."""
        check_options("a subscription", options, _OPTIONS)
        checked_subscription(name)
        check_reading(**options)

    def subscribe(self, name: str, **options: Any) -> Subscription:
        """A consumer of `name`. Read as a whole, it takes over from an earlier one in this store."""
        self.check(name, options)
        new = Subscription(self._engine, name, select=self._select, **options)
        with self._mutex:
            earlier = [each for each in self._open if each.name == new.name and new.partitions == 1]
            self._open.add(new)
        for each in earlier:
            each.take_over()
        return new

    def all(self) -> list[SubscriptionState]:
        """Every subscription of which anything is remembered, by name."""
        return all_states(delivering(self._engine))

    def reset(self, name: str, checkpoint_token: int = 0) -> None:
        """Have everything after the token delivered again; `StorageUnavailableError` while somebody reads it.

        `ValueError` for a token behind the last commit: what is committed up to there would never be delivered.
        """
        checked_at_least(checkpoint_token, 0, "checkpoint_token")
        keys = self._keys(name)
        if checkpoint_token and checkpoint_token > (head := head_token(self._engine)):
            raise ValueError(
                f"subscription {name!r} cannot go on after checkpoint {checkpoint_token}: "
                f"the last commit of the store is at {head}, so {head} is as far as it can be set"
            )
        self._change(name, keys, pack_position(checkpoint_token))

    def delete(self, name: str) -> None:
        """Forget it; `StorageUnavailableError` while somebody reads it."""
        self._change(name, self._keys(name), None)

    def _keys(self, name: str) -> list[str]:
        state = state_of(delivering(self._engine), checked_subscription(name))
        if state is None:
            raise ValueError(f"there is no subscription {name!r}")
        return [position_key(name, partition, state.partitions) for partition in range(state.partitions)]

    def _change(self, name: str, keys: list[str], value: bytes | None) -> None:
        engine = delivering(self._engine)
        turns = {key: Turn(self._engine, key) for key in keys}
        with ExitStack() as held:
            # All of them before the first is changed, so that it is changed whole or not at all.
            for turn in turns.values():
                if not turn.take():
                    raise StorageUnavailableError(f"subscription {name!r} is being read; stop its consumers first")
                held.callback(turn.give_back)
            for key, turn in turns.items():
                if value is None:
                    engine.delete_checkpoint(key)
                else:
                    engine.put_checkpoint(key, value, lease=turn.lease)

    def close(self) -> None:
        """Close every subscription that is open."""
        with self._mutex:
            still_open = list(self._open)
        run(all_of(each.close for each in still_open))
