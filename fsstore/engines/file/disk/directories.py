"""The way to a file of a store, without following a link that somebody put there.

A path below the store's root is walked one name at a time, each directory opened from the one above it, so that no
name is looked up twice and nobody can put a link in between. The root itself may be reached through links. The
directories that are reached first stay open, and the one that was reached last, so that the walk costs little. Files
are not opened here.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable

from fsstore.errors import CorruptionError

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Enough to go on from: it neither reads the directory nor asks whether that is allowed.
_THROUGH = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_MOST_OPEN = 64
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


def close(handle: int) -> None:
    """Close a file or a directory. It is closed whatever the system says of it, and what matters was flushed before."""
    try:
        os.close(handle)
    except OSError as error:
        if error.errno == errno.EBADF:
            raise


class Directory:
    """An open directory. Closed when the last user lets go of it: another thread may be in the middle of a call."""

    __slots__ = ("handle",)

    def __init__(self, handle: int | None) -> None:
        self.handle = handle

    def __del__(self, close: Callable[[int], None] = close) -> None:
        if self.handle is not None:
            close(self.handle)


ANYWHERE = Directory(None)
"""Where names are whole paths."""


class Directories:
    """The directories of one store; at most 64 of them are open."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._inside = root.rstrip("/") + "/"
        self._open: dict[str, Directory] = {}
        self._latest: tuple[str, Directory] | None = None
        self._changing = threading.Lock()

    def place(self, path: str) -> tuple[Directory, str]:
        """What a call names the path by: a directory, and a name in it. Outside of the root the path is the name."""
        if not path.startswith(self._inside) or path == self._inside:
            return ANYWHERE, path
        above, _, name = path.rpartition("/")
        known = self._open.get(above)
        if known is None:
            latest = self._latest
            if latest is not None and latest[0] == above:
                known = latest[1]
            else:
                known = self._kept(above, Directory(self._reached(above, _THROUGH)))
        return known, name

    def _kept(self, path: str, directory: Directory) -> Directory:
        with self._changing:
            if len(self._open) < _MOST_OPEN - 1:
                self._open[path] = directory
            else:
                self._latest = (path, directory)
        return directory

    def opened(self, path: str) -> int:
        """A new handle of a directory, the caller's to close."""
        return self._reached(path, OPEN_DIRECTORY)

    def _reached(self, path: str, flags: int) -> int:
        directory, name = self.place(path)
        if directory is ANYWHERE:
            return os.open(name or "/", flags)
        try:
            return os.open(name, flags | os.O_NOFOLLOW, dir_fd=directory.handle)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                mode = os.stat(name, dir_fd=directory.handle, follow_symlinks=False).st_mode
                raise self.refusal(path, mode, "directory") from None
            error.filename = path
            raise

    def forget(self, path: str) -> None:
        """The path stands for another directory from now on, or for none."""
        with self._changing:
            for known in [one for one in self._open if f"{one}/".startswith(f"{path}/")]:
                del self._open[known]
            self._latest = None

    def let_go(self) -> None:
        """Close them all; those in use when their users are done."""
        with self._changing:
            self._open.clear()
            self._latest = None

    def refusal(self, path: str, mode: int, what: str) -> CorruptionError:
        """What is said of something that no store makes; `mode` is its `st_mode`."""
        found = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
        return CorruptionError(
            f"{found} stands where the store has a {what}; it was left alone",
            path=path,
            expected=f"a {what} that fsstore made",
            repair=f"put back what belongs there, or remove it and run fsstore repair {self._root}",
        )
