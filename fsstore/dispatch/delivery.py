"""One attempt at a time: what is undispatched, in checkpoint order, to a dispatcher, and then marked.

It never waits and starts no thread; who calls it, how often and after how long is a scheduler's. A commit may come
twice, but none is passed over: it is marked only once it was delivered, or durably parked.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import msgpack

from fsstore.dispatch.dispatchers import Dispatcher, DispatcherGoneError
from fsstore.dispatch.parking import PARKED_BUCKET, Parking, reference_of
from fsstore.dispatch.policy import Attempts, DispatchHealth, Retry, Verdict, describe
from fsstore.engine import DeliveryEngine, Lease, PersistenceEngine
from fsstore.errors import CorruptionError
from fsstore.model import Commit
from fsstore.serialization.untrusted import check_msgpack
from fsstore.steps import answered

_log = logging.getLogger("fsstore.dispatch")
DISPATCHER = "dispatcher/default"


class Delivery:
    """Delivers to one dispatcher. One thread at a time, while it has the turn."""

    def __init__(
        self,
        engine: PersistenceEngine,
        dispatcher: Dispatcher,
        select: Callable[[Commit], Commit | None],
        retry: Retry,
    ) -> None:
        self._engine = engine
        self._dispatcher = dispatcher
        self._select = select
        self._parking = Parking(engine)
        self._lease: Lease | None = None
        self._published: DispatchHealth | None = None
        self.attempts = Attempts(retry)
        self.error: Exception | None = None

    @property
    def health(self) -> DispatchHealth:
        return self.attempts.health

    def begin(self, lease: Lease | None) -> None:
        """It is our turn, by this lease; if it was others' meanwhile, what they said of it counts until we do."""
        before, self._lease = self._lease, lease
        if before is not None and lease is not None and lease.fence == before.fence + 1:
            return  # nobody else had it
        try:
            self._published = published_health(self._engine)
        except CorruptionError:
            self._published = None

    def undispatched(self) -> Iterator[Commit]:
        """What is left to deliver now."""
        return self._engine.get_undispatched_commits()

    def is_settled(self, commit: Commit) -> bool:
        """Whether `commit` and all before it are delivered or parked, by whatever process."""
        first = next(self.undispatched(), None)
        return first is None or first.checkpoint_token > commit.checkpoint_token

    def parked_reason(self, commit: Commit) -> str | None:
        """Why `commit` is parked, if it is, by whomever."""
        if self.attempts.retry.then != "park":
            return None
        reference = reference_of(commit)
        return next((parked.reason for parked in self._parking.commits() if parked.reference == reference), None)

    def attempt(self, commit: Commit) -> Verdict:
        """Try to deliver `commit`. After `DELIVERED` and `PARK` it is marked, and the next one is due."""
        if commit.bucket_id == PARKED_BUCKET:
            verdict = self._send_again(commit)
        else:
            verdict = self._try(commit)
            if verdict is Verdict.PARK:
                self._park(commit)
        if verdict in (Verdict.DELIVERED, Verdict.PARK):
            self._engine.mark_commit_as_dispatched(commit)
            self.attempts.succeeded()
        self._publish()
        return verdict

    def _try(self, commit: Commit) -> Verdict:
        try:
            # A commit that the hooks hide from readers is hidden from dispatchers too.
            selected = self._select(commit)
            if selected is not None:
                answered(self._dispatcher.dispatch, selected)
        except DispatcherGoneError:
            raise
        except Exception as error:
            self.error = error
            verdict = self.attempts.failed(commit, error, time.monotonic())
            _log.warning("dispatching commit %s failed: %s", commit.checkpoint_token, describe(error))
            return verdict
        return Verdict.DELIVERED

    def _park(self, commit: Commit) -> None:
        reason = self.health.last_error or ""
        self._parking.park(commit, reason, self.health.failures)
        _log.error("commit %s is parked after %s attempts: %s", commit.checkpoint_token, self.health.failures, reason)

    def _send_again(self, request: Commit) -> Verdict:
        for parked, commit in self._parking.wanted(request):
            if commit is None:
                self._parking.deleted(parked)
                _log.warning("parked commit %s was deleted and cannot be sent again", parked.checkpoint_token)
                continue
            verdict = self._try(commit)
            if verdict is Verdict.AGAIN:
                return verdict
            if verdict is Verdict.DELIVERED:
                self._parking.sent(parked)
            else:
                self._park(commit)
            self.attempts.succeeded()
        return Verdict.DELIVERED

    def all_settled(self) -> None:
        """Nothing is left to deliver, here or by what another process left behind."""
        self.attempts.succeeded()
        self._publish()

    def _publish(self) -> None:
        """Let other processes see the health, when it changed."""
        if self.health == self._published or not isinstance(self._engine, DeliveryEngine):
            return
        if self.health.ok:
            self._engine.delete_checkpoint(DISPATCHER)
        else:
            self._engine.put_checkpoint(DISPATCHER, msgpack.packb(self.health.as_dict()), lease=self._lease)
        self._published = self.health

    def close(self) -> None:
        self._dispatcher.close()


def published_health(engine: PersistenceEngine) -> DispatchHealth:
    """How delivery goes on this store, as whoever delivers said last."""
    value = engine.get_checkpoint(DISPATCHER) if isinstance(engine, DeliveryEngine) else None
    if value is None:
        return DispatchHealth()
    try:
        check_msgpack(value)
        fields = msgpack.unpackb(value)
        del fields["ok"]
        return DispatchHealth(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptionError(
            f"what is stored as the health of dispatch is none ({error}): {value[:40]!r}",
            repair="dispatch again; it is written anew",
        ) from None
