"""The engine's part of `DeliveryEngine`: values and leases as transactions, and waiting for commits.

Commits of this engine wake who waits at once; those of other processes are looked for, less and less often.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection

from fsstore.engine import Lease
from fsstore.engines.arguments import checked_lease, checked_wait
from fsstore.engines.sql import leases, named_values, tokens
from fsstore.engines.sql.transactions import KeyTakenError, Transactions
from fsstore.errors import LeaseLostError, StorageError, StoreClosedError
from fsstore.model import checked_checkpoint, checked_name

Result = TypeVar("Result")

# The time between two looks is a part of that for which nothing was committed.
_LOOKS_OF_QUIET = 0.1
_SHORTEST_LOOK_SECONDS = 0.005
_LONGEST_LOOK_SECONDS = 0.1


class SqlDelivery:
    """What `SqlEngine` inherits; the attributes and methods that raise `NotImplementedError` are that engine's."""

    _transactions: Transactions
    _closed: bool

    def _check(self) -> None:
        raise NotImplementedError

    def _read(self, ask: Callable[[Connection], Result], what: str) -> Result:
        raise NotImplementedError

    def _write(self, change: Callable[[Connection], Result], what: str) -> Result:
        raise NotImplementedError

    def _begin_delivery(self, now: ColumnElement[float]) -> None:
        self._now = now
        self._held: set[Lease] = set()
        self._woken = threading.Condition()
        self._newest_token = 0
        # The token that was last seen, and when it was first seen; when the next look is due.
        self._seen = -1, 0.0
        self._look_at = 0.0

    def _end_waiting(self) -> None:
        with self._woken:
            self._woken.notify_all()

    def _end_leases(self) -> None:
        if held := list(self._held):
            # What cannot be given back now runs out by itself.
            with suppress(StorageError):
                self._transactions.write(partial(leases.release, held=held), "releasing leases")
        self._held.clear()

    # ---- named values ----

    def get_checkpoint(self, name: str) -> bytes | None:
        """The value last put under `name`."""
        name = checked_name(name)
        return self._read(partial(named_values.get, name=name), f"reading checkpoint {name!r}")

    def put_checkpoint(self, name: str, value: bytes, *, lease: Lease | None = None) -> None:
        """Replace the value, while `lease` is held; durable on return."""
        name, value = checked_name(name), checked_checkpoint(value, name)
        put = partial(named_values.put, name=name, value=value, lease=lease)
        try:
            self._write(put, f"putting checkpoint {name!r}")
        except KeyTakenError:
            # Somebody else put the first value meanwhile; now there is one to replace.
            self._write(put, f"putting checkpoint {name!r}")

    def delete_checkpoint(self, name: str) -> None:
        """Forget the value."""
        name = checked_name(name)
        self._write(partial(named_values.forget, name=name), f"deleting checkpoint {name!r}")

    def get_checkpoint_names(self) -> list[str]:
        """The names that have a value, sorted."""
        return self._read(named_values.names, "reading the names of checkpoints")

    # ---- leases ----

    def acquire_lease(self, name: str, seconds: float) -> Lease | None:
        """The lease of `name`, or `None` while somebody holds it."""
        name, seconds = checked_lease(name, seconds)
        acquire = partial(leases.acquire, name=name, holder=uuid4().hex, seconds=seconds, now=self._now)
        try:
            lease = self._write(acquire, f"acquiring the lease {name!r}")
        except KeyTakenError:
            return None
        if lease is not None:
            self._held.add(lease)
        return lease

    def renew_lease(self, lease: Lease, seconds: float) -> None:
        """Hold it for `seconds` from now, also after it ran out, as long as nobody else took it."""
        _, seconds = checked_lease(lease.name, seconds)
        renew = partial(leases.renew, lease=lease, seconds=seconds, now=self._now)
        try:
            self._write(renew, f"renewing the lease {lease.name!r}")
        except LeaseLostError:
            self._held.discard(lease)
            raise

    def release_lease(self, lease: Lease) -> None:
        """Let others have it."""
        with suppress(StoreClosedError):  # closing releases it
            self._write(partial(leases.release, held=[lease]), f"releasing the lease {lease.name!r}")
            self._held.discard(lease)

    # ---- waiting ----

    def wait_for_commits(self, checkpoint_token: int, timeout_seconds: float) -> bool:
        """Whether there may be a commit after the token, within that time."""
        checkpoint_token, timeout_seconds = checked_wait(checkpoint_token, timeout_seconds)
        until = time.monotonic() + timeout_seconds
        while True:
            # One look is for all who wait, also for who asks again and again for a short time.
            is_due = timeout_seconds <= 0 or self._must_look(checkpoint_token)
            if is_due and self._look() > checkpoint_token:
                return True
            left = until - time.monotonic()
            if left <= 0:
                return False
            with self._woken:
                self._woken.wait_for(
                    lambda: self._must_look(checkpoint_token), min(left, self._look_at - time.monotonic())
                )

    def _must_look(self, checkpoint_token: int) -> bool:
        return self._closed or self._newest_token > checkpoint_token or time.monotonic() >= self._look_at

    def _look(self) -> int:
        token = self._read(tokens.last, "looking for commits")
        now = time.monotonic()
        with self._woken:
            if token != self._seen[0]:
                self._seen = token, now
            quiet_seconds = now - self._seen[1]
            pause_seconds = max(quiet_seconds * _LOOKS_OF_QUIET, _SHORTEST_LOOK_SECONDS)
            self._look_at = now + min(pause_seconds, _LONGEST_LOOK_SECONDS)
        return token

    def wake(self, token: int) -> None:
        """Have those who wait for commits look again: there is one of this token."""
        with self._woken:
            self._newest_token = max(self._newest_token, token)
            self._woken.notify_all()
