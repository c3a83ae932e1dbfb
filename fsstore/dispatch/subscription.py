"""A consumer of a named durable subscription: commits in checkpoint order, from the past into the present.

What was acknowledged is remembered under the name. One consumer reads a name, or one of its partitions, at a time;
others stand by and go on where it stopped. This module goes round the partitions and waits; what is read of one is
`shares`', what is remembered `positions`'.
"""

from __future__ import annotations

import _thread
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from fsstore.dispatch.arguments import check_reading, checked_filter, checked_subscription
from fsstore.dispatch.filters import partition_of
from fsstore.dispatch.following import Follower
from fsstore.dispatch.positions import checked_state, delivering
from fsstore.dispatch.shares import Reading, Share
from fsstore.dispatch.turns import LEASE_SECONDS, STANDBY_SECONDS
from fsstore.engine import PersistenceEngine
from fsstore.errors import LeaseLostError, StoreClosedError
from fsstore.model import Commit, checked_seconds, not_a
from fsstore.steps import all_of, run

_log = logging.getLogger("fsstore.dispatch")
# How many commits of one partition a consumer takes before others may have it.
_PARTITION_BATCH = 100
# How long a partition whose consumer died may wait for another when nothing is committed.
_PARTITION_LOOK_SECONDS = 0.25
# The steps that what runs now, as a hook, was called from. A task, or a thread of anyio or asyncio, knows them too.
_within: ContextVar[tuple[object, ...]] = ContextVar("fsstore_steps", default=())


