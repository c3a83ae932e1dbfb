"""When dispatchers are called: before a commit's caller goes on, or in a thread of the scheduler's own.

A stored commit only wakes. Delivery reads what is undispatched, in checkpoint order, while it has the turn, so that
over all threads and processes on a store one delivers at a time. NEventStore pushed commits after storing them,
which could reorder them. What to do with each commit and after each failure is `delivery`'s; this module waits.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

from fsstore.dispatch.delivery import DISPATCHER, Delivery, published_health
from fsstore.dispatch.dispatchers import Dispatcher, DispatcherGoneError
from fsstore.dispatch.following import Follower
from fsstore.dispatch.policy import DispatchHealth, Retry, Verdict, describe
from fsstore.dispatch.rounds import Rounds
from fsstore.dispatch.turns import LEASE_SECONDS, STANDBY_SECONDS, KeptTurn
from fsstore.engine import PersistenceEngine
from fsstore.errors import DispatchError, LeaseLostError, StoreClosedError
from fsstore.model import Commit, checked_seconds, named

_log = logging.getLogger("fsstore.dispatch")
_FIRST_WAIT_SECONDS = 0.001
_LONGEST_WAIT_SECONDS = 0.02

_Parked = dict[int, Exception | None]
"""The tokens of commits that were parked, with what the dispatcher failed with."""


class Scheduler:
    """What both have: delivery, the turn, and an end.

    `standby_seconds` is how often a process asks for the turn while another one delivers; `lease_seconds` how long
    a host that died keeps it, where the engine cannot tell (on the file engine it ends with the process).
    """

    def __init__(
        self,
        engine: PersistenceEngine,
        dispatcher: Dispatcher,
        *,
        select: Callable[[Commit], Commit | None] = lambda commit: commit,
        retry: Retry | None = None,
        lease_seconds: float = LEASE_SECONDS,
        standby_seconds: float = STANDBY_SECONDS,
    ) -> None:
        self._engine = engine
        self._delivery = Delivery(engine, dispatcher, select, retry or Retry())
        lease_seconds = checked_seconds(lease_seconds, "lease_seconds")
        self._turn = KeptTurn(engine, DISPATCHER, lease_seconds, standby_seconds)
        self._keep_seconds = lease_seconds / 3
        self._stopping = threading.Event()
        self._rounds = Rounds()
        # Held by who starts or delivers; again by a signal's handler that closes the store which it interrupts.
        self._lock = threading.RLock()
        self._started = False

    @property
    def health(self) -> DispatchHealth:
        """How delivery goes here; `published_health` tells how it goes in the process that delivers."""
        return self._delivery.health

    def start(self) -> None:
        """Begin, with what is undispatched. Called once at the most."""
        raise NotImplementedError

    def told(self, commit: Commit) -> bool:
        """A commit was stored; whether its caller may go on at once. Waits for nothing."""
        raise NotImplementedError

    def committed(self, commit: Commit) -> None:
        """The same, and its caller waits for as long as it must; may raise `DispatchError`."""
        raise NotImplementedError

    def _take_turn(self) -> bool:
        """Whether it is our turn now; never waits."""
        if not self._turn.take():
            return False
        try:
            self._delivery.begin(self._turn.lease)
        except BaseException:
            self._turn.give_back()
            raise
        return True

    def _give_back(self) -> None:
        try:
            self._turn.give_back()
        except Exception as error:  # what was done in it is done
            _log.warning("others must wait until the turn runs out: %s", error)

    def _settle(self, *, until: Verdict | None, up_to: int | None = None) -> Iterator[tuple[Commit, Verdict]]:
        """Deliver or park what is undispatched now, up to that token, and give each commit; while one fails, wait.

        With `until=STOP` a commit that reached its limit raises its error, otherwise it is tried again.
        """
        for commit in self._delivery.undispatched():
            if up_to is not None and commit.checkpoint_token > up_to:
                return
            while (verdict := self._attempt(commit)) in (Verdict.AGAIN, Verdict.STOP):
                if verdict is until and self._delivery.error is not None:
                    raise self._delivery.error
                self._wait(self._delivery.attempts.wait_seconds())
            if verdict is None:
                return
            yield commit, verdict
        self._delivery.all_settled()

    def _attempt(self, commit: Commit) -> Verdict | None:
        """One attempt while it is our turn; `None` when the scheduler ends."""
        if self._stopping.is_set():
            return None
        self._turn.keep()
        return self._delivery.attempt(commit)

    def _wait(self, seconds: float) -> None:
        while seconds > 0 and not self._stopping.wait(min(seconds, self._keep_seconds)):
            seconds -= self._keep_seconds
            self._turn.keep()

    def _wait_for_the_end(self) -> None:
        """Return when nobody delivers any more; `_stopping` is set."""
        raise NotImplementedError

    def close(self) -> None:
        """Deliver the commit in hand to its end, then let go of the dispatcher; one that closes its own store is not
        waited for."""
        self._stopping.set()
        if not self._rounds.is_within():
            self._wait_for_the_end()
        self._delivery.close()


class SynchronousDispatchScheduler(Scheduler):
    """Delivers before the committing call returns; when another process has the turn, once that has delivered.

    `committed` raises `DispatchError`, which says that the commit is stored, when the dispatcher keeps failing at it
    or at one before it, when it is parked, by whomever, and when the store is closed before. At the start what an
    earlier process left is delivered; that failing is logged and shown by `health`, and does not keep the store from
    opening.

    A dispatcher may commit to the store that it is called for. Such a commit is delivered after the one that the
    dispatcher has in hand, by the call that delivers that one.
    """

    def start(self) -> None:
        """Deliver what is left, once; from here on commits are delivered."""
        self._started = True
        with self._lock:
            try:
                if self._take_turn():
                    with self._rounds.begin():
                        while self._run_once_over() and self._rounds.joined():
                            pass
            except Exception as error:
                _log.error("what is undispatched waits for the next commit: %s", error)
            finally:
                self._give_back()

    def _run_once_over(self) -> bool:
        for commit in self._delivery.undispatched():
            if self._attempt(commit) in (None, Verdict.AGAIN, Verdict.STOP):
                return False
        self._delivery.all_settled()
        return True

    def told(self, commit: Commit) -> bool:
        """Whether nothing is delivered yet, or a dispatcher made it, so that it comes with the round that called it."""
        return not self._started or self._rounds.join(commit.checkpoint_token)

    def committed(self, commit: Commit) -> None:
        """Return when `commit` is delivered, and all before it; at once where a dispatcher made it."""
        if self.told(commit):
            return
        stored = f"{named(commit)} is stored"
        try:
            with self._lock:
                parked = self._deliver(commit)
            parked_by_others = None if parked is not None else self._delivery.parked_reason(commit)
        except Exception as error:
            token = self.health.failing_token
            where = "is not delivered yet" if token is None else f"delivery stands at checkpoint {token}"
            raise DispatchError(f"{stored}, but {where}: {error}; the next commit tries again", commit) from error
        if parked_by_others is not None:
            raise DispatchError(f"{stored}, but it could not be delivered and is parked: {parked_by_others}", commit)
        if parked:
            token = min(parked)
            what = "it" if token == commit.checkpoint_token else f"the commit at checkpoint {token}, of its dispatcher,"
            raise DispatchError(
                f"{stored}, but {what} could not be delivered and is parked: {parked[token]}", commit
            ) from parked[token]

    def _deliver(self, commit: Commit) -> _Parked | None:
        """What was parked here of the commit and those that joined it; `None` where others have settled it."""
        while self._has_turn(commit):
            try:
                return self._deliver_in_turn(commit)
            except LeaseLostError as error:
                _log.warning("another process delivers now: %s", error)
            finally:
                self._give_back()
        return None

    def _has_turn(self, commit: Commit) -> bool:
        """Wait for our turn; whether it came before others had settled the commit."""
        pause = _FIRST_WAIT_SECONDS
        while not self._take_turn():
            stopping = self._stopping.wait(pause)
            if self._delivery.is_settled(commit):
                return False
            if stopping:
                raise _closed_before()
            self._check_other(commit)
            pause = min(pause * 2, _LONGEST_WAIT_SECONDS)
        return True

    def _deliver_in_turn(self, commit: Commit) -> _Parked | None:
        parked: _Parked = {}
        is_settled = False
        # What comes behind it is its own callers', and its failing theirs; but for what was joined to this round.
        ours = joined = {commit.checkpoint_token}
        with self._rounds.begin():
            while joined:
                self._delivery.attempts.begin()
                for settled, verdict in self._settle(until=Verdict.STOP, up_to=max(ours)):
                    is_settled |= settled.checkpoint_token == commit.checkpoint_token
                    if verdict is Verdict.PARK and settled.checkpoint_token in ours:
                        parked[settled.checkpoint_token] = self._delivery.error
                joined = self._rounds.joined()
                ours = ours | joined
        if not is_settled and self._stopping.is_set() and not self._delivery.is_settled(commit):
            raise _closed_before()
        return parked if is_settled else None

    def _check_other(self, commit: Commit) -> None:
        other = published_health(self._engine)
        if other.stopped and other.failing_token is not None and other.failing_token <= commit.checkpoint_token:
            self._delivery.attempts.health = other
            raise RuntimeError(f"another process delivers and cannot: {other.last_error}")

    def _wait_for_the_end(self) -> None:
        with self._lock:
            pass


def _closed_before() -> StoreClosedError:
    return StoreClosedError("the store was closed before it was delivered")


class AsynchronousDispatchScheduler(Scheduler):
    """Delivers in a thread of its own. A commit that cannot be delivered is tried again until it can, or parked."""

    _thread: threading.Thread
    _follower: Follower
    _failures = 0

    def start(self) -> None:
        """Deliver what is left, and what will be committed by whatever process."""
        with self._lock:
            if self._stopping.is_set():
                return
            self._follower = Follower(self._engine, self._stopping)
            self._thread = threading.Thread(target=self._deliver_until_stopped, name="fsstore dispatch", daemon=True)
            self._thread.start()
            self._started = True

    def told(self, commit: Commit) -> bool:
        """Wake the thread, where nothing else does; nobody waits for it."""
        if self._started:
            self._follower.committed()
        return True

    def committed(self, commit: Commit) -> None:
        """Wake the thread."""
        self.told(commit)

    def _deliver_until_stopped(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._take_turn():
                    self._deliver_while_it_is_our_turn()
                else:
                    self._stopping.wait(self._turn.pause_seconds)
            except StoreClosedError as error:
                if isinstance(error, DispatcherGoneError):
                    _log.warning("nothing is delivered here any more: %s", error)
                break
            except LeaseLostError as error:
                _log.warning("another process delivers now: %s", error)
                self._give_back()
            except BaseException as error:  # the engine failed, or a dispatcher called `sys.exit`; tried again
                self._failures += 1
                self._delivery.attempts.health = DispatchHealth(self._failures, None, describe(error))
                _log.warning("delivery failed and is tried again: %s", describe(error))
                self._give_back()
                self._stopping.wait(self._delivery.attempts.retry.wait_seconds(self._failures))
        self._give_back()

    def _deliver_while_it_is_our_turn(self) -> None:
        # Before the first look at what is undispatched, which then covers all up to here.
        position = self._follower.last_token()
        while not self._stopping.is_set():
            for settled, _ in self._settle(until=None):
                position = max(position, settled.checkpoint_token)
                self._follower.found()
            self._failures = 0
            self._follower.wait(position, meanwhile=self._turn.keep)

    def _attempt(self, commit: Commit) -> Verdict | None:
        with self._rounds.begin():  # so that a dispatcher which closes the store is known for one
            return super()._attempt(commit)

    def _wait_for_the_end(self) -> None:
        with self._lock:
            started = self._started
        if started:
            self._follower.committed()
            self._thread.join()
