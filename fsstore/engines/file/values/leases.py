"""Leases between threads and processes: a lock file for each name.

A lease is an advisory lock that its holder's process keeps, so it ends at once when that process dies and is
never lost otherwise. What is done under a lease is not known here.
"""

from __future__ import annotations

import os
import threading

from fsstore.engine import Lease
from fsstore.engines.file.failures import asked
from fsstore.engines.file.files import layout
from fsstore.engines.file.values.named_values import file_name
from fsstore.errors import CorruptionError, LeaseLostError, StoreClosedError

LEASE = ".lease"
_FENCE_BYTES = 8
_MAX_FENCE = (1 << 63) - 1


class Leases:
    """The locks this engine holds, and the lock files it has open to ask for them."""

    def __init__(self, files: layout.StoreFiles) -> None:
        self._disk = files.disk
        self._directory = f"{files.path}/{layout.DISPATCH}"
        # A subscription that is collected in here lets go of its own.
        self._mutex = threading.RLock()
        # Kept open between attempts: a child that is forked closes them all, and none that is locked escapes it.
        self._handles: dict[str, int] = {}
        self._held: dict[str, Lease] = {}
        self._closed = False

    def acquire(self, name: str) -> Lease | None:
        lease = None
        try:
            with self._mutex, asked(f"acquiring the lease {name!r} in {self._directory}"):
                lease = self._acquired(name)
        except BaseException:
            if lease is not None:  # nobody hears of it where this thread is interrupted now
                self.release(lease)
            raise
        return lease

    def _acquired(self, name: str) -> Lease | None:
        if self._closed:
            raise StoreClosedError(f"{self._directory} is closed; open the store anew")
        if name in self._held:
            return None
        handle = self._handles.get(name)
        if handle is None:
            path = f"{self._directory}/{file_name(name)}{LEASE}"
            handle = self._handles[name] = self._disk.open(path, write=True, create=True)
        if not self._disk.lock(handle, blocking=False):
            return None
        try:
            fence = self._next_fence(name, handle)
            lease = Lease(name, f"process {os.getpid()} thread {threading.get_ident()}", fence)
        except BaseException:
            self._disk.unlock(handle)
            raise
        self._held[name] = lease
        return lease

    def _next_fence(self, name: str, handle: int) -> int:
        fence = int.from_bytes(self._disk.read(handle, _FENCE_BYTES, 0), "big") + 1
        if fence > _MAX_FENCE:
            raise CorruptionError(
                f"the lease of {name!r} cannot be given out",
                path=f"{self._directory}/{file_name(name)}{LEASE}",
                offset_bytes=0,
                expected=f"the number of its last holder, below {_MAX_FENCE}",
                repair="delete the file while nobody has the store open",
            )
        self._disk.write(handle, fence.to_bytes(_FENCE_BYTES, "big"), 0)
        return fence

    def check(self, lease: Lease) -> None:
        if self._held.get(lease.name) != lease:
            raise LeaseLostError(f"the lease of {lease.name!r} is not held here any more")

    def release(self, lease: Lease) -> None:
        with self._mutex:
            if self._held.get(lease.name) == lease:
                del self._held[lease.name]
                self._disk.unlock(self._handles[lease.name])

    def close(self) -> None:
        """Let go of everything, for good."""
        with self._mutex:
            self._closed = True
            for name in self._held:
                # Closing leaves it to a child that is being forked now.
                self._disk.unlock(self._handles[name])
            self.leave_to_parent()

    def leave_to_parent(self) -> None:
        """In a forked child this takes nothing from the parent, whose handles stay open."""
        self._held.clear()
        while self._handles:
            self._disk.close(self._handles.popitem()[1])
