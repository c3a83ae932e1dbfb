"""The way to a file of a store, without following a link that somebody put there.

A path below the store's root is walked one name at a time, each directory opened from the one above it, so that no
name is looked up twice and nobody can put a link in between. The root itself may be reached through links. What was
reached is kept open, which makes the walk cheaper than handing whole paths to the kernel. Files are not opened here.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable

from fsstore.errors import CorruptionError

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
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


class Directory:
    """An open directory. Closed when the last user lets go of it: another thread may be in the middle of a call."""

    __slots__ = ("handle",)

    def __init__(self, handle: int | None) -> None:
        self.handle = handle

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
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
        self._changing = threading.Lock()

    def place(self, path: str) -> tuple[Directory, str]:
        """What a call names the path by: a directory, and a name in it. Outside of the root the path is the name."""
        if not path.startswith(self._inside) or path == self._inside:
            return ANYWHERE, path
        above, _, name = path.rpartition("/")
        return self._kept(above), name

    def opened(self, path: str) -> int:
        """A new handle of a directory, the caller's to close."""
        directory, name = self.place(path)
        if directory is ANYWHERE:
            return os.open(name or "/", OPEN_DIRECTORY)
        try:
            return os.open(name, OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory.handle)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                mode = os.stat(name, dir_fd=directory.handle, follow_symlinks=False).st_mode
                raise self.refusal(path, mode, "directory") from None
            error.filename = path
            raise

    def _kept(self, path: str) -> Directory:
        known = self._open.get(path)
        if known is not None:
            return known
        made = Directory(self.opened(path))
        with self._changing:
            while len(self._open) >= _MOST_OPEN:
                del self._open[next(iter(self._open))]
            self._open[path] = made
        return made

    def forget(self, path: str) -> None:
        """The path stands for another directory from now on, or for none."""
        with self._changing:
            for known in [one for one in self._open if f"{one}/".startswith(f"{path}/")]:
                del self._open[known]

    def let_go(self) -> None:
        """Close them all; those in use when their users are done."""
        with self._changing:
            self._open.clear()

    def refusal(self, path: str, mode: int, what: str) -> CorruptionError:
        """What is said of something that no store makes; `mode` is its `st_mode`."""
        found = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
        return CorruptionError(
            f"{found} stands where the store has a {what}; it was left alone",
            path=path,
            expected=f"a {what} that fsstore made",
            repair=f"put back what belongs there, or remove it and run fsstore repair {self._root}",
        )
