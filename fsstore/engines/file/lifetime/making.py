"""A store made where none was, and removed so that nothing of it is left."""

from __future__ import annotations

import errno
import time

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.files import layout
from fsstore.engines.file.formats import format
from fsstore.engines.file.log.journal import Journal
from fsstore.engines.file.processes.locks import StoreLocks
from fsstore.errors import StorageError, StorageUnavailableError

# What the operating system says of a path that will be no better later.
_LASTING = frozenset(
    (errno.EACCES, errno.ELOOP, errno.EINVAL, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EPERM, errno.EROFS)
)


def make_store(disk: Disk, path: str, *, journal_bytes: int) -> None:
    """A new store in directories that are there: its first journal file, then, last of all, its meta file."""
    meta = layout.new_meta(time.time_ns() // 1000)
    journal = Journal(layout.StoreFiles(disk, path, meta.seed), write=True)
    try:
        for base in journal.bases():
            disk.unlink(journal.path(base))
        file = journal.create(0, journal_bytes)
        journal.write(file.first, format.pack_roll(file.first, 1, meta.seed))
        journal.flush(file.first)
    finally:
        journal.forget()
    layout.write_meta(disk, path, meta)


def remove_store(disk: Disk, path: str) -> None:
    """Nobody comes between: who opens the store meanwhile waits, and then finds the lock's file gone."""
    locks = StoreLocks(disk, path)
    try:
        with locks.write:
            if not locks.presence.alone():
                raise open_elsewhere(path)
            layout.remove(disk, path)
    except OSError as error:
        raise StorageUnavailableError(
            f"{path} could not be removed whole ({error}): see to that, then delete what is left of it"
        ) from error
    finally:
        locks.close()
        disk.let_go()


def not_opened(path: str, error: OSError) -> StorageError:
    """What is said when opening the store met an error of the operating system."""
    if error.errno in _LASTING:
        return StorageError(f"{path} cannot be opened: {error}; name another path, or mend what is wrong with this one")
    return StorageUnavailableError(f"{path} cannot be opened: {error}")


def open_elsewhere(path: str) -> StorageUnavailableError:
    return StorageUnavailableError(f"{path} is open elsewhere; close it there, then drop it")
