"""The file engine's part of `DeliveryEngine`: a file for each named value, a lock file for each lease, and waiting.

A lease is an advisory lock that its holder's process keeps, so it ends at once when that process dies and is
never lost otherwise. Waiting looks at the control page, from which no writer has to be asked anything. Nothing
here knows what is delivered or remembered.
"""

from __future__ import annotations

import os
import threading
import time
from hashlib import blake2b
from typing import Any

from fsstore.engine import Lease
from fsstore.engines.file import layout, slots
from fsstore.engines.file.disk import Disk
from fsstore.errors import LeaseLostError
from fsstore.model import checked_checkpoint, checked_name

VALUE = ".value"
LEASE = ".lease"
_FENCE_BYTES = 8
# A wait is a part of the time for which nothing was committed. A look, with its wake, costs some 50 microseconds.
_WAIT_OF_QUIET = 0.1
_SHORTEST_WAIT_SECONDS = 0.0005
_LONGEST_WAIT_SECONDS = 0.01


class NamedValues:
    """The values, each in two slots of its own file. A forgotten one leaves an empty file, which nobody can
    be about to write into when it goes."""

    def __init__(self, disk: Disk, store: str, seed: int) -> None:
        self._disk = disk
        self._directory = f"{store}/{layout.DISPATCH}"
        self._seed = seed

    def _path(self, name: str) -> str:
        return f"{self._directory}/{file_name(name)}{VALUE}"

    def _read(self, path: str) -> list[Any]:
        """Name and value in the file; nothing when it is missing or damaged."""
        try:
            handle = self._disk.open(path)
        except FileNotFoundError:
            return []
        try:
            self._disk.lock(handle, shared=True)
            return slots.read_newest(self._disk, handle, self._seed)[1]
        finally:
            self._disk.close(handle)

    def get(self, name: str) -> bytes | None:
        fields = self._read(self._path(name))
        return fields[1] if fields and fields[0] == name else None

    def put(self, name: str, value: bytes) -> None:
        disk, seed = self._disk, self._seed
        handle = disk.open(self._path(name), write=True, create=True)
        try:
            disk.lock(handle)
            generation = slots.read_newest(disk, handle, seed)[0] + 1
            slots.write(disk, handle, seed, generation, slots.pack(generation, name, value))
        finally:
            disk.close(handle)

    def delete(self, name: str) -> None:
        try:
            handle = self._disk.open(self._path(name), write=True)
        except FileNotFoundError:
            return
        try:
            self._disk.lock(handle)
            self._disk.truncate(handle, 0)
        finally:
            self._disk.close(handle)

    def names(self) -> list[str]:
        files = (name for name in self._disk.names(self._directory) if name.endswith(VALUE))
        found = (self._read(f"{self._directory}/{name}") for name in files)
        return sorted(fields[0] for fields in found if fields)


class Leases:
    """The locks this engine holds, and the lock files it has open to ask for them."""

    def __init__(self, disk: Disk, store: str) -> None:
        self._disk = disk
        self._directory = f"{store}/{layout.DISPATCH}"
        self._mutex = threading.Lock()
        # Kept open between attempts: a child that is forked closes them all, and none that is locked escapes it.
        self._handles: dict[str, int] = {}
        self._held: dict[str, Lease] = {}

    def acquire(self, name: str) -> Lease | None:
        with self._mutex:
            if name in self._held:
                return None
            handle = self._handles.get(name)
            if handle is None:
                path = f"{self._directory}/{file_name(name)}{LEASE}"
                handle = self._handles[name] = self._disk.open(path, write=True, create=True)
            if not self._disk.lock(handle, blocking=False):
                return None
            fence = int.from_bytes(self._disk.read(handle, _FENCE_BYTES, 0), "big") + 1
            self._disk.write(handle, fence.to_bytes(_FENCE_BYTES, "big"), 0)
            lease = Lease(name, f"process {os.getpid()} thread {threading.get_ident()}", fence)
            self._held[name] = lease
            return lease

    def check(self, lease: Lease) -> None:
        if self._held.get(lease.name) != lease:
            raise LeaseLostError(f"the lease of {lease.name!r} is not held here any more")

    def release(self, lease: Lease) -> None:
        with self._mutex:
            if self._held.get(lease.name) == lease:
                del self._held[lease.name]
                self._disk.unlock(self._handles[lease.name])

    def close(self) -> None:
        """Let go of everything. In a forked child this takes nothing from the parent, whose handles stay open."""
        self._held.clear()
        while self._handles:
            self._disk.close(self._handles.popitem()[1])


class FileDelivery:
    """What `FileEngine` inherits; the two checks are that engine's."""

    _values: NamedValues
    _leases: Leases

    def _check(self) -> None:
        raise NotImplementedError

    def check_writing(self) -> None:
        raise NotImplementedError

    def _visible_position(self) -> int:
        raise NotImplementedError

    def _last_token(self) -> int:
        raise NotImplementedError

    def _begin_delivery(self, disk: Disk, store: str, seed: int) -> None:
        self._values = NamedValues(disk, store, seed)
        self._leases = Leases(disk, store)
        # The position that was last seen as visible, and when it was first seen.
        self._moved = -1, 0.0

    def get_checkpoint(self, name: str) -> bytes | None:
        """The value last put under `name`."""
        self._check()
        return self._values.get(checked_name(name))

    def put_checkpoint(self, name: str, value: bytes, *, lease: Lease | None = None) -> None:
        """Replace the value, while the lease is held; survives the process, the power with the next flush."""
        self.check_writing()
        if lease is not None:
            self._leases.check(lease)
        self._values.put(checked_name(name), checked_checkpoint(value, name))

    def delete_checkpoint(self, name: str) -> None:
        """Forget the value."""
        self.check_writing()
        self._values.delete(checked_name(name))

    def get_checkpoint_names(self) -> list[str]:
        """The names that have a value, sorted."""
        self._check()
        return self._values.names()

    def acquire_lease(self, name: str, seconds: float) -> Lease | None:
        """The lease of `name`, held until it is released or this process or engine ends; `seconds` do not matter."""
        self.check_writing()
        return self._leases.acquire(checked_name(name))

    def renew_lease(self, lease: Lease, seconds: float) -> None:
        """Nothing is due: `LeaseLostError` where the lease was released."""
        self.check_writing()
        self._leases.check(lease)

    def release_lease(self, lease: Lease) -> None:
        """Let others have it."""
        self._leases.release(lease)

    def wait_for_commits(self, checkpoint_token: int, timeout_seconds: float) -> bool:
        """Look at the control page, the more rarely the longer nothing was committed."""
        self._check()
        until = time.monotonic() + timeout_seconds
        seen = -1
        while True:
            self._check()
            now = time.monotonic()
            visible = self._visible_position()
            if visible != seen:
                if self._last_token() > checkpoint_token:
                    return True
                seen = visible
            if visible != self._moved[0]:
                self._moved = visible, now
            if now >= until:
                return False
            pause = (now - self._moved[1]) * _WAIT_OF_QUIET
            time.sleep(min(max(pause, _SHORTEST_WAIT_SECONDS), _LONGEST_WAIT_SECONDS, until - now))


def file_name(name: str) -> str:
    """A file's name for any name: what can be written in it of the name, and what tells it from all others."""
    readable = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name[:40])
    return f"{readable}.{blake2b(name.encode(), digest_size=16).hexdigest()}"
