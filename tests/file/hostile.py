"""Crafting stores whose checksums all agree, by somebody who knows the format and means harm.

Each function changes a store in a directory, or puts one there. What a record says is given as fields of its header;
what is not given is what a store would have written. Nothing here opens a store.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from fsstore.engines.file import FileEngine
from fsstore.engines.file.disk.disk import RealDisk
from fsstore.engines.file.files import layout
from fsstore.engines.file.formats import file_headers, format, index_entries
from fsstore.engines.file.processes import control
from fsstore.engines.file.streams.indexes import Indexes
from fsstore.engines.file.streams.segments import SEGMENT, SNAPSHOTS, Stream
from fsstore.engines.file.values import slots
from fsstore.model import Snapshot
from fsstore.testing import fill

DISK = RealDisk()
STORE_ID = bytes(range(16))
SEED = format.store_seed(STORE_ID)
OPTIONS = {"index_from_bytes": 2048, "background": False, "journal_bytes": 8192, "max_record_bytes": 1 << 20}
A = Stream.of("default", "a")
B = Stream.of("default", "b")
PAYLOAD = msgpack.packb([{}, {"n": 1}, {}])


class Spec(NamedTuple):
    """A record to be: the body, and the fields of its header that are not as they should be."""

    kind: int
    stream: Stream | None
    body: bytes
    fields: dict[str, Any]


def commit(
    sequence: int = 1, *, stream: Stream = A, payload: bytes = PAYLOAD, body: bytes = b"", **fields: Any
) -> Spec:
    wanted = {"sequence": sequence, "revision": sequence, "commit_id": sequence.to_bytes(16, "big")} | fields
    return Spec(format.COMMIT, stream, body or stream.prefix + payload, wanted)


def snapshot(revision: int = 1, *, stream: Stream = A, body: bytes = b"", **fields: Any) -> Spec:
    return Spec(format.SNAPSHOT, stream, body or stream.prefix + msgpack.packb({}), {"revision": revision} | fields)


def other(kind: int, body: bytes = b"", stream: Stream | None = None, **fields: Any) -> Spec:
    return Spec(kind, stream, body, fields)


def packed(spec: Spec, position: int, place: int, token: int) -> tuple[format.RecordHeader, bytes]:
    """The record in that place of the journal and of its stream, checksums and all."""
    header = format.RecordHeader(
        0, spec.kind, 0, 0, position, 0, place, spec.stream.key if spec.stream else format.NO_KEY, token, 0, 0,
        format.NO_ID, 0, format.checksum(spec.body, SEED), len(spec.body),
    )._replace(**spec.fields)  # fmt: skip
    return header, format.pack_header(header, SEED) + spec.body


def empty(path: Path) -> None:
    """A store with nothing in it but its directories and `store.meta`."""
    path.mkdir()
    for name in (layout.JOURNAL, layout.STREAMS, layout.DISPATCH, layout.QUARANTINE):
        (path / name).mkdir()
    meta(path, [STORE_ID, 0, {}])


def meta(path: Path, fields: Any, version: Any = file_headers.FORMAT_VERSION) -> None:
    (path / layout.META).write_bytes(header_of("store", fields, version))


def header_of(kind: Any, fields: Any, version: Any = file_headers.FORMAT_VERSION, size_bytes: int = 0) -> bytes:
    """A file header with whatever fields, and the checksum that belongs to them."""
    raw = [one if isinstance(one, bytes) else msgpack.packb(one) for one in (version, fields)]
    head = msgpack.packb(f"fsstore {kind}") + b"".join(raw)
    return (b"\x94" + head + b"\xce" + format.checksum(head, SEED).to_bytes(4, "big")).ljust(size_bytes, b"\xc0")


def journal(
    path: Path, *specs: Spec, base: int = 0, name: str = "", header: bytes = b"", size: int = 8192, roll: int = 1
) -> None:
    """A store whose journal begins with a ROLL record and then has these."""
    empty(path)
    position = base + file_headers.JOURNAL_HEADER_BYTES
    data = bytearray(header or file_headers.journal_header(SEED, base, size))
    places: dict[tuple[bytes, int], int] = {}
    token = 1
    for spec in (other(format.ROLL, token=roll), *specs):
        stream = spec.stream
        where = (stream.key if stream else b"", spec.kind)
        kind = SNAPSHOTS if spec.kind == format.SNAPSHOT else SEGMENT
        begin = file_headers.stream_file_header_bytes(stream.prefix, kind) if stream else 0
        counts = spec.kind == format.COMMIT
        made, record = packed(spec, position, places.get(where, begin), token if counts else 0)
        data += record
        position += len(record)
        places[where] = made.place + len(record)
        token = made.token + 1 if counts else token
    file = path / layout.JOURNAL / (name or layout.journal_name(base))
    file.write_bytes(data)
    os.truncate(file, max(size, len(data)))
    indexes(path, base + file_headers.JOURNAL_HEADER_BYTES, roll)


def indexes(path: Path, folded: int, next_token: int) -> None:
    """Empty indexes, so that a store with nothing folded can be read without being written."""
    with contextlib.closing(Indexes(layout.StoreFiles(DISK, str(path), SEED), write=True)) as both:
        both.create()
        both.mark_folded(folded, next_token)
    os.truncate(path / "commits.index", index_entries.INDEX_HEADER_BYTES)


def folded(path: Path) -> None:
    """A store with a long and a short stream, a snapshot, marks, a named value and a lease, closed in good order."""
    empty(path)
    journal_file = path / layout.JOURNAL / layout.journal_name(0)
    _, roll = packed(other(format.ROLL, token=1), file_headers.JOURNAL_HEADER_BYTES, 0, 0)
    journal_file.write_bytes((file_headers.journal_header(SEED, 0, 8192) + roll).ljust(8192, b"\0"))
    engine = FileEngine(path, **OPTIONS)
    engine.initialize()
    fill(engine, "a", commits=20, events=1)
    fill(engine, "b", commits=3, events=1)
    engine.add_snapshot(Snapshot("a", 2, {"at": 2}))
    engine.mark_commit_as_dispatched(next(engine.get_undispatched_commits()))
    engine.put_checkpoint("name", b"value")
    lease = engine.acquire_lease("name", 1)
    assert lease is not None
    engine.release_lease(lease)
    engine.close()
    _begin_journal_anew(path, 24)


def _begin_journal_anew(path: Path, next_token: int) -> None:
    """As after many more commits: the journal does not hold what is folded any more."""
    base = 1 << 20
    for file in (path / layout.JOURNAL).iterdir():
        file.unlink()
    made, roll = packed(other(format.ROLL, token=next_token), base + file_headers.JOURNAL_HEADER_BYTES, 0, 0)
    file = path / layout.JOURNAL / layout.journal_name(base)
    file.write_bytes((file_headers.journal_header(SEED, base, 8192) + roll).ljust(8192, b"\0"))
    change_header(path / "heads.index", "heads", [1024, 2, made.end, next_token])
    change_header(path / "commits.index", "commits", [made.end, next_token])
    marks = (control.TAIL, control.SYNCED, control.VISIBLE, control.FOLDED, control.BEGUN, control.FOLD_BEGUN)
    change_mark(path, *marks, value=made.end)


# ---- changing what is folded ---------------------------------------------------------------------------


def file_of(path: Path, stream: Stream = A, kind: str = SEGMENT) -> Path:
    name = stream.key.hex()
    return path / layout.STREAMS / name[:2] / f"{name}.{kind}"


def records_in(file: Path) -> Iterator[tuple[int, format.RecordHeader]]:
    data = file.read_bytes()
    at = data.find(format.RECORD_MAGIC)
    while at >= 0:
        header = format.read_header(data, at, SEED)
        if header is not None and header.place == at:
            yield at, header
        at = data.find(format.RECORD_MAGIC, at + 1)


def change_record(file: Path, number: int, body: bytes | None = None, **fields: Any) -> None:
    """Other fields in the header of a stream's record, and another body of the same size."""
    data = bytearray(file.read_bytes())
    at, header = list(records_in(file))[number]
    start = at + format.RECORD_HEADER_BYTES
    if body is not None:
        data[start : start + header.body_bytes] = body[: header.body_bytes].ljust(header.body_bytes, b"\0")
        fields["body_crc"] = format.checksum(data[start : start + header.body_bytes], SEED)
    data[at:start] = format.pack_header(header._replace(**fields), SEED)
    file.write_bytes(data)


