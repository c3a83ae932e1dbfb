"""The store's locks: between the threads of this process and between processes, in one object each.

Advisory locks that live on files which are never unlinked while the store lives. `flock` belongs to the open
file, not to the process, so each lock object brings its own handle, and a thread lock keeps this process's
threads apart.
"""

from __future__ import annotations

import contextlib
import threading

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.files import layout
from fsstore.errors import StorageUnavailableError


class FileLock:
    """An exclusive lock, re-entrant within a thread, used as a context manager."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._handle = disk.open(path, write=True, create=True)
        self._thread = threading.RLock()
        self._depth = 0

    def __enter__(self) -> None:
        self._thread.acquire()
        try:
            if not self._depth:
                self._disk.lock(self._handle)
            self._depth += 1
        except BaseException as error:
            if not self._depth:
                with contextlib.suppress(OSError):
                    self._disk.unlock(self._handle)  # it was taken where this thread was interrupted right afterwards
            self._thread.release()
            if isinstance(error, OSError):
                raise StorageUnavailableError(
                    f"{self._path} cannot be locked ({error}): if something removes files of the store while it is "
                    "open, stop that; close the store in every process and open it again"
                ) from error
            raise

    def __exit__(self, *_: object) -> None:
        self.release()

    def try_to_acquire(self) -> bool:
        """Take the lock, unless it is held elsewhere."""
        if not self._thread.acquire(blocking=False):
            return False
        taken = False
        try:
            taken = bool(self._depth) or self._disk.lock(self._handle, blocking=False)
        finally:
            if taken:
                self._depth += 1
            else:
                self._thread.release()
        return taken

    def release(self) -> None:
        self._depth -= 1
        try:
            if not self._depth:
                self._disk.unlock(self._handle)
        except OSError as error:
            raise StorageUnavailableError(
                f"{self._path} cannot be unlocked ({error}): whether what was done under it is stored is in doubt; "
                "close the store in every process, open it again, then do the same again",
                in_doubt=True,
            ) from error
        finally:
            self._thread.release()

    def let_go(self) -> None:
        """Free it if this thread has it, as one that was interrupted on its way out may: Python looks for signals where
        `__exit__` begins, too."""
        if self._thread.acquire(blocking=False):
            self._depth = 0
            with contextlib.suppress(OSError):
                self._disk.unlock(self._handle)
            with contextlib.suppress(RuntimeError):  # until it is given back as often as it was taken
                while True:
                    self._thread.release()

    def close(self) -> None:
        self._disk.close(self._handle)


class PresenceLock:
    """Held shared by every process that has the store open for writing; exclusive for recovery and closing.

    Both changes are only ever tried under the write lock, so that two processes never try at once.
    """

    def __init__(self, disk: Disk, path: str, *, write: bool) -> None:
        self._disk = disk
        self._handle = disk.open(path, write=write, create=write)

    def alone(self) -> bool:
        """Whether nobody else has the store open; if so the lock is exclusive now."""
        return self._disk.lock(self._handle, blocking=False)

    def share(self) -> None:
        self._disk.lock(self._handle, shared=True)

    def close(self) -> None:
        """The lock ends here, also where a child that was forked meanwhile has a copy of the handle."""
        try:
            self._disk.unlock(self._handle)
        finally:
            self._disk.close(self._handle)

    def leave_to_parent(self) -> None:
        """In the child of a fork: to unlock would unlock it for the parent."""
        self._disk.close(self._handle)


def at_rest(disk: Disk, store: str) -> bool:
    """Whether no writer has the store open; asked under the write lock. Makes no file."""
    try:
        presence = PresenceLock(disk, f"{store}/{layout.LOCK}", write=False)
    except FileNotFoundError:
        return True
    try:
        return presence.alone()
    finally:
        presence.close()


class StoreLocks:
    """The locks of a store that is open for writing: who writes, who folds, who is there."""

    def __init__(self, disk: Disk, store: str) -> None:
        with contextlib.ExitStack() as opened:
            self.write = FileLock(disk, f"{store}/{layout.WRITE_LOCK}")
            opened.callback(self.write.close)
            self.fold = FileLock(disk, f"{store}/{layout.FOLD_LOCK}")
            opened.callback(self.fold.close)
            self.presence = PresenceLock(disk, f"{store}/{layout.LOCK}", write=True)
            opened.pop_all()

    def alone(self) -> bool:
        """Whether nobody else has the store open."""
        with self.write:
            try:
                return self.presence.alone()
            finally:
                self.presence.share()

    def let_go(self) -> None:
        """What this thread has of them is free: it was interrupted, and does not go on."""
        self.write.let_go()
        self.fold.let_go()

    def close(self) -> None:
        try:
            self.presence.close()
        finally:
            try:
                self.fold.close()
            finally:
                self.write.close()

    def leave_to_parent(self) -> None:
        """In the child of a fork: its copies, which would hold the locks beyond the parent's death."""
        self.presence.leave_to_parent()
        for lock in (self.fold, self.write):
            lock.close()
