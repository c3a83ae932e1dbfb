"""The right to deliver under a name: one at a time among all threads, processes and hosts on a store.

On an engine with leases that is a lease, renewed as long as it is used; on any other engine whoever asks has it,
because only one process can be there. Nothing here knows what is delivered.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from fsstore.engine import DeliveryEngine, Lease, PersistenceEngine
from fsstore.errors import LeaseLostError, StoreClosedError
from fsstore.model import checked_seconds

LEASE_SECONDS, STANDBY_SECONDS = 10.0, 0.03
_LONGEST_PAUSE_SECONDS = 0.25
_PAUSE_GROWTH = 1.5


class Turn:
    """Taken and given back by one thread. `lease_seconds` is how long a dead host keeps others waiting.

    `standby_seconds` is how soon to ask again while others have it. Where a lease runs out, which only a server could
    tell, it is asked for less and less often.
    """

    def __init__(
        self,
        engine: PersistenceEngine,
        name: str,
        lease_seconds: float = LEASE_SECONDS,
        standby_seconds: float = STANDBY_SECONDS,
    ) -> None:
        self._leases = engine if isinstance(engine, DeliveryEngine) else None
        self._runs_out: bool = getattr(engine, "leases_run_out", True)
        self._name = name
        self._lease_seconds = checked_seconds(lease_seconds, "lease_seconds")
        self._renew_at = 0.0
        self._standby_seconds = self.pause_seconds = checked_seconds(standby_seconds, "standby_seconds")
        self.lease: Lease | None = None

    def take(self) -> bool:
        """Whether it is our turn now; never waits. If it is not, ask again in `pause_seconds`."""
        if self._leases is None or self.lease is not None:
            return True
        self.lease = self._leases.acquire_lease(self._name, self._lease_seconds)
        self._renew_at = time.monotonic() + self._lease_seconds / 3
        if self.lease is not None:
            self.pause_seconds = self._standby_seconds
        elif self._runs_out:
            longest_seconds = max(self._standby_seconds, _LONGEST_PAUSE_SECONDS)
            self.pause_seconds = min(self.pause_seconds * _PAUSE_GROWTH, longest_seconds)
        return self.lease is not None

    @property
    def is_sure(self) -> bool:
        """Whether the lease is ours, and need not be renewed yet."""
        return self.lease is not None and time.monotonic() < self._renew_at

    def keep(self) -> None:
        """Call it often while delivering; `LeaseLostError` when it is somebody else's turn by now."""
        lease = self.lease
        if self._leases is None or lease is None or time.monotonic() < self._renew_at:
            return
        self._leases.renew_lease(lease, self._lease_seconds)
        self._renew_at = time.monotonic() + self._lease_seconds / 3

    def give_back(self) -> None:
        """Let others have their turn. Harmless when it was not ours."""
        lease, self.lease = self.lease, None
        if self._leases is not None and lease is not None:
            self._leases.release_lease(lease)


class KeptTurn(Turn):
    """A turn that lasts while what is done in it takes long: where a lease runs out, a thread renews it meanwhile."""

    # Free once it is given back. Also a signal's handler that interrupts whoever has it may do that.
    _had: threading.Lock | None = None

    def take(self) -> bool:
        """Whether it is our turn now; never waits."""
        is_ours = super().take()
        if self.lease is not None and self._runs_out and self._had is None:
            self._had = threading.Lock()
            self._had.acquire()
            keeping = threading.Thread(target=self._keep_while, args=(self._had,), name="fsstore turn", daemon=True)
            # Where the system has no thread left, it is kept between one commit and the next.
            with suppress(RuntimeError):
                keeping.start()
        return is_ours

    def _keep_while(self, had: threading.Lock) -> None:
        while not had.acquire(timeout=self._lease_seconds / 6):
            try:
                self.keep()
            except (LeaseLostError, StoreClosedError):
                return  # said where it is kept next
            except Exception:
                continue  # as that it could not be renewed this time

    def give_back(self) -> None:
        """Let others have their turn. Harmless when it was not ours."""
        had, self._had = self._had, None
        if had is not None:
            had.release()
        super().give_back()
