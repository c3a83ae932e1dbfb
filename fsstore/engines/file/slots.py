"""A small value in two slots of one file: each change goes into the older one, so that a torn write leaves the other.

A slot holds its content's size, the content (a msgpack list that begins with a generation) and a checksum. What
the rest of the list means is the caller's; so is the lock under which a file is changed.
"""

from __future__ import annotations

from typing import Any

import msgpack

from fsstore.engines.file import format
from fsstore.engines.file.disk import Disk

SLOT_BYTES = 1 << 20
MAX_CONTENT_BYTES = SLOT_BYTES - 8


def read_slot(disk: Disk, handle: int, seed: int, slot: int) -> list[Any] | None:
    """What the slot holds; `[]` when it was never written, `None` when it is damaged."""
    size = int.from_bytes(disk.read(handle, 4, slot * SLOT_BYTES), "big")
    if not size:
        return []
    if size > MAX_CONTENT_BYTES:
        return None
    data = disk.read(handle, size + 4, slot * SLOT_BYTES + 4)
    if len(data) != size + 4 or format.checksum(data[:-4], seed) != int.from_bytes(data[-4:], "big"):
        return None
    content: list[Any] = msgpack.unpackb(data[:-4])
    return content


def read_newest(disk: Disk, handle: int, seed: int) -> tuple[int, list[Any]]:
    """The highest generation among the whole slots and what follows it there; 0 when there is none."""
    newest = max(read_slot(disk, handle, seed, 0) or [0], read_slot(disk, handle, seed, 1) or [0], key=lambda c: c[0])
    return newest[0], newest[1:]


def pack(generation: int, *fields: object) -> bytes:
    """The content of a slot."""
    return bytes(msgpack.packb([generation, *fields]))


def write(disk: Disk, handle: int, seed: int, generation: int, content: bytes) -> None:
    """Put `content`, packed with `generation`, into the slot that it replaces."""
    record = len(content).to_bytes(4, "big") + content + format.checksum(content, seed).to_bytes(4, "big")
    disk.write(handle, record, generation % 2 * SLOT_BYTES)
