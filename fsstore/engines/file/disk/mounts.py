"""Which file system a path is on, where that matters: not on one that other machines share.

Advisory locks and mapped pages do not reach from one machine to another, so that two of them would write into one
store at once and neither would notice. Only Linux is asked; elsewhere nothing is known and nothing refused.
"""

from __future__ import annotations

import os

_MOUNTS = "/proc/self/mountinfo"
# fmt: off
_NETWORK = frozenset((
    "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs",
    "nfs", "nfs4", "smb3", "smbfs",
))
# fmt: on


def network_file_system(path: str) -> str | None:
    """The type of the file system that `path` is on or would be made on, if it is one of a network."""
    while not os.path.exists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    try:
        device = os.stat(path).st_dev
        with open(_MOUNTS, encoding="utf-8", errors="replace") as mounts:
            kind = _kind_of(mounts.read(), f"{os.major(device)}:{os.minor(device)}")
    except OSError:
        return None
    return kind if kind in _NETWORK else None


def _kind_of(mounts: str, device: str) -> str | None:
    """The type that the table of mounts names for a device; see proc(5)."""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) > 2 and fields[2] == device and "-" in fields:
            return fields[fields.index("-") + 1]
    return None
