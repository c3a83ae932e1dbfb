"""The one seam between the file engine and the operating system: every call that touches a file.

`Disk` is what the engine may ask for; `RealDisk` asks the kernel. A simulated disk put in its place sees every
write, flush and rename in order. Nothing here knows what the bytes mean. Errors are `OSError`, unchanged.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import stat
from typing import Protocol

import portalocker

from fsstore.engines.file import mounts

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


class Words(Protocol):
    """A shared page as 64-bit words; reading or writing one word is atomic."""

    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, value: int, /) -> None: ...
    def release(self) -> None: ...


class Disk(Protocol):
    """The calls the engine makes. Paths are absolute; a handle is an int that only this disk knows."""

    def open(self, path: str, *, write: bool = False, create: bool = False, exclusive: bool = False) -> int:
        """A handle. Symbolic links are not followed; only regular files are opened."""
        ...

    def close(self, handle: int) -> None: ...

    def read(self, handle: int, length_bytes: int, offset: int) -> bytes:
        """Up to `length_bytes` from `offset`; less only at the end of the file."""
        ...

    def write(self, handle: int, data: bytes | bytearray | memoryview, offset: int) -> None:
        """All of `data` at `offset`, or `OSError` with any part of it written."""
        ...

    def truncate(self, handle: int, size_bytes: int) -> None: ...

    def size(self, handle: int) -> int: ...

    def flush(self, handle: int) -> None:
        """The file's bytes and size are on the device when this returns (fdatasync)."""
        ...

    def flush_directory(self, path: str) -> None:
        """The names in the directory are on the device when this returns."""
        ...

    def flush_file_system(self, handle: int) -> bool:
        """Everything on the handle's file system is on the device, or `False`: this system cannot say so."""
        ...

    def rename(self, source: str, target: str) -> None: ...

    def unlink(self, path: str) -> None: ...

    def make_directory(self, path: str) -> None:
        """Create it unless it exists."""
        ...

    def remove_directory(self, path: str) -> None: ...

    def names(self, path: str) -> list[str]:
        """The names in a directory, sorted; none when there is no such directory."""
        ...

    def exists(self, path: str) -> bool: ...

    def lock(self, handle: int, *, shared: bool = False, blocking: bool = True) -> bool:
        """Take or convert the advisory lock of the handle's file; `False`: somebody else has it.

        `OSError` when the file has no name any more: whoever comes later would lock another one.
        """
        ...

    def unlock(self, handle: int) -> None: ...

    def map_words(self, handle: int, count: int, *, write: bool) -> Words:
        """The first `count` words of a file, shared with every process that maps it."""
        ...

    def network_file_system(self, path: str) -> str | None:
        """The type of the file system that `path` is on, if other machines share it: locks do not hold there."""
        ...


_CHUNK_BYTES = 1 << 20


def write_again(disk: Disk, handle: int) -> None:
    """Write the whole file as it reads, so that the next flush takes all of it to the device.

    After a flush that failed the system calls pages clean that never got there (fsync(2) on Linux): they read as
    written, and flushing them again succeeds without writing them.
    """
    offset = 0
    while data := disk.read(handle, _CHUNK_BYTES, offset):
        disk.write(handle, data, offset)
        offset += len(data)


def _syncfs() -> ctypes._FuncPointer | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is not None:
        function.argtypes = [ctypes.c_int]
    return function


class RealDisk:
    """The kernel's files."""

    def __init__(self) -> None:
        self._syncfs = _syncfs()

    def open(self, path: str, *, write: bool = False, create: bool = False, exclusive: bool = False) -> int:
        flags = os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_RDWR if write else os.O_RDONLY)
        if create:
            flags |= os.O_CREAT
        if exclusive:
            flags |= os.O_EXCL
        handle = os.open(path, flags | os.O_NONBLOCK, FILE_MODE)
        if not write and not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.EINVAL, "not a regular file", path)
        return handle

    def close(self, handle: int) -> None:
        os.close(handle)

    def read(self, handle: int, length_bytes: int, offset: int) -> bytes:
        data = os.pread(handle, length_bytes, offset)
        if len(data) == length_bytes or not data:
            return data
        parts = [data]
        got = len(data)
        while got < length_bytes:
            data = os.pread(handle, length_bytes - got, offset + got)
            if not data:
                break
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def write(self, handle: int, data: bytes | bytearray | memoryview, offset: int) -> None:
        written = os.pwrite(handle, data, offset)
        if written == len(data):
            return
        rest = memoryview(data)
        while written < len(rest):
            count = os.pwrite(handle, rest[written:], offset + written)
            if not count:
                raise OSError(errno.EIO, "a write wrote nothing")
            written += count

    def truncate(self, handle: int, size_bytes: int) -> None:
        os.ftruncate(handle, size_bytes)

    def size(self, handle: int) -> int:
        return os.fstat(handle).st_size

    def flush(self, handle: int) -> None:
        os.fdatasync(handle)

    def flush_directory(self, path: str) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def flush_file_system(self, handle: int) -> bool:
        if self._syncfs is None:
            return False
        if self._syncfs(handle) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return True

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def make_directory(self, path: str) -> None:
        try:
            os.mkdir(path, DIRECTORY_MODE)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise

    def remove_directory(self, path: str) -> None:
        os.rmdir(path)

    def names(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def lock(self, handle: int, *, shared: bool = False, blocking: bool = True) -> bool:
        flags = portalocker.LockFlags.SHARED if shared else portalocker.LockFlags.EXCLUSIVE
        if blocking and not shared:
            # The lock of every commit: what portalocker calls in the end, without its 7 microseconds.
            fcntl.flock(handle, fcntl.LOCK_EX)
        else:
            if not blocking:
                flags |= portalocker.LockFlags.NON_BLOCKING
            try:
                portalocker.lock(handle, flags)
            except portalocker.AlreadyLocked:
                return False
        if not os.fstat(handle).st_nlink:
            fcntl.flock(handle, fcntl.LOCK_UN)
            raise OSError(errno.ESTALE, "the file was removed while it was in use")
        return True

    def unlock(self, handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)

    def map_words(self, handle: int, count: int, *, write: bool) -> Words:
        access = mmap.ACCESS_WRITE if write else mmap.ACCESS_READ
        page = mmap.mmap(handle, count * 8, access=access)
        return memoryview(page).cast("Q")

    def network_file_system(self, path: str) -> str | None:
        return mounts.network_file_system(path)
