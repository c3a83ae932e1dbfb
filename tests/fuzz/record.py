"""Records in a journal, their checksums right: opened, read in every way and verified.

Most cases change what a record says and pack it anew; some change bytes of the file, which its checksums then deny.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import random
import tempfile
from pathlib import Path

import hostile
import msgpack
from memory_disk import MemoryDisk

from fsstore.engines.file import FileEngine
from fsstore.engines.file.formats import file_headers, format
from fsstore.engines.file.verify import verify
from fsstore.errors import CorruptionError, EventStoreError, SerializationError, StorageError
from fsstore.interchange import write_line
from fsstore.serialization import MsgpackSerializer
from fuzz import changes

_BITS = {
    "kind": 8, "flags": 8, "following": 32, "lag_bytes": 32, "place": 64, "token": 64, "revision": 32, "sequence": 32,
    "position": 64, "body_bytes": 32, "body_crc": 32,
}  # fmt: skip
Record = tuple[format.RecordHeader, bytes]


def record(chance: random.Random) -> str:
    """A journal that was changed in one place or a few."""
    disk, path, file, before, records = _store()
    disk = disk.copy()
    changed = list(records)
    for _ in range(chance.randint(1, 3)):
        _change(changed, chance)
    data = before + b"".join(format.pack_header(header, hostile.SEED) + body for header, body in changed)
    if chance.random() < 0.1:
        data = changes.changed(data, chance)
    disk.files[file].data = data.ljust(1 << 14, b"\0")
    return _outcome(disk, path)


@functools.cache
def _store() -> tuple[MemoryDisk, str, str, bytes, list[Record]]:
    """A store of a few records that are not folded: its disk, its path, its journal, and what stands in that."""
    payload = MsgpackSerializer().dumps([{"a": 1}, {"b": [1, (2, 3), 2**70, b"x"]}, {}, "two", {"c": None}])
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.store"
        hostile.journal(
            path,
            hostile.commit(),
            hostile.commit(2, revision=3, payload=payload),
            hostile.commit(1, stream=hostile.B),
            hostile.snapshot(2),
            hostile.other(format.PURGE, msgpack.packb("another")),
            hostile.other(format.DELETE_STREAM, hostile.B.prefix, hostile.B),
            hostile.commit(3, revision=4),
            size=1 << 14,
        )
        disk = MemoryDisk.of(path)
    (file,) = (name for name in disk.files if name.endswith(".journal"))
    data = bytes(disk.files[file].data)
    found = format.read_records(data, file_headers.JOURNAL_HEADER_BYTES, len(data), hostile.SEED, format.POSITION, 0)
    records = [(format.RecordHeader._make(fields), body) for fields, body in found]
    return disk, str(path), file, data[: file_headers.JOURNAL_HEADER_BYTES], records


def _change(records: list[Record], chance: random.Random) -> None:
    at = chance.randrange(len(records))
    header, body = records[at]
    match chance.randrange(8):
        case 0 | 1 | 2:
            name = chance.choice(list(_BITS))
            header = header._replace(**{name: changes.number(chance, _BITS[name])})
        case 3 | 4 | 5:
            body = changes.changed(body, chance)[: 1 << 13]
            header = header._replace(body_bytes=len(body), body_crc=format.checksum(body, hostile.SEED))
        case 6:
            header = header._replace(stamp_us=changes.number(chance, 64) - (1 << 63), key=chance.choice(records)[0].key)
        case _:
            header, body = chance.choice(records)
    records[at] = header, body
    position = file_headers.JOURNAL_HEADER_BYTES
    for number, (header, body) in enumerate(records):
        moved = header.position if number == at and chance.random() < 0.1 else position
        records[number] = header._replace(position=moved), body
        position += format.RECORD_HEADER_BYTES + len(body)


def _outcome(disk: MemoryDisk, path: str) -> str:
    try:
        for _ in verify(disk, path):
            pass
        for read_only in (True, False):
            engine = FileEngine(path, disk=disk, read_only=read_only, **hostile.OPTIONS)
            engine.initialize()
            with contextlib.closing(engine):
                _read(engine)
                if not read_only:
                    engine.fold()
                    _read(engine)
    except CorruptionError as error:
        if error.path is None:
            raise
        return "CorruptionError, the file named"
    except SerializationError as error:
        if "cannot be read" not in str(error):
            raise
        return "a payload that cannot be read, its commit named"
    except StorageError as error:
        if "does not know" in str(error) or "a newer fsstore wrote this" in str(error):
            return "refused as of a later version"
        if os.strerror(errno.EFBIG) in str(error):
            return "a hole that this disk has no room for"
        raise
    return "read"


def _read(engine: FileEngine) -> None:
    tokens = []
    for commit in engine.get_from_checkpoint():
        tokens.append(commit.checkpoint_token)
        try:
            write_line(commit)
        except EventStoreError:
            continue
    assert tokens == sorted(set(tokens)), "not in checkpoint order"
    for stream in ("a", "b"):
        sequences = [commit.commit_sequence for commit in engine.get_from("default", stream)]
        assert sequences == sorted(set(sequences)), "not in the order of the stream"
        engine.get_snapshot("default", stream)
    list(engine.get_streams_to_snapshot("default", 1))
