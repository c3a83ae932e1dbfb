"""A file system of its own in one file, mounted through a loop device, whose power can be cut.

For root on Linux. `lacking()` says what keeps this machine from it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from pathlib import Path

MAKE = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-f")}
_SHUTDOWN = 2 << 30 | 4 << 16 | ord("X") << 8 | 125  # _IOR('X', 125, uint32)
_WITHOUT_WRITING_ITS_LOG = struct.pack("I", 2)


def lacking(kind: str = "ext4") -> str | None:
    """What is missing to use these devices here, in one line; `None` when nothing is."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "loop devices can be mounted by root only"
    if not Path("/dev/loop-control").exists():
        return "this machine has no loop devices (/dev/loop-control)"
    if shutil.which(MAKE[kind][0]) is None:
        return f"{MAKE[kind][0]} is not installed: apt-get install {'xfsprogs' if kind == 'xfs' else 'e2fsprogs'}"
    return None


class LoopDevice:
    """A new file system of that kind in the file `image`, mounted at `where`."""

    def __init__(self, image: Path, where: Path, *, kind: str, size_bytes: int) -> None:
        self._image = image
        self.where = where
        with open(image, "wb") as file:
            file.truncate(size_bytes)
        _run(*MAKE[kind], image)
        where.mkdir()
        self._mounted = False
        self.mount()

    def mount(self) -> None:
        _run("mount", "-o", "loop", self._image, self.where)
        self._mounted = True

    def unmount(self) -> None:
        """Returns when the loop device is gone too; harmless when it is not mounted."""
        if self._mounted:
            _run("umount", self.where)
            self._mounted = False

    def cut_power(self) -> None:
        """From now on nothing reaches the device, not even what the file system has in its log; calls get EIO."""
        handle = os.open(self.where, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, _WITHOUT_WRITING_ITS_LOG)
        finally:
            os.close(handle)


def _run(*command: object) -> None:
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
