"""A small value in two slots of one file: each change goes into the older one, so that a torn write leaves the other.

A slot holds its content's size, the content (a msgpack list that begins with a generation) and a checksum. What
the rest of the list means is the caller's; so is the lock under which a file is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.formats import format
from fsstore.serialization.untrusted import check_msgpack

SLOT_BYTES = 1 << 20
MAX_CONTENT_BYTES = SLOT_BYTES - 8
_MAX_GENERATION = 1 << 62


def read_slot(disk: Disk, handle: int, seed: int, slot: int, fits: Callable[..., bool]) -> list[Any] | None:
    """What the slot holds; `[]` when it was never written, `None` when it is damaged.

    `fits` says of the fields behind the generation whether they are what the caller puts there.
    """
    size = int.from_bytes(disk.read(handle, 4, slot * SLOT_BYTES), "big")
    if not size:
        return []
    if size > MAX_CONTENT_BYTES:
        return None
    data = disk.read(handle, size + 4, slot * SLOT_BYTES + 4)
    if len(data) != size + 4 or format.checksum(data[:-4], seed) != int.from_bytes(data[-4:], "big"):
        return None
    try:
        check_msgpack(data[:-4])
        generation, *fields = msgpack.unpackb(data[:-4])
    except (ValueError, TypeError):
        return None
    if type(generation) is not int or not 0 < generation <= _MAX_GENERATION or not fits(*fields):
        return None
    return [generation, *fields]


def read_newest(disk: Disk, handle: int, seed: int, fits: Callable[..., bool]) -> tuple[int, list[Any]]:
    """The highest generation among the whole slots and what follows it there; 0 when there is none."""
    contents = [read_slot(disk, handle, seed, slot, fits) or [0] for slot in (0, 1)]
    newest = max(contents, key=lambda content: content[0])
    return newest[0], newest[1:]


def pack(generation: int, *fields: object) -> bytes:
    """The content of a slot."""
    return bytes(msgpack.packb([generation, *fields]))


def write(disk: Disk, handle: int, seed: int, generation: int, content: bytes) -> None:
    """Put `content`, packed with `generation`, into the slot that it replaces."""
    record = len(content).to_bytes(4, "big") + content + format.checksum(content, seed).to_bytes(4, "big")
    disk.write(handle, record, generation % 2 * SLOT_BYTES)
