"""The one seam between the file engine and the operating system: every call that touches a file.

`Disk` is what the engine may ask for; `RealDisk` asks the kernel. A simulated disk put in its place sees every
write, flush and rename in order. Nothing here knows what the bytes mean. Errors are `OSError`, unchanged, but for
what no store makes: where a link, a pipe, a device or a directory stands instead of a file, or anything instead of a
directory, it is left alone and `CorruptionError` names it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import stat
from collections.abc import Iterator
from typing import Protocol

import portalocker

from fsstore.engines.file.disk import mounts
from fsstore.engines.file.disk.directories import OPEN_DIRECTORY, Directories, close
from fsstore.errors import CorruptionError

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


class Words(Protocol):
    """A shared page as 64-bit words; reading or writing one word is atomic."""

    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, value: int, /) -> None: ...
    def release(self) -> None: ...


class Disk(Protocol):
    """The calls the engine makes. Paths are absolute; a handle is an int that only this disk knows."""

    def open(self, path: str, *, write: bool = False, create: bool = False) -> int:
        """A handle of a regular file, which has no other name (hard link) when it is opened to be written."""
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

    def let_go(self) -> None:
        """Close what the disk keeps open of its own. It can be used again afterwards."""
        ...


_CHUNK_BYTES = 1 << 20


def write_again(disk: Disk, handle: int) -> None:
    """Write the whole file as it reads, so that the next flush takes all of it to the device; holes stay holes.

    After a flush that failed the system calls pages clean that never got there (fsync(2) on Linux): they read as
    written, and flushing them again succeeds without writing them.
    """
    offset = 0
    while data := disk.read(handle, _CHUNK_BYTES, offset):
        if data.count(0) < len(data):
            disk.write(handle, data, offset)
        offset += len(data)


def _syncfs() -> ctypes._FuncPointer | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is not None:
        function.argtypes = [ctypes.c_int]
    return function


_FILE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# What opening says of things that are no regular files; of pipes and devices it says nothing.
_NO_FILE = frozenset((errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV))


class RealDisk:
    """The kernel's files. `root` is the store: below it no symbolic link is followed, whoever put it there and when.

    Without a root none is followed anywhere. What is made gets the two modes, whatever the umask.
    """

    def __init__(self, root: str = "/", *, file_mode: int = FILE_MODE, directory_mode: int = DIRECTORY_MODE) -> None:
        self._directories = Directories(root)
        self._file_mode = file_mode
        self._directory_mode = directory_mode
        self._syncfs = _syncfs()

    # ---- files ----

    def open(self, path: str, *, write: bool = False, create: bool = False) -> int:
        directory, name = self._directories.place(path)
        flags = _FILE | (os.O_RDWR if write else os.O_RDONLY)
        made = False
        try:
            if not create:
                handle = os.open(name, flags, dir_fd=directory.handle)
            else:
                flags |= os.O_CREAT
                try:
                    handle = os.open(name, flags | os.O_EXCL, self._file_mode, dir_fd=directory.handle)
                    made = True
                except FileExistsError:
                    handle = os.open(name, flags, self._file_mode, dir_fd=directory.handle)
        except OSError as error:
            if error.errno in _NO_FILE:
                mode = os.stat(name, dir_fd=directory.handle, follow_symlinks=False).st_mode
                raise self._directories.refusal(path, mode, "file") from None
            error.filename = path
            raise
        try:
            self._check_opened(handle, path, write=write, made=made)
        except BaseException:
            close(handle)
            raise
        return handle

    def _check_opened(self, handle: int, path: str, *, write: bool, made: bool) -> None:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise self._directories.refusal(path, status.st_mode, "file")
        if write and status.st_nlink > 1:
            raise CorruptionError(
                "a file of the store has another name (a hard link), under which a write would change it too",
                path=path,
                expected="one name",
                repair="copy the file, and put the copy in its place",
            )
        if made and stat.S_IMODE(status.st_mode) != self._file_mode:
            os.fchmod(handle, self._file_mode)

    def close(self, handle: int) -> None:
        close(handle)

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
        handle = self._directories.opened(path)
        try:
            os.fsync(handle)
        finally:
            close(handle)

    def flush_file_system(self, handle: int) -> bool:
        if self._syncfs is None:
            return False
        if self._syncfs(handle) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return True

    # ---- names ----

    def rename(self, source: str, target: str) -> None:
        above, old = self._directories.place(source)
        directory, new = self._directories.place(target)
        with _naming(source, target):
            os.replace(old, new, src_dir_fd=above.handle, dst_dir_fd=directory.handle)
        self._directories.forget(source)
        self._directories.forget(target)

    def unlink(self, path: str) -> None:
        directory, name = self._directories.place(path)
        with _naming(path):
            os.unlink(name, dir_fd=directory.handle)

    def make_directory(self, path: str) -> None:
        directory, name = self._directories.place(path)
        with _naming(path):
            try:
                os.mkdir(name, self._directory_mode, dir_fd=directory.handle)
            except FileExistsError:
                mode = os.stat(name, dir_fd=directory.handle, follow_symlinks=False).st_mode
                if not stat.S_ISDIR(mode):
                    raise self._directories.refusal(path, mode, "directory") from None
                return
            self._directories.forget(path)
            self._give_mode(os.open(name, OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory.handle))

    def _give_mode(self, directory: int) -> None:
        """Give a new directory its mode, and close it. The set-group-id bit that it may have inherited stays."""
        try:
            mode = stat.S_IMODE(os.fstat(directory).st_mode)
            if mode & 0o777 != self._directory_mode:
                os.fchmod(directory, mode & ~0o777 | self._directory_mode)
        finally:
            close(directory)

    def remove_directory(self, path: str) -> None:
        directory, name = self._directories.place(path)
        with _naming(path):
            os.rmdir(name, dir_fd=directory.handle)
        self._directories.forget(path)

    def names(self, path: str) -> list[str]:
        try:
            handle = self._directories.opened(path)
        except FileNotFoundError:
            return []
        try:
            return sorted(os.listdir(handle))
        finally:
            close(handle)

    def exists(self, path: str) -> bool:
        try:
            directory, name = self._directories.place(path)
            os.stat(name, dir_fd=directory.handle, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    # ---- locks and words ----

    def lock(self, handle: int, *, shared: bool = False, blocking: bool = True) -> bool:
        try:
            if blocking and not shared:
                # The lock of every commit: what portalocker calls in the end, without its 7 microseconds.
                fcntl.flock(handle, fcntl.LOCK_EX)
            else:
                flags = portalocker.LockFlags.SHARED if shared else portalocker.LockFlags.EXCLUSIVE
                if not blocking:
                    flags |= portalocker.LockFlags.NON_BLOCKING
                try:
                    portalocker.lock(handle, flags)
                except portalocker.AlreadyLocked:
                    return False
                except portalocker.LockException as error:
                    if isinstance(error.__cause__, OSError):
                        raise error.__cause__ from None
                    raise
            if not os.fstat(handle).st_nlink:
                raise OSError(errno.ESTALE, "the file was removed while it was in use")
        except BaseException:
            # Who is interrupted right after taking it does not know of it, and would keep everybody waiting.
            if not shared:
                with contextlib.suppress(OSError):
                    fcntl.flock(handle, fcntl.LOCK_UN)
            raise
        return True

    def unlock(self, handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)

    def map_words(self, handle: int, count: int, *, write: bool) -> Words:
        access = mmap.ACCESS_WRITE if write else mmap.ACCESS_READ
        page = mmap.mmap(handle, count * 8, access=access)
        return memoryview(page).cast("Q")

    def network_file_system(self, path: str) -> str | None:
        return mounts.network_file_system(path)

    def let_go(self) -> None:
        self._directories.let_go()


@contextlib.contextmanager
def _naming(path: str, target: str | None = None) -> Iterator[None]:
    """Errors name whole paths, not what is left of them below the directories that were open."""
    try:
        yield
    except OSError as error:
        error.filename = path
        if target is not None:
            error.filename2 = target
        raise
