"""The store's id, without which nothing in it can be read: from the meta file, or from wherever else it stands.

An id is believed when a file of the journal can be read with it. This module reads; it writes nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.files import layout
from fsstore.engines.file.files.handles import read_from
from fsstore.engines.file.formats import file_headers, format
from fsstore.engines.file.processes.control import CONTROL_BYTES
from fsstore.errors import CorruptionError

_STORE_HEADER = b"\x94\xadfsstore store"


def find_meta(disk: Disk, path: str) -> tuple[layout.Meta, bool]:
    """The meta file, or what it must have said, and whether that is to be written anew."""
    with contextlib.suppress(CorruptionError):
        if disk.exists(f"{path}/{layout.META}"):
            return layout.read_meta(disk, path), False
    for store_id in _possible_ids(disk, path):
        if _proves(disk, path, store_id):
            return layout.Meta(store_id, 0), True
    raise CorruptionError(
        "the store's id is not known any more, without which nothing in it can be read",
        path=f"{path}/{layout.META}",
        offset_bytes=0,
        expected="the id in the meta file or in the control page; put back store.meta from a backup",
    )


def _possible_ids(disk: Disk, path: str) -> Iterator[bytes]:
    control = _beginning(disk, f"{path}/{layout.CONTROL}", CONTROL_BYTES)
    words = memoryview(control[:24]).cast("Q") if len(control) >= 24 else memoryview(bytes(24)).cast("Q")
    yield words[1].to_bytes(8, "big") + words[2].to_bytes(8, "big")
    meta = _beginning(disk, f"{path}/{layout.META}", 64)
    at = len(_STORE_HEADER) + 4
    yield meta[at : at + 16]


def _proves(disk: Disk, path: str, store_id: bytes) -> bool:
    if len(store_id) != 16:
        return False
    seed = format.store_seed(store_id)
    directory = f"{path}/{layout.JOURNAL}"
    for name in disk.names(directory):
        header = _beginning(disk, f"{directory}/{name}", file_headers.JOURNAL_HEADER_BYTES)
        with contextlib.suppress(file_headers.FormatError):
            file_headers.read_file_header("journal", header, seed)
            return True
    return False


def _beginning(disk: Disk, path: str, length_bytes: int) -> bytes:
    try:
        return read_from(disk, path, 0, length_bytes)
    except FileNotFoundError:
        return b""
