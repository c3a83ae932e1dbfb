"""Named durable subscriptions: commits in checkpoint order, from the past into the present through one cursor.

What was acknowledged is remembered under the name. One consumer reads a name, or one of its partitions, at a time;
others stand by and go on where it stopped. Where a cursor stands and what a subscriber wants is decided in
`cursors` and `filters`; this module reads, writes and waits.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType

from fsstore.dispatch.cursors import Cursor, pack_position, unpack_position
from fsstore.dispatch.filters import Filter, partition_of
from fsstore.dispatch.following import Follower
from fsstore.dispatch.turns import Turn
from fsstore.engine import DeliveryEngine, PersistenceEngine
from fsstore.errors import LeaseLostError, StorageError, StorageUnavailableError, StoreClosedError
from fsstore.model import Commit, checked_id, checked_name

_log = logging.getLogger("fsstore.dispatch")
MAX_NAME_CHARACTERS = 150
_PREFIX = "subscription"
# How many commits of one partition a consumer takes before others may have it.
_PARTITION_BATCH = 100
# How long a partition whose consumer died may wait for another when nothing is committed.
_PARTITION_LOOK_SECONDS = 0.25


def _key(name: str, partition: int, partitions: int) -> str:
    return f"{_PREFIX}/{name}" if partitions == 1 else f"{_PREFIX}#{partition}of{partitions}/{name}"


@dataclass(frozen=True, slots=True)
class _Reading:
    """What all partitions of one subscription have in common."""

    engine: PersistenceEngine
    delivery: DeliveryEngine
    name: str
    partitions: int
    select: Callable[[Commit], Commit | None]
    filter: Filter
    from_checkpoint: int
    acknowledge_every: int
    lease_seconds: float
    stopping: threading.Event


class _Share:
    """One partition of a subscription as this consumer has it, or the whole of it."""

    def __init__(self, reading: _Reading, partition: int) -> None:
        self._of = reading
        self._partition = partition
        self._key = _key(reading.name, partition, reading.partitions)
        self.turn = Turn(reading.engine, self._key, reading.lease_seconds)
        self.cursor = Cursor(0, 1)
        self._commits: Iterator[Commit] = iter(())
        self.handed_out = 0

    def take(self) -> bool:
        """Whether it is ours, read from where its last consumer stopped."""
        if self.turn.lease is not None:
            return True
        if not self.turn.take():
            return False
        position = unpack_position(self._of.delivery.get_checkpoint(self._key))
        self.cursor = Cursor(self._of.from_checkpoint if position is None else position, self._of.acknowledge_every)
        self.handed_out = 0
        self.read_on()
        return True

    def read_on(self) -> None:
        """Look for commits behind those that were read."""
        self._commits = self._of.engine.get_from_checkpoint(self.cursor.read_to)

    def next_commit(self) -> Commit | None:
        """The next commit for the consumer; `None` when there is none now."""
        of, cursor = self._of, self.cursor
        for commit in self._commits:
            self.turn.keep()
            token = commit.checkpoint_token
            selected = of.select(commit) if self._wants(commit) else None
            if selected is not None:
                cursor.hand_out(token)
                self.handed_out += 1
                return selected
            cursor.passed_over(token)
            self.store_position()
            if of.stopping.is_set():
                break
        return None

    def _wants(self, commit: Commit) -> bool:
        of = self._of
        mine = of.partitions == 1 or partition_of(commit, of.partitions) == self._partition
        return mine and of.filter.takes(commit)

    def store_position(self, *, idle: bool = False, leaving: bool = False) -> None:
        """Write down what was acknowledged, when it is time to."""
        if self.cursor.must_be_stored(idle=idle, leaving=leaving):
            value = pack_position(self.cursor.position)
            self._of.delivery.put_checkpoint(self._key, value, lease=self.turn.lease)
            self.cursor.stored()

    def give_back(self) -> None:
        """Remember what was acknowledged, and let others go on from there."""
        if self.turn.lease is None:
            return
        try:
            self.store_position(leaving=True)
        except LeaseLostError:
            _log.warning("%s was taken over; what was acknowledged last comes again there", self._key)
        finally:
            self.turn.give_back()


class Subscription:
    """An iterator of commits that waits for new ones; a context manager. One thread's.

    Asking for the next commit acknowledges the one before, unless `auto_acknowledge` is false; `acknowledge` does
    so at once, with all before it. What was not acknowledged comes again to whoever reads this name next.
    Iteration ends when the subscription or the store is closed, and, with `timeout_seconds`, after so long without
    a commit; asking again then waits again.
    """

    def __init__(
        self,
        engine: PersistenceEngine,
        name: str,
        *,
        select: Callable[[Commit], Commit | None] = lambda commit: commit,
        from_checkpoint: int = 0,
        bucket_id: str | None = None,
        stream_prefix: str | None = None,
        event_types: Collection[type | str] = (),
        partitions: int = 1,
        auto_acknowledge: bool = True,
        acknowledge_every: int = 1,
        timeout_seconds: float | None = None,
        lease_seconds: float = 10.0,
        standby_seconds: float = 0.03,
    ) -> None:
        self._delivery = delivering(engine)
        self.name = checked_subscription(name)
        for value, what, least in (
            (from_checkpoint, "from_checkpoint", 0),
            (partitions, "partitions", 1),
            (acknowledge_every, "acknowledge_every", 1),
        ):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{what} must be an int, not {type(value).__name__}")
            if value < least:
                raise ValueError(f"{what} must be at least {least}, not {value}")
        self.partitions = partitions
        self._check_partitions()
        self._auto_acknowledge = auto_acknowledge
        self._timeout_seconds = timeout_seconds
        self._standby_seconds = standby_seconds
        self._stopping = threading.Event()
        self._follower = Follower(engine, self._stopping)
        self._busy = threading.RLock()
        self._taken_over = False
        bucket_id = None if bucket_id is None else checked_id(bucket_id, "bucket_id")
        reading = _Reading(
            engine,
            self._delivery,
            self.name,
            partitions,
            select,
            Filter(bucket_id, stream_prefix, tuple(event_types)),
            from_checkpoint,
            acknowledge_every,
            lease_seconds,
            self._stopping,
        )
        self._shares = [_Share(reading, partition) for partition in range(partitions)]
        self._current = 0

    def _check_partitions(self) -> None:
        state = _state(self._delivery, self.name)
        if state is not None and state.partitions != self.partitions:
            raise ValueError(
                f"subscription {self.name!r} is read in {state.partitions} partitions, not {self.partitions}; "
                "delete it to divide it anew"
            )

    # ---- reading ----

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> Commit:
        with self._busy, self._letting_go_of_what_is_lost():
            self._check_taken_over()
            until = float("inf") if self._timeout_seconds is None else time.monotonic() + self._timeout_seconds
            if self._auto_acknowledge:
                self._acknowledge_all()
            while not self._stopping.is_set():
                commit = self._look_at_every_share()
                if commit is not None:
                    return commit
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._wait(left)
            self._check_taken_over()
            raise StopIteration

    @contextmanager
    def _letting_go_of_what_is_lost(self) -> Iterator[None]:
        """Where somebody else reads by now, forget what was handed out: it is theirs, and asking again begins anew."""
        try:
            yield
        except LeaseLostError:
            self._shares[self._current].turn.give_back()
            raise

    def _acknowledge_all(self) -> None:
        share = self._shares[self._current]
        share.cursor.acknowledge_all()
        share.store_position()

    def _look_at_every_share(self) -> Commit | None:
        """The next commit of the first partition that has one."""
        for _ in self._shares:
            share = self._shares[self._current]
            if self._is_used_up(share):
                share.give_back()
            elif share.take():
                before = share.cursor.read_to
                commit = share.next_commit()
                if commit is None and not self._stopping.is_set():
                    share.read_on()
                    commit = share.next_commit()
                if share.cursor.read_to > before:
                    self._follower.found()
                if commit is not None:
                    return commit
                share.store_position(idle=True)
                if share.cursor.handed_out:
                    return None
                if self.partitions > 1:
                    share.give_back()
            self._current = (self._current + 1) % self.partitions
        return None

    def _is_used_up(self, share: _Share) -> bool:
        return self.partitions > 1 and share.handed_out >= _PARTITION_BATCH and not share.cursor.handed_out

    def _wait(self, seconds: float) -> None:
        if self.partitions == 1:
            share = self._shares[0]
            if share.turn.lease is None:
                self._stopping.wait(min(seconds, self._standby_seconds))
                return
            self._follower.wait(share.cursor.read_to, meanwhile=share.turn.keep, timeout_seconds=seconds)
            return
        read_to = max(share.cursor.read_to for share in self._shares)
        share = self._shares[self._current]
        self._follower.wait(read_to, meanwhile=share.turn.keep, timeout_seconds=min(seconds, _PARTITION_LOOK_SECONDS))

    # ---- acknowledging ----

    def acknowledge(self, commit: Commit) -> None:
        """`commit`, and all that were handed out before it, need not come again; remembered when this returns."""
        with self._busy, self._letting_go_of_what_is_lost():
            self._check_taken_over()
            share = self._shares[partition_of(commit, self.partitions) if self.partitions > 1 else 0]
            share.cursor.acknowledge(commit.checkpoint_token)
            share.store_position(idle=True)

    @property
    def position(self) -> int:
        """The token up to which nothing comes again, as this consumer knows it; over partitions the least."""
        return min(share.cursor.position for share in self._shares)

    # ---- closing ----

    @property
    def closed(self) -> bool:
        """Whether iterating has ended for good."""
        return self._stopping.is_set()

    def close(self) -> None:
        """Remember what was acknowledged and let others go on. Harmless when repeated; wakes a waiting thread."""
        self._stopping.set()
        with self._busy:
            for share in self._shares:
                share.give_back()

    def __del__(self) -> None:
        # A loop that was left with `break` has nobody who could close it.
        if getattr(self, "_shares", None):
            with suppress(StoreClosedError):
                self.close()

    def take_over(self) -> None:
        """Close it because this store reads the name anew; who still iterates is told so."""
        self._taken_over = True
        self.close()

    def _check_taken_over(self) -> None:
        if self._taken_over:
            raise LeaseLostError(f"subscription {self.name!r} was opened anew in this store; only the last one reads")

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """What is remembered of a subscription: each partition's checkpoint token, and the least of them."""

    name: str
    positions: dict[int, int]
    partitions: int

    @property
    def position(self) -> int:
        return min(self.positions.values())


