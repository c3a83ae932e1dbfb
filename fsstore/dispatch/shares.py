"""A partition of a subscription, or the whole of it, as the consumer has it whose turn it is.

It reads from where the last consumer stopped and writes down what was acknowledged; whose turn it is and where a
cursor stands is decided in `turns` and `cursors`. It never waits, and knows nothing of the other partitions.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from fsstore.dispatch.cursors import Cursor, pack_position, unpack_position
from fsstore.dispatch.filters import Filter, partition_of
from fsstore.dispatch.positions import checked_state, position_key
from fsstore.dispatch.turns import Turn
from fsstore.engine import DeliveryEngine, PersistenceEngine
from fsstore.errors import LeaseLostError
from fsstore.model import Commit

_log = logging.getLogger("fsstore.dispatch")
_READ_AHEAD_COMMITS = 64


@dataclass(frozen=True, slots=True)
class Reading:
    """What all partitions of one subscription have in common."""

    engine: PersistenceEngine
    delivery: DeliveryEngine
    name: str
    partitions: int
    select: Callable[[Commit], Commit | None] | None
    filter: Filter
    from_checkpoint: int
    acknowledge_every: int
    lease_seconds: float
    standby_seconds: float
    stopping: threading.Event


class Commits(Iterator[Commit]):
    """What an engine gives. Some of it may be read before it is asked for, and is `at_hand` until then."""

    def __init__(self, given: Iterator[Commit]) -> None:
        self._given = given
        self.at_hand: deque[Commit] = deque()

    def __next__(self) -> Commit:
        return self.at_hand.popleft() if self.at_hand else next(self._given)

    def read_ahead(self) -> None:
        """Have the next ones at hand. What fails is read again, and said, when it is asked for."""
        try:
            self.at_hand.extend(islice(self._given, _READ_AHEAD_COMMITS - len(self.at_hand)))
        except Exception:
            self._given = iter(())


class Share:
    """One partition of a subscription as this consumer has it, or the whole of it."""

    def __init__(self, reading: Reading, partition: int) -> None:
        self._of = reading
        self._partition = partition
        self._key = position_key(reading.name, partition, reading.partitions)
        self.turn = Turn(reading.engine, self._key, reading.lease_seconds, reading.standby_seconds)
        self.cursor = Cursor(0, 1)
        self._commits = Commits(iter(()))
        self.handed_out = 0

    def take(self) -> bool:
        """Whether it is ours, read from where its last consumer stopped."""
        if self.turn.lease is not None:
            return True
        if not self.turn.take():
            return False
        try:
            position = self._position()
            if position is not None:
                self.cursor = Cursor(position, self._of.acknowledge_every)
                self.handed_out = 0
                self.read_on()
                return True
        except BaseException:
            self.turn.give_back()
            raise
        self.turn.give_back()
        return False

    def _position(self) -> int | None:
        """Where its last consumer stopped; `None` while somebody else settles where the subscription begins."""
        of = self._of
        value = of.delivery.get_checkpoint(self._key)
        if value is None:
            if not self._begin():
                return None
            value = of.delivery.get_checkpoint(self._key)
        return of.from_checkpoint if value is None else unpack_position(value, of.name)

    def _begin(self) -> bool:
        """Settle where a new subscription begins, and in how many partitions; `False` while somebody else does.

        The right to that is the lease of the name undivided: who reads it so has it already.
        """
        of = self._of
        # Asked also without that right: who reads a name undivided keeps it, and would be waited for in vain.
        checked_state(of.delivery, of.name, of.partitions)
        if of.partitions == 1:
            return True
        undivided = Turn(of.engine, position_key(of.name, 0, 1))
        if not undivided.take():
            return False
        try:
            state = checked_state(of.delivery, of.name, of.partitions)
            known = set() if state is None else {*state.positions, *state.damaged}
            for partition in set(range(of.partitions)) - known:
                key = position_key(of.name, partition, of.partitions)
                of.delivery.put_checkpoint(key, pack_position(of.from_checkpoint), lease=undivided.lease)
        finally:
            undivided.give_back()
        return True

    def read_on(self) -> None:
        """Look for commits behind those that were read."""
        self._commits = Commits(self._of.engine.get_from_checkpoint(self.cursor.read_to))

    def read_ahead(self) -> None:
        """Have the next commits at hand."""
        self._commits.read_ahead()

    @property
    def has_at_hand(self) -> bool:
        """Whether commits were read ahead that are still ours."""
        return bool(self._commits.at_hand) and self.turn.is_sure

    def next_at_hand(self) -> Commit | None:
        """The next commit where it was read ahead; `None` also where more than memory is needed for that."""
        at_hand, cursor = self._commits.at_hand, self.cursor
        while self.has_at_hand and not cursor.must_be_stored():
            selected = self._selected(at_hand[0])
            token = at_hand.popleft().checkpoint_token
            if selected is not None:
                cursor.hand_out(token)
                self.handed_out += 1
                return selected
            cursor.passed_over(token)
        return None

    def next_commit(self) -> Commit | None:
        """The next commit for the consumer; `None` when there is none now."""
        of, cursor = self._of, self.cursor
        # Only put back once what it gave is dealt with: whatever fails before, that is read again.
        commits, self._commits = self._commits, Commits(iter(()))
        for commit in commits:
            self.turn.keep()
            token = commit.checkpoint_token
            selected = self._selected(commit)
            if selected is not None:
                cursor.hand_out(token)
                self.handed_out += 1
                self._commits = commits
                return selected
            cursor.passed_over(token)
            self.store_position()
            if of.stopping.is_set():
                break
        return None

    def _selected(self, commit: Commit) -> Commit | None:
        """What the hooks leave of a commit of this partition that is asked for."""
        of = self._of
        mine = of.partitions == 1 or partition_of(commit, of.partitions) == self._partition
        if not mine or not of.filter.takes(commit):
            return None
        selected = commit if of.select is None else of.select(commit)
        return selected if selected is not None and of.filter.takes_events(selected) else None

    def store_position(self, *, idle: bool = False, leaving: bool = False) -> None:
        """Write down what was acknowledged, when it is time to."""
        if self.cursor.must_be_stored(idle=idle, leaving=leaving):
            value = pack_position(self.cursor.position)
            self._of.delivery.put_checkpoint(self._key, value, lease=self.turn.lease)
            self.cursor.stored()

    def lose(self) -> None:
        """Forget what was handed out: somebody else has it by now, and writes down what is acknowledged."""
        self.cursor = Cursor(0, 1)
        self.turn.give_back()

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
