"""The file engine's part of delivery: what was dispatched, named values, leases, and waiting for commits.

Waiting looks at the control page, from which no writer has to be asked anything. Nothing here knows what is
delivered or remembered.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from fsstore.engine import Lease
from fsstore.engines.arguments import checked_lease, checked_value, checked_wait
from fsstore.engines.file.failures import asked
from fsstore.engines.file.lifetime.open_store import OpenStore, WritableStore
from fsstore.engines.file.processes.control import VISIBLE
from fsstore.errors import StorageUnavailableError
from fsstore.model import Commit, checked_checkpoint, checked_name

# A wait is a part of the time for which nothing was committed. A look, with its wake, costs some 50 microseconds.
_WAIT_OF_QUIET = 0.1
_SHORTEST_WAIT_SECONDS = 0.0005
_LONGEST_WAIT_SECONDS = 0.01


class FileDelivery:
    """What `FileEngine` inherits; which store is open, that engine says."""

    _store: OpenStore | None = None
    leases_run_out = False
    # The position that was last seen as visible, and when it was first seen.
    _moved = -1, 0.0

    def opened(self) -> OpenStore:
        raise NotImplementedError

    def writable(self) -> WritableStore:
        raise NotImplementedError

    # ---- dispatch ----

    def get_undispatched_commits(self) -> Iterator[Commit]:
        """Commits that are not marked as dispatched, in checkpoint order."""
        return _undispatched(self.opened())

    def mark_commit_as_dispatched(self, commit: Commit) -> None:
        """Remember that `commit` was dispatched; survives the process."""
        store, token = self.writable(), checked_value(commit, Commit).checkpoint_token
        # Of what is not there yet, as a commit of another store, a mark would hide whatever gets that token.
        with asked(f"marking commit {commit.commit_id} as dispatched in {store.path}"):
            is_there = token <= store.reader.last_token()
        if is_there:
            store.marks.mark(token)

    # ---- named values ----

    def get_checkpoint(self, name: str) -> bytes | None:
        """The value last put under `name`."""
        return self.opened().values.get(checked_name(name))

    def put_checkpoint(self, name: str, value: bytes, *, lease: Lease | None = None) -> None:
        """Replace the value, while the lease is held; survives the process, the power with the next flush."""
        store = self.writable()
        if lease is not None:
            store.leases.check(lease)
        store.values.put(checked_name(name), checked_checkpoint(value, name))

    def delete_checkpoint(self, name: str) -> None:
        """Forget the value."""
        self.writable().values.delete(checked_name(name))

    def get_checkpoint_names(self) -> list[str]:
        """The names that have a value, sorted."""
        return self.opened().values.names()

    # ---- leases ----

    def acquire_lease(self, name: str, seconds: float) -> Lease | None:
        """The lease of `name`, held until it is released or this process or engine ends; `seconds` do not matter."""
        return self.writable().leases.acquire(checked_lease(name, seconds)[0])

    def renew_lease(self, lease: Lease, seconds: float) -> None:
        """Nothing is due: `LeaseLostError` where the lease was released."""
        checked_lease(lease.name, seconds)
        self.writable().leases.check(lease)

    def release_lease(self, lease: Lease) -> None:
        """Let others have it; also while the store is being closed."""
        if self._store is not None:
            self._store.leases.release(lease)

    # ---- waiting ----

    def wait_for_commits(self, checkpoint_token: int, timeout_seconds: float) -> bool:
        """Look at the control page, the more rarely the longer nothing was committed."""
        checkpoint_token, timeout_seconds = checked_wait(checkpoint_token, timeout_seconds)
        until = time.monotonic() + timeout_seconds
        seen = -1
        while True:
            store = self.opened()
            now = time.monotonic()
            with store.mutex:
                self.opened()  # it may be closed by now; until the mutex is free again it will not be
                visible = store.control.get(VISIBLE)
            if visible != seen:
                with asked(f"looking for commits after checkpoint {checkpoint_token} in {store.path}"):
                    last = store.reader.last_token()
                if last > checkpoint_token:
                    return True
                seen = visible
            if visible != self._moved[0]:
                self._moved = visible, now
            if now >= until:
                return False
            pause = (now - self._moved[1]) * _WAIT_OF_QUIET
            time.sleep(min(max(pause, _SHORTEST_WAIT_SECONDS), _LONGEST_WAIT_SECONDS, until - now))


def _undispatched(store: OpenStore) -> Iterator[Commit]:
    with asked(f"reading what is not dispatched in {store.path}"):
        marks = store.marks.read()
        last = store.reader.last_token()
    first = True
    for commit in store.reader.checkpoints(marks.up_to, last, None):
        if commit.checkpoint_token in marks:
            continue
        if first and marks.ranges and isinstance(store, WritableStore) and not store.is_deleting():
            # What was deleted below this commit will never be marked: close the hole for good. Where that
            # cannot be written now, or a power cut could still bring something back, the next look does it.
            with contextlib.suppress(StorageUnavailableError):
                store.marks.raise_to(commit.checkpoint_token - 1)
        first = False
        yield commit
