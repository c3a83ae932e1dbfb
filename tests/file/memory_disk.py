"""A disk in memory for one process: copied in a moment, damaged at will, and it knows which bytes were looked at.

It keeps every promise of `Disk` except for crashes, which `fsstore.testing.SimulatedDisk` is for.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

from fsstore.engines.file.disk.disk import Words
from fsstore.errors import CorruptionError

_MOST_BYTES_AT_ONCE = 1 << 26


@dataclass(slots=True, eq=False)
class File:
    """Content, shared with copies of the disk until it is written to; who holds its lock, and how."""

    data: bytes | bytearray = b""
    locks: dict[int, bool] = field(default_factory=dict)
    looked_at: bytearray | None = None
    measured: bool = False

    def to_write(self) -> bytearray:
        if not isinstance(self.data, bytearray):
            self.data = bytearray(self.data)
        return self.data

    def look(self, start: int, end: int) -> None:
        if self.looked_at is not None:
            end = min(end, len(self.looked_at))
            self.looked_at[start:end] = b"\1" * max(end - start, 0)


class MemoryDisk:
    """Files and directories by path."""

    def __init__(self, files: dict[str, bytes], directories: set[str]) -> None:
        self.files = {path: File(data) for path, data in files.items()}
        self.directories = set(directories)
        self._handles: dict[int, File] = {}
        self._next_handle = 3

    @classmethod
    def of(cls, path: Path) -> MemoryDisk:
        """What is in a real directory."""
        found = sorted(path.rglob("*"))
        files = {str(one): one.read_bytes() for one in found if one.is_file()}
        directories = {str(one) for one in (path, *path.parents, *found) if one.is_dir()}
        return cls(files, directories)

    def copy(self) -> MemoryDisk:
        return MemoryDisk({path: bytes(file.data) for path, file in self.files.items()}, self.directories)

    def track(self) -> None:
        """From now on each file notes which of its bytes are read, and whether its size is asked for."""
        for file in self.files.values():
            file.looked_at = bytearray(len(file.data))

    # ---- files ----

    def open(self, path: str, *, write: bool = False, create: bool = False) -> int:
        if path in self.directories:
            raise CorruptionError("a directory stands where the store has a file", path=path)
        if path not in self.files:
            if not create or path.rpartition("/")[0] not in self.directories:
                raise _failure(errno.ENOENT, path)
            self.files[path] = File()
        self._next_handle += 1
        self._handles[self._next_handle] = self.files[path]
        return self._next_handle

    def close(self, handle: int) -> None:
        self.unlock(handle)
        del self._handles[handle]

    def read(self, handle: int, length_bytes: int, offset: int) -> bytes:
        if not 0 <= offset < 1 << 63 or length_bytes < 0:
            raise OverflowError("no offset or length of a file")  # as os.pread says it
        if length_bytes > _MOST_BYTES_AT_ONCE:
            raise MemoryError(f"{length_bytes} bytes are asked for at once")
        file = self._handles[handle]
        file.look(offset, offset + length_bytes)
        return bytes(file.data[offset : offset + length_bytes])

    def write(self, handle: int, data: bytes | bytearray | memoryview, offset: int) -> None:
        if not 0 <= offset < 1 << 63:
            raise OverflowError("no offset of a file")  # as os.pwrite says it
        if offset > _MOST_BYTES_AT_ONCE:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        content = self._handles[handle].to_write()
        if offset > len(content):
            content.extend(bytes(offset - len(content)))
        content[offset : offset + len(data)] = data

    def truncate(self, handle: int, size_bytes: int) -> None:
        content = self._handles[handle].to_write()
        del content[size_bytes:]
        content.extend(bytes(size_bytes - len(content)))

    def size(self, handle: int) -> int:
        self._handles[handle].measured = True
        return len(self._handles[handle].data)

    def flush(self, handle: int) -> None: ...

    def flush_directory(self, path: str) -> None:
        if path not in self.directories:
            raise _failure(errno.ENOENT, path)

    def flush_file_system(self, handle: int) -> bool:
        return True

    # ---- names ----

    def rename(self, source: str, target: str) -> None:
        if source not in self.files:
            raise _failure(errno.ENOENT, source)
        self.files[target] = self.files.pop(source)

    def unlink(self, path: str) -> None:
        if path in self.directories:
            raise _failure(errno.EISDIR, path)
        if self.files.pop(path, None) is None:
            raise _failure(errno.ENOENT, path)

    def make_directory(self, path: str) -> None:
        if path in self.files:
            raise _failure(errno.EEXIST, path)
        self.directories.add(path)

    def remove_directory(self, path: str) -> None:
        self.directories.remove(path)

    def names(self, path: str) -> list[str]:
        if path in self.files:
            raise _failure(errno.ENOTDIR, path)
        inside = (one[len(path) + 1 :] for one in (*self.files, *self.directories) if one.startswith(path + "/"))
        return sorted({name.partition("/")[0] for name in inside})

    def exists(self, path: str) -> bool:
        return path in self.files or path in self.directories

    # ---- between processes, of which there is one ----

    def lock(self, handle: int, *, shared: bool = False, blocking: bool = True) -> bool:
        held = self._handles[handle].locks
        if any(other != handle and not (shared and is_shared) for other, is_shared in held.items()):
            if blocking:
                raise AssertionError("this lock would be waited for forever")
            return False
        held[handle] = shared
        return True

    def unlock(self, handle: int) -> None:
        self._handles[handle].locks.pop(handle, None)

    def map_words(self, handle: int, count: int, *, write: bool) -> Words:
        file = self._handles[handle]
        file.look(0, count * 8)
        return memoryview(file.to_write())[: count * 8].cast("Q")

    def network_file_system(self, path: str) -> str | None:
        return None

    def let_go(self) -> None: ...


def _failure(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)
