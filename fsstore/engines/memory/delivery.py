"""The memory engine's part of `DeliveryEngine`: named values and leases in dictionaries, woken by a condition.

Leases end when they are not renewed, as on a server, so that what depends on that can be tried without one.
It knows of commits only the last token that was given out.
"""

from __future__ import annotations

import threading
import time

from fsstore.engine import Lease
from fsstore.engines.arguments import checked_lease, checked_wait
from fsstore.errors import LeaseLostError
from fsstore.model import checked_checkpoint, checked_name


class MemoryDelivery:
    """What `MemoryEngine` inherits; `_lock`, `_last_token` and `_check` are that engine's."""

    _lock: threading.RLock
    _last_token: int

    def _check(self) -> None:
        raise NotImplementedError

    def _begin_delivery(self) -> None:
        self._changed = threading.Condition(self._lock)
        self._checkpoints: dict[str, bytes] = {}
        self._leases: dict[str, tuple[Lease, float]] = {}
        self._last_fence = 0

    def _end_delivery(self) -> None:
        self._checkpoints.clear()
        self._leases.clear()
        self._changed.notify_all()

    def get_checkpoint(self, name: str) -> bytes | None:
        """The value last put under `name`."""
        with self._lock:
            self._check()
            return self._checkpoints.get(checked_name(name))

    def put_checkpoint(self, name: str, value: bytes, *, lease: Lease | None = None) -> None:
        """Replace the value, while the lease is held."""
        with self._lock:
            self._check()
            if lease is not None:
                self._check_lease(lease)
            self._checkpoints[checked_name(name)] = checked_checkpoint(value, name)

    def delete_checkpoint(self, name: str) -> None:
        """Forget the value."""
        with self._lock:
            self._check()
            self._checkpoints.pop(checked_name(name), None)

    def get_checkpoint_names(self) -> list[str]:
        """The names that have a value, sorted."""
        with self._lock:
            self._check()
            return sorted(self._checkpoints)

    def acquire_lease(self, name: str, seconds: float) -> Lease | None:
        """The lease of `name`, or `None` while somebody holds it."""
        name, seconds = checked_lease(name, seconds)
        with self._lock:
            self._check()
            now = time.monotonic()
            held = self._leases.get(name)
            if held is not None and held[1] > now:
                return None
            self._last_fence += 1
            lease = Lease(name, f"thread {threading.get_ident()}", self._last_fence)
            self._leases[name] = lease, now + seconds
            return lease

    def renew_lease(self, lease: Lease, seconds: float) -> None:
        """Hold it for `seconds` from now, also after it ran out, as long as nobody else took it."""
        _, seconds = checked_lease(lease.name, seconds)
        with self._lock:
            self._check()
            self._check_lease(lease)
            self._leases[lease.name] = lease, time.monotonic() + seconds

    def release_lease(self, lease: Lease) -> None:
        """Let others have it."""
        with self._lock:
            if self._leases.get(lease.name, (None, 0))[0] == lease:
                del self._leases[lease.name]

    def _check_lease(self, lease: Lease) -> None:
        if self._leases.get(lease.name, (None, 0))[0] != lease:
            raise LeaseLostError(f"the lease of {lease.name!r} was released or taken by somebody else")

    def wait_for_commits(self, checkpoint_token: int, timeout_seconds: float) -> bool:
        """Whether there is a commit after the token, within that time."""
        checkpoint_token, timeout_seconds = checked_wait(checkpoint_token, timeout_seconds)
        with self._changed:
            self._check()
            self._changed.wait_for(lambda: self._stops_waiting(checkpoint_token), timeout_seconds)
            self._check()
            return self._last_token > checkpoint_token

    def _stops_waiting(self, checkpoint_token: int) -> bool:
        self._check()
        return self._last_token > checkpoint_token