class Subscription:
    """An iterator of commits that waits for new ones; a context manager. One thread's.

    Asking for the next commit acknowledges the one before, unless `auto_acknowledge` is false; `acknowledge` does
    so at once, with all before it. What was not acknowledged comes again to whoever reads this name next.
    Iteration ends when the subscription or the store is closed, and, with `timeout_seconds`, after so long without
    a commit; asking again then waits again. Its `timeout_seconds` may be changed between two steps.
    """

    def __init__(
        self,
        engine: PersistenceEngine,
        name: str,
        *,
        select: Callable[[Commit], Commit | None] | None = None,
        from_checkpoint: int = 0,
        bucket_id: str | None = None,
        stream_prefix: str | None = None,
        event_types: Collection[type | str] = (),
        partitions: int = 1,
        auto_acknowledge: bool = True,
        acknowledge_every: int = 1,
        timeout_seconds: float | None = None,
        lease_seconds: float = LEASE_SECONDS,
        standby_seconds: float = STANDBY_SECONDS,
    ) -> None:
        self._delivery = delivering(engine)
        self.name = checked_subscription(name)
        check_reading(
            from_checkpoint=from_checkpoint,
            partitions=partitions,
            acknowledge_every=acknowledge_every,
            timeout_seconds=timeout_seconds,
            lease_seconds=lease_seconds,
            standby_seconds=standby_seconds,
            auto_acknowledge=auto_acknowledge,
            bucket_id=bucket_id,
            stream_prefix=stream_prefix,
            event_types=event_types,
        )
        self.partitions = partitions
        checked_state(self._delivery, self.name, partitions)
        self._auto_acknowledge = auto_acknowledge
        # Hooks may do anything, and where each position is written at once, nothing can be handed out without that.
        self._reads_ahead = select is None and not (auto_acknowledge and acknowledge_every == 1)
        self.timeout_seconds = timeout_seconds
        self._stopping = threading.Event()
        self._follower = Follower(engine, self._stopping)
        self._busy = threading.RLock()
        self._step: object | None = None
        self._is_closed_within = False
        self._taken_over = False
        reading = Reading(
            engine,
            self._delivery,
            self.name,
            partitions,
            select,
            checked_filter(bucket_id, stream_prefix, event_types),
            from_checkpoint,
            acknowledge_every,
            lease_seconds,
            standby_seconds,
            self._stopping,
        )
        # The collector of cycles clears what has a callback before it calls a finalizer.
        self._not_collected = weakref.ref(self, lambda _: None)
        self._shares = [Share(reading, partition) for partition in range(partitions)]
        self._current = 0
        # Up to where every partition was read that could be had, the last time.
        self._looked_to: int | None = None
        self._process = os.getpid()

    # ---- reading ----

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> Commit:
        with self._busy, self._step_going_on(), self._letting_go_of_what_is_lost():
            self._check_taken_over()
            until = float("inf")
            if self.timeout_seconds is not None:
                until = time.monotonic() + checked_seconds(self.timeout_seconds, "timeout_seconds")
            if self._auto_acknowledge and not self._stopping.is_set():
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

    def read_ahead(self) -> None:
        """Have commits at hand for the next steps, where some could do with that."""
        with self._busy:
            if self._reads_ahead:
                self._shares[self._current].read_ahead()

    @property
    def has_at_hand(self) -> bool:
        """Whether the next step may be had by `next_at_hand`."""
        return self._reads_ahead and self._shares[self._current].has_at_hand

    def next_at_hand(self) -> Commit | None:
        """A step that needs neither the engine nor any waiting; `None` where there is none, and the next one does."""
        if not self._busy.acquire(blocking=False):
            return None
        try:
            share = self._shares[self._current]
            if not self.has_at_hand:
                return None
            if self._auto_acknowledge:
                share.cursor.acknowledge_all()
            return None if self._is_used_up(share) else share.next_at_hand()
        finally:
            self._busy.release()

    @contextmanager
    def _step_going_on(self) -> Iterator[None]:
        """A step, which gives back in the end where it was closed from within."""
        before, self._step = self._step, object()
        outside = _within.set((*_within.get(), self._step))
        try:
            yield
        finally:
            _within.reset(outside)
            self._step = before
            if self._is_closed_within:
                with suppress(StoreClosedError):  # what was acknowledged last comes again
                    self._give_back()

    @contextmanager
    def _letting_go_of_what_is_lost(self) -> Iterator[None]:
        """Where somebody else reads by now, forget what was handed out: it is theirs, and asking again begins anew."""
        try:
            yield
        except LeaseLostError:
            self._shares[self._current].lose()
            raise

    def _acknowledge_all(self) -> None:
        share = self._shares[self._current]
        share.cursor.acknowledge_all()
        share.store_position()

    def _look_at_every_share(self) -> Commit | None:
        """The next commit of the first partition that has one; of one that was had for long, when no other has any."""
        share = self._shares[self._current]
        if self._is_used_up(share):
            share.give_back()
            self._turn_to_the_next()
        looked_to = []
        for _ in self._shares:
            share = self._shares[self._current]
            if share.take():
                before = share.cursor.read_to
                commit = share.next_commit()
                if commit is None and not self._stopping.is_set():
                    share.read_on()
                    commit = share.next_commit()
                if share.cursor.read_to > before:
                    self._follower.found()
                if commit is not None:
                    return commit
                looked_to.append(share.cursor.read_to)
                share.store_position(idle=True)
                if share.cursor.handed_out:
                    break
                if self.partitions > 1:
                    share.give_back()
            self._turn_to_the_next()
        self._looked_to = min(looked_to, default=None)
        return None

    def _turn_to_the_next(self) -> None:
        self._current = (self._current + 1) % self.partitions

    def _is_used_up(self, share: Share) -> bool:
        return self.partitions > 1 and share.handed_out >= _PARTITION_BATCH and not share.cursor.handed_out

    def _wait(self, seconds: float) -> None:
        if self.partitions == 1:
            share = self._shares[0]
            if share.turn.lease is None:
                self._stopping.wait(min(seconds, share.turn.pause_seconds))
                return
            self._follower.wait(share.cursor.read_to, meanwhile=share.turn.keep, timeout_seconds=seconds)
            return
        read_to = self._looked_to
        if read_to is None:
            read_to = max(share.cursor.read_to for share in self._shares)
        share = self._shares[self._current]
        self._follower.wait(read_to, meanwhile=share.turn.keep, timeout_seconds=min(seconds, _PARTITION_LOOK_SECONDS))

    # ---- acknowledging ----

    def acknowledge(self, commit: Commit) -> None:
        """`commit`, and all that were handed out before it, need not come again; remembered when this returns.

        `StoreClosedError` once this consumer is closed: others read by then, and the position is theirs.
        """
        if not isinstance(commit, Commit):
            raise not_a(Commit, commit)
        with self._busy, self._letting_go_of_what_is_lost():
            self._check_taken_over()
            if self.closed:
                raise StoreClosedError(
                    f"a consumer of subscription {self.name!r} was closed before it acknowledged commit "
                    f"{commit.checkpoint_token}, which comes again"
                )
            share = self._shares[self._current]
            # What is not acknowledged is the current one's, also where a hook gave the commit another stream.
            if not share.cursor.awaits(commit.checkpoint_token):
                share = self._shares[partition_of(commit, self.partitions)]
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
        """Remember what was acknowledged and let others go on. Harmless when repeated; wakes a waiting thread.

        In the child of a fork, nothing: it goes on in the parent.
        """
        if self._process != os.getpid():
            return
        self._stopping.set()
        # Who is called by a step, as a hook in the event loop is, would wait for itself.
        step = self._step
        is_within = step is not None and step in _within.get()
        self._is_closed_within |= is_within
        # Looked at again, as it may have ended before it could see that.
        if self._busy.acquire(blocking=not is_within or self._step is not step):
            try:
                self._give_back()
            finally:
                self._busy.release()

    def _give_back(self) -> None:
        run(all_of(share.give_back for share in self._shares))

    def __del__(self) -> None:
        # A loop that was left with `break` has nobody who could close it.
        if not getattr(self, "_shares", None) or self.closed:
            return
        if self._not_collected() is not None:
            with suppress(StoreClosedError):
                self.close()
            return
        # The collector comes at any moment, also to who holds what this would wait for: a lock of the engine, or one of
        # `threading`.
        with suppress(RuntimeError):  # the interpreter ends
            _thread.start_new_thread(put_down, (self,))

    def take_over(self) -> None:
        """Close it because this store reads the name anew; who still iterates is told so."""
        self._taken_over = True
        self.close()

    def _check_taken_over(self) -> None:
        if self._taken_over:
            raise LeaseLostError(f"subscription {self.name!r} was opened anew in this store; only the last one reads")

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def put_down(subscription: Subscription) -> None:
    """Close one that was abandoned, of which nobody could be told."""
    try:
        with suppress(StoreClosedError):
            subscription.close()
    except Exception as error:
        _log.warning("the abandoned subscription %r keeps others waiting: %s", subscription.name, error)
