"""Records, and stores made of nothing but the parts that a test is about, without an engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.files.layout import StoreFiles
from fsstore.engines.file.formats import file_headers, format
from fsstore.engines.file.streams.commits_index import CommitsIndex
from fsstore.engines.file.streams.heads import Heads
from fsstore.engines.file.streams.indexes import Indexes
from fsstore.engines.file.streams.segments import SEGMENT, SNAPSHOTS, Segments, Stream
from fsstore.errors import CorruptionError

SEED = format.store_seed(bytes(range(16)))
STORE = "/a.store"
Walked = tuple[format.RecordHeader, bytes]


@dataclass
class Log:
    """Records one after another from position 128, as a journal gives them; tokens and places follow one another."""

    start: int = 128
    records: list[Walked] = field(default_factory=list)
    _token: int = 0
    _heads: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    _snapshots: dict[bytes, int] = field(default_factory=dict)

    @property
    def end(self) -> int:
        return self.records[-1][0].end if self.records else self.start

    def commit(self, stream: Stream, payload: bytes = b"payload", *, following: int = 0) -> format.RecordHeader:
        sequence, place = self._heads.get(stream.key, (0, 0))
        place = place or file_headers.stream_file_header_bytes(stream.prefix)
        self._token += 1
        header = self._add(format.COMMIT, stream, stream.prefix + payload, place, sequence + 1, following)
        self._heads[stream.key] = sequence + 1, place + header.length_bytes
        return header

    def snapshot(self, stream: Stream, revision: int) -> format.RecordHeader:
        place = self._snapshots.get(stream.key) or file_headers.stream_file_header_bytes(stream.prefix, SNAPSHOTS)
        header = self._add(format.SNAPSHOT, stream, stream.prefix + b"state", place, revision, 0)
        self._snapshots[stream.key] = place + header.length_bytes
        return header

    def delete(self, stream: Stream) -> None:
        self._heads.pop(stream.key, None)
        self._snapshots.pop(stream.key, None)
        self._add(format.DELETE_STREAM, stream, stream.prefix, 0, 0, 0)

    def purge(self, bucket_id: str | None) -> None:
        self._heads.clear()
        self._add(format.PURGE, None, format.pack_purge(bucket_id), 0, 0, 0)

    def _add(
        self, kind: int, stream: Stream | None, body: bytes, place: int, number: int, following: int
    ) -> format.RecordHeader:
        is_commit = kind == format.COMMIT
        header = format.RecordHeader(
            0, kind, 0, following, self.end, 0, place, stream.key if stream else format.NO_KEY,
            self._token if is_commit else 0, number if stream else 0, number if is_commit else 0,
            UUID(int=self._token).bytes if is_commit else format.NO_ID, self._token,
            format.checksum(body, SEED), len(body),
        )  # fmt: skip
        packed = format.pack_header(header, SEED)
        whole = format.read_header(packed, 0, SEED)
        assert whole is not None
        self.records.append((whole, packed + body))
        return whole

    def pages(self, start: int, end: int | None = None) -> Iterator[tuple[bytes, list[format.Record]]]:
        """Two records at a time."""
        wanted = [one for one in self.records if start <= one[0].position and (end is None or one[0].position < end)]
        for first in range(0, len(wanted), 2):
            page = wanted[first : first + 2]
            records: list[format.Record] = [(header, record[format.RECORD_HEADER_BYTES :]) for header, record in page]
            yield b"".join(record for _, record in page), records

    def damage(self, position: int, expected: str) -> CorruptionError:
        return CorruptionError("the journal is damaged", expected=f"{expected}, from position {position} on")

    def of(self, stream: Stream, kind: int = format.COMMIT) -> bytes:
        """The bytes of the stream's records of that kind, as its file holds them behind the header."""
        return b"".join(record for header, record in self.records if header.key == stream.key and header.kind == kind)


@dataclass
class Parts:
    """The directory of a store, its two indexes, empty, and its streams' files."""

    files: StoreFiles
    indexes: Indexes
    segments: Segments

    @property
    def disk(self) -> Disk:
        return self.files.disk

    @property
    def heads(self) -> Heads:
        return self.indexes.heads

    @property
    def commits(self) -> CommitsIndex:
        return self.indexes.commits

    @classmethod
    def on(cls, disk: Disk) -> Parts:
        for directory in (STORE, f"{STORE}/streams"):
            disk.make_directory(directory)
        files = StoreFiles(disk, STORE, SEED)
        indexes = Indexes(files, write=True)
        indexes.create()
        return cls(files, indexes, Segments(files, max_handles=2))

    def write_segment(self, stream: Stream, data: bytes, kind: str = SEGMENT) -> None:
        self.disk.make_directory(self.segments.directory(stream.key))
        handle = self.disk.open(self.segments.path(stream.key, kind), write=True, create=True)
        self.disk.truncate(handle, 0)
        self.disk.write(handle, data, 0)
        self.disk.close(handle)

    def read(self, path: str) -> bytes:
        handle = self.disk.open(path)
        try:
            return self.disk.read(handle, self.disk.size(handle), 0)
        finally:
            self.disk.close(handle)

    def file(self, stream: Stream, kind: str = SEGMENT) -> bytes:
        return self.read(self.segments.path(stream.key, kind))


def with_header(stream: Stream, records: bytes, kind: str = SEGMENT) -> bytes:
    return file_headers.stream_file_header(SEED, stream.prefix, kind) + records
