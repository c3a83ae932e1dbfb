"""The right to deliver under a name: one at a time among all threads, processes and hosts on a store.

On an engine with leases that is a lease, renewed as long as it is used; on any other engine whoever asks has it,
because only one process can be there. Nothing here knows what is delivered.
"""

from __future__ import annotations

import time

from fsstore.engine import DeliveryEngine, Lease, PersistenceEngine


class Turn:
    """Taken and given back by one thread. `lease_seconds` is how long a dead host keeps others waiting."""

    def __init__(self, engine: PersistenceEngine, name: str, lease_seconds: float = 10.0) -> None:
        self._leases = engine if isinstance(engine, DeliveryEngine) else None
        self._name = name
        self._lease_seconds = lease_seconds
        self._renew_at = 0.0
        self.lease: Lease | None = None

    def take(self) -> bool:
        """Whether it is our turn now; never waits."""
        if self._leases is None or self.lease is not None:
            return True
        self.lease = self._leases.acquire_lease(self._name, self._lease_seconds)
        self._renew_at = time.monotonic() + self._lease_seconds / 3
        return self.lease is not None

    def keep(self) -> None:
        """Call it often while delivering; `LeaseLostError` when it is somebody else's turn by now."""
        if self._leases is None or self.lease is None or time.monotonic() < self._renew_at:
            return
        self._leases.renew_lease(self.lease, self._lease_seconds)
        self._renew_at = time.monotonic() + self._lease_seconds / 3

    def give_back(self) -> None:
        """Let others have their turn. Harmless when it was not ours."""
        lease, self.lease = self.lease, None
        if self._leases is not None and lease is not None:
            self._leases.release_lease(lease)
