"""When dispatchers are called: before a commit's caller goes on, or in a thread of the scheduler's own.

A stored commit only wakes the scheduler. Delivery reads what is undispatched from the engine, in checkpoint
order, marks each commit after it was delivered, and stays at one that cannot be delivered; so a commit may
come twice, but none is passed over. NEventStore pushed commits after storing them, which could reorder them.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from fsstore.dispatch.dispatchers import Dispatcher
from fsstore.engine import PersistenceEngine
from fsstore.errors import DispatchError, StoreClosedError
from fsstore.model import Commit

_log = logging.getLogger("fsstore.dispatch")


@dataclass(frozen=True, slots=True)
class Retry:
    """How a failing dispatcher is tried again: waits double from the first to the longest, with jitter.

    After `max_attempts` a synchronous scheduler gives up for this call; an asynchronous one goes on at the
    longest wait.
    """

    initial_backoff_seconds: float = 0.05
    max_backoff_seconds: float = 30.0
    max_attempts: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.initial_backoff_seconds <= self.max_backoff_seconds:
            raise ValueError("0 <= initial_backoff_seconds <= max_backoff_seconds must hold")
        if self.max_attempts < 1:
            raise ValueError("max_attempts must be at least 1")

    def wait_seconds(self, failures: int) -> float:
        """How long to wait after so many failures in a row; between half of the doubled wait and all of it."""
        longest = min(self.max_backoff_seconds, self.initial_backoff_seconds * 2.0 ** min(failures - 1, 32))
        return longest * random.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True)
class DispatchHealth:
    """How delivery goes: the commit it stands at and why, if it stands."""

    failures: int = 0
    failing_token: int | None = None
    last_error: str | None = None

    @property
    def ok(self) -> bool:
        return not self.failures


class _Delivery:
    """Delivers what is undispatched, one commit after the other, one thread at a time."""

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
        self._lock = threading.Lock()
        self.retry = retry
        self.health = DispatchHealth()
        self.stopping = threading.Event()

    def run(self, max_attempts: int | None) -> None:
        """Deliver everything that is undispatched now. After `max_attempts` failures at one commit, raise."""
        with self._lock:
            for commit in self._engine.get_undispatched_commits():
                self._deliver(commit, max_attempts)
                if self.stopping.is_set():
                    return
                self._engine.mark_commit_as_dispatched(commit)

    def _deliver(self, commit: Commit, max_attempts: int | None) -> None:
        # A commit that the hooks hide from readers is hidden from dispatchers too.
        selected = self._select(commit)
        failures = 0
        while selected is not None and not self.stopping.is_set():
            try:
                self._dispatcher.dispatch(selected)
                break
            except Exception as error:
                failures += 1
                self.health = DispatchHealth(failures, commit.checkpoint_token, f"{type(error).__name__}: {error}")
                _log.warning("dispatching commit %s failed: %s", commit.checkpoint_token, error)
                if max_attempts is not None and failures >= max_attempts:
                    raise
            self.stopping.wait(self.retry.wait_seconds(failures))
        if failures and not self.stopping.is_set():
            self.health = DispatchHealth()

    def close(self) -> None:
        self._dispatcher.close()


class SynchronousDispatchScheduler:
    """Delivers before the committing call returns.

    `committed` raises `DispatchError`, which says that the commit is stored, when the dispatcher keeps
    failing. At the start what an earlier process left is delivered; that failing is logged and shown by
    `health`, and does not keep the store from opening.
    """

    def __init__(
        self,
        engine: PersistenceEngine,
        dispatcher: Dispatcher,
        *,
        select: Callable[[Commit], Commit | None] = lambda commit: commit,
        retry: Retry | None = None,
    ) -> None:
        self._delivery = _Delivery(engine, dispatcher, select, retry or Retry())

    @property
    def health(self) -> DispatchHealth:
        return self._delivery.health

    def start(self) -> None:
        try:
            self._delivery.run(1)
        except Exception as error:
            _log.error("what is undispatched waits for the next commit: %s", error)

    def committed(self, commit: Commit) -> None:
        try:
            self._delivery.run(self._delivery.retry.max_attempts)
        except Exception as error:
            raise DispatchError(
                f"commit {commit.commit_id} of stream {commit.stream_id!r} in bucket {commit.bucket_id!r} is stored, "
                f"but delivery stands at checkpoint {self.health.failing_token}: {error}; the next commit tries again",
                commit,
            ) from error

    def close(self) -> None:
        self._delivery.stopping.set()
        self._delivery.close()


class AsynchronousDispatchScheduler:
    """Delivers in a thread of its own. A commit that cannot be delivered is tried again until it can."""

    def __init__(
        self,
        engine: PersistenceEngine,
        dispatcher: Dispatcher,
        *,
        select: Callable[[Commit], Commit | None] = lambda commit: commit,
        retry: Retry | None = None,
    ) -> None:
        self._delivery = _Delivery(engine, dispatcher, select, retry or Retry())
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fsstore dispatch", daemon=True)

    @property
    def health(self) -> DispatchHealth:
        return self._delivery.health

    def start(self) -> None:
        self._wanted.set()
        self._thread.start()

    def committed(self, commit: Commit) -> None:
        self._wanted.set()

    def _run(self) -> None:
        delivery, failures = self._delivery, 0
        while not delivery.stopping.is_set():
            self._wanted.wait()
            self._wanted.clear()
            try:
                delivery.run(None)
                failures = 0
            except StoreClosedError:
                return
            except Exception as error:  # the engine failed; shown, and tried again
                failures += 1
                delivery.health = DispatchHealth(failures, None, f"{type(error).__name__}: {error}")
                _log.warning("reading what is undispatched failed: %s", error)
                delivery.stopping.wait(delivery.retry.wait_seconds(failures))
                self._wanted.set()

    def close(self) -> None:
        self._delivery.stopping.set()
        self._wanted.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        self._delivery.close()