def change_head(path: Path, stream: Stream = A, **fields: int) -> None:
    """Other fields in the stream's slot of the table of heads."""
    file = path / "heads.index"
    data = bytearray(file.read_bytes())
    for at in range(index_entries.INDEX_HEADER_BYTES, len(data), index_entries.HEAD_BYTES):
        if data[at : at + 16] == stream.key:
            head = index_entries.read_head(data, at, SEED)
            assert head is not None
            for name, value in fields.items():
                setattr(head, name, value)
            data[at : at + index_entries.HEAD_BYTES] = head.pack(SEED)
    file.write_bytes(data)


def change_entry(path: Path, token: int, **fields: Any) -> None:
    """Other fields in the entry of a checkpoint."""
    file = path / "commits.index"
    data = bytearray(file.read_bytes())
    at = index_entries.INDEX_HEADER_BYTES + (token - 1) * index_entries.COMMITS_ENTRY_BYTES
    entry = next(index_entries.read_commits_entries(data[at : at + index_entries.COMMITS_ENTRY_BYTES]))._replace(
        **fields
    )
    data[at : at + index_entries.COMMITS_ENTRY_BYTES] = index_entries.pack_commits_entry(SEED, token, *entry[:-1])
    file.write_bytes(data)


def change_header(file: Path, kind: str, fields: Any, size_bytes: int = index_entries.INDEX_HEADER_BYTES) -> None:
    """Another header in front of an index."""
    data = bytearray(file.read_bytes())
    data[:size_bytes] = header_of(kind, fields, size_bytes=size_bytes)
    file.write_bytes(data)