class Subscriptions:
    """All subscriptions of one store: opened, listed, reset and deleted."""

    def __init__(
        self, engine: PersistenceEngine, select: Callable[[Commit], Commit | None] = lambda commit: commit
    ) -> None:
        self._engine = engine
        self._select = select
        self._open: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self._mutex = threading.Lock()

    def subscribe(self, name: str, **options: object) -> Subscription:
        """A consumer of `name`. Read as a whole, it takes over from an earlier one in this store."""
        new = Subscription(self._engine, name, select=self._select, **options)  # type: ignore[arg-type]
        with self._mutex:
            earlier = [each for each in self._open if each.name == new.name and new.partitions == 1]
            self._open.add(new)
        for each in earlier:
            each.take_over()
        return new

    def all(self) -> list[SubscriptionState]:
        """Every subscription that has acknowledged anything, by name."""
        return _states(delivering(self._engine))

    def reset(self, name: str, checkpoint_token: int = 0) -> None:
        """Have everything after the token delivered again; `StorageUnavailableError` while somebody reads it."""
        for key in self._keys(name):
            self._change(name, key, pack_position(checkpoint_token))

    def delete(self, name: str) -> None:
        """Forget it; `StorageUnavailableError` while somebody reads it."""
        for key in self._keys(name):
            self._change(name, key, None)

    def _keys(self, name: str) -> list[str]:
        state = _state(delivering(self._engine), checked_subscription(name))
        if state is None:
            raise ValueError(f"there is no subscription {name!r}")
        return [_key(name, partition, state.partitions) for partition in range(state.partitions)]

    def _change(self, name: str, key: str, value: bytes | None) -> None:
        engine = delivering(self._engine)
        turn = Turn(self._engine, key)
        if not turn.take():
            raise StorageUnavailableError(f"subscription {name!r} is being read; stop its consumers first")
        try:
            if value is None:
                engine.delete_checkpoint(key)
            else:
                engine.put_checkpoint(key, value, lease=turn.lease)
        finally:
            turn.give_back()

    def close(self) -> None:
        """Close every subscription that is open."""
        with self._mutex:
            still_open = list(self._open)
        for each in still_open:
            each.close()


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


def _state(engine: DeliveryEngine, name: str) -> SubscriptionState | None:
    return next((state for state in _states(engine) if state.name == name), None)


def _states(engine: DeliveryEngine) -> list[SubscriptionState]:
    found: dict[str, SubscriptionState] = {}
    for key in engine.get_checkpoint_names():
        kind, _, name = key.partition("/")
        partition, partitions = 0, 1
        if kind.startswith(f"{_PREFIX}#"):
            numbers = kind.removeprefix(f"{_PREFIX}#").split("of")
            partition, partitions = int(numbers[0]), int(numbers[1])
        elif kind != _PREFIX:
            continue
        position = unpack_position(engine.get_checkpoint(key))
        if position is not None:
            state = found.setdefault(name, SubscriptionState(name, {}, partitions))
            state.positions[partition] = position
    return [found[name] for name in sorted(found)]
