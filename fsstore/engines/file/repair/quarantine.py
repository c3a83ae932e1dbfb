"""Where repair keeps what it replaces: copies, numbered, never deleted by itself."""

from __future__ import annotations

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.files import layout
from fsstore.engines.file.files.handles import opened

_COPY_BYTES = 1 << 20


def set_aside(disk: Disk, store: str, path: str) -> None:
    """Keep a copy of the file in the store's quarantine, durable on return. Nothing where there is no file."""
    quarantine = f"{store}/{layout.QUARANTINE}"
    if not disk.exists(path):
        return
    disk.make_directory(quarantine)
    taken = disk.names(quarantine)
    number = 1 + max((int(name.partition(".")[0]) for name in taken if name.partition(".")[0].isdecimal()), default=0)
    copy = f"{quarantine}/{number}.{path.rpartition('/')[2]}"
    with opened(disk, path) as source, opened(disk, copy, write=True, create=True) as target:
        disk.truncate(target, disk.size(source))
        for offset in range(0, disk.size(source), _COPY_BYTES):
            data = disk.read(source, _COPY_BYTES, offset)
            if data.count(0) < len(data):  # holes stay holes
                disk.write(target, data, offset)
        disk.flush(target)
    disk.flush_directory(quarantine)