def change_mark(path: Path, *marks: int, value: int) -> None:
    """Other marks in the control page, with their complements."""
    file = path / layout.CONTROL
    words = memoryview(bytearray(file.read_bytes())).cast("Q")
    for mark in marks:
        words[mark], words[mark + 1] = value, (1 << 64) - 1 - value
    file.write_bytes(words)


def change_slots(file: Path, content: bytes) -> None:
    """The same content in both slots of a small value."""
    record = len(content).to_bytes(4, "big") + content + format.checksum(content, SEED).to_bytes(4, "big")
    file.write_bytes(record.ljust(slots.SLOT_BYTES, b"\0") + record)


def unindexed(path: Path) -> None:
    """Without what is disposable, so that it is made anew from what was crafted."""
    for name in ("heads.index", "commits.index", layout.CONTROL):
        (path / name).unlink(missing_ok=True)


ALL_MARKS = tuple(range(control.EPOCH, control.JOINED + 1, 2))
Craft = Callable[[Path], None]


def nested(levels: int, inside: bytes = b"\xc0") -> bytes:
    """An array in an array in an array."""
    return b"\x91" * levels + inside


def claiming(count: int, levels: int = 1) -> bytes:
    """Arrays that say they have so many elements, each within the one before."""
    return (b"\xdd" + count.to_bytes(4, "big")) * levels


def journal_header(fields: object) -> bytes:
    return header_of("journal", fields, size_bytes=file_headers.JOURNAL_HEADER_BYTES)


def huge_bodies(path: Path, count: int, *, behind_bytes: int) -> None:
    """Headers, so many bytes behind the end of the log, that claim the 300 megabytes of holes that follows them."""
    size = 300 << 20
    journal(path, size=size)
    at = file_headers.JOURNAL_HEADER_BYTES + format.RECORD_HEADER_BYTES + behind_bytes
    with open(next((path / layout.JOURNAL).iterdir()), "r+b") as handle:
        for number in range(count):
            claim = {"body_bytes": size - (1 << 21), "body_crc": number, "lag_bytes": format.MAX_LAG}
            handle.seek(at)
            made, _ = packed(commit(), at, 500, 1)
            handle.write(format.pack_header(made._replace(**claim), SEED))
            at += format.RECORD_HEADER_BYTES


def holes(path: Path, name: str, kind: str, fields: list[int], size: int) -> None:
    change_header(path / name, kind, fields)
    os.truncate(path / name, index_entries.INDEX_HEADER_BYTES + size)


def many_ids(path: Path, lengths: list[object]) -> None:
    file = file_of(path, kind="ids")
    change_header(file, "ids", ["little", lengths, [0] * len(lengths)], 4096)
    if lengths == [1 << 30]:
        os.truncate(file, 4096 + (8 << 30))


def huge_segment(path: Path) -> None:
    """A last record that is 300 megabytes of holes, which the head of the stream agrees with."""
    change_record(file_of(path), 19, body_bytes=(300 << 20) - 65536)
    change_head(path, segment_bytes=300 << 20)
    os.truncate(file_of(path), 300 << 20)


def rename(path: Path, names: object) -> None:
    file = file_of(path)
    first = next(at for at, _ in records_in(file))
    file.write_bytes(header_of("segment", names).ljust(first, b"\xc0")[:first] + file.read_bytes()[first:])
    unindexed(path)


def strangers(path: Path) -> None:
    """Files that look like a stream's and are none; and a stream that is named like a path is none of these."""
    directory = file_of(path).parent
    for name in ("zz" * 16, "0 " * 16, "A" * 32, "..", "..%2f..%2fetc"):
        if name != "..":
            (directory / f"{name}.segment").write_bytes(b"x")
    (path / "dispatch" / "..value").write_bytes(b"x")
    unindexed(path)
