"""A file that is open for as long as it is looked at or changed, and not longer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from fsstore.engines.file.disk.disk import Disk


@contextlib.contextmanager
def opened(disk: Disk, path: str, *, write: bool = False, create: bool = False) -> Iterator[int]:
    """A handle of the file, closed at the end."""
    handle = disk.open(path, write=write, create=create)
    try:
        yield handle
    finally:
        disk.close(handle)


def read_from(disk: Disk, path: str, offset: int, length_bytes: int) -> bytes:
    """Up to that many bytes of the file."""
    with opened(disk, path) as handle:
        return disk.read(handle, length_bytes, offset)


def size_of(disk: Disk, path: str) -> int:
    """The file's size in bytes."""
    with opened(disk, path) as handle:
        return disk.size(handle)


@contextlib.contextmanager
def locked(disk: Disk, path: str, *, write: bool = False, create: bool = False, shared: bool = False) -> Iterator[int]:
    """The same under the lock of the file, which ends with it: a child that is forked meanwhile has the handle, too,
    and closing it here would leave the lock to the child."""
    with opened(disk, path, write=write, create=create) as handle:
        disk.lock(handle, shared=shared)
        try:
            yield handle
        finally:
            disk.unlock(handle)


@contextlib.contextmanager
def locked_if_there(disk: Disk, path: str) -> Iterator[None]:
    """The lock on that file is held in here. Where there is none, nobody has to be kept out and none is made."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(FileNotFoundError):
            held.enter_context(locked(disk, path))
        yield
