"""Reading one stream's own files: its segment, its snapshots, and the index beside a long segment.

A segment holds the same record bytes as the journal did, each at the place that it carries; everything read is
checked against its checksums, its place, its stream and the order of its stream. Damage is `CorruptionError`
here, never a guess. Writing these files is the fold's work; what is not folded yet is unknown here.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from fsstore.engines.file.files.handles import opened, read_from, size_of
from fsstore.engines.file.files.layout import StoreFiles
from fsstore.engines.file.formats import file_headers, format, index_entries
from fsstore.errors import CorruptionError

SEGMENT = "segment"
SNAPSHOTS = "snapshots"
INDEX = "index"
IDS = "ids"
FILES = {format.COMMIT: SEGMENT, format.SNAPSHOT: SNAPSHOTS}
"""Which of a stream's files has the records of a kind."""
# Two ids of 1,000 characters of at most four bytes, and what stands around them.
NAMES_BYTES = 8_192 + 128
_FIRST_CHUNK_BYTES = 1 << 16
# Larger ones leave the processor's caches before they are used up, and are new memory each time.
_CHUNK_BYTES = 1 << 18
_ENTRY_BYTES = index_entries.STREAM_INDEX_ENTRY_BYTES


@dataclass(slots=True, eq=False)
class Stream:
    """A stream's names: what the caller calls it, and what its files and records do. Not to be changed; not frozen, as
    freezing triples what making one costs."""

    bucket_id: str
    stream_id: str
    prefix: bytes
    key: bytes

    @classmethod
    def of(cls, bucket_id: str, stream_id: str) -> Stream:
        prefix = format.stream_prefix(bucket_id, stream_id)
        return cls(bucket_id, stream_id, prefix, format.stream_key(prefix))

    def __str__(self) -> str:
        return f"stream {self.stream_id!r} in bucket {self.bucket_id!r}"


class Segments:
    """The streams' files of one store. Handles are kept for a while, at most `max_handles` of them."""

    def __init__(
        self,
        files: StoreFiles,
        *,
        max_handles: int,
        max_record_bytes: int = format.MAX_BODY_BYTES,
    ) -> None:
        self._disk = files.disk
        self._store = files.path
        self.seed = files.seed
        self._max_handles = max_handles
        self._max_record_bytes = max_record_bytes
        self._handles: OrderedDict[bytes, int] = OrderedDict()
        self._handles_lock = threading.Lock()

    def directory(self, key: bytes) -> str:
        return f"{self._store}/streams/{key.hex()[:2]}"

    def path(self, key: bytes, kind: str) -> str:
        name = key.hex()
        return f"{self._store}/streams/{name[:2]}/{name}.{kind}"

    def header_bytes(self, stream: Stream, kind: str = SEGMENT) -> int:
        """Where the first record of the stream's file of that kind stands."""
        return file_headers.stream_file_header_bytes(stream.prefix, kind)

    def has(self, key: bytes) -> bool:
        """Whether the stream has a segment."""
        return self._disk.exists(self.path(key, SEGMENT))

    # ---- a stream's records ----

    def records(self, stream: Stream, end: int, *, kind: str = SEGMENT) -> Iterator[tuple[format.RecordHeader, bytes]]:
        """Header and body of the records below `end`; as `pages`."""
        for page in self.pages(stream, end, kind=kind):
            for fields, body in page:
                yield format.RecordHeader._make(fields), body

    def pages(
        self, stream: Stream, end: int, *, kind: str = SEGMENT, min_revision: int = 0
    ) -> Iterator[list[format.Record]]:
        """The records below `end`, from the one that holds `min_revision` on, as many at a time as one read brings.

        `FileNotFoundError` when there is no such file. The file is open while the iterator is.
        """
        path = self.path(stream.key, kind)
        handle = self._disk.open(path)
        try:
            data = self._disk.read(handle, min(end, _FIRST_CHUNK_BYTES), 0)
            first = self._check_header(data, path, stream, kind)
            if len(data) < end:
                size = self._disk.size(handle)
                if size < end:
                    raise self._damage(path, size, f"{end} bytes of {stream}")
            place = self._start(stream, handle, first, end, min_revision) if min_revision > 1 else first
            yield from self._walk(handle, path, stream, place, end, data, first_place=first)
        finally:
            self._disk.close(handle)

    def whole_headers(self, stream: Stream, kind: str = SEGMENT) -> Iterator[format.RecordHeader]:
        """The headers of the whole records from the start of a file, for as long as they go on; maybe none."""
        path = self.path(stream.key, kind)
        if not self._disk.exists(path):
            return
        with opened(self._disk, path) as handle:
            end = self._disk.size(handle)
            data = self._disk.read(handle, min(end, _FIRST_CHUNK_BYTES), 0)
            try:
                place = self._check_header(data, path, stream, kind)
                for page in self._walk(handle, path, stream, place, end, data, first_place=place):
                    yield from (format.RecordHeader._make(fields) for fields, _ in page)
            except CorruptionError:
                return

    def measured(self, stream: Stream) -> index_entries.Head:
        """How far the stream's files go, from the files themselves: for where heads.index does not know.

        Bytes behind the last whole record belong to the file, and its head has no sequence then: they may be damage.
        """
        head = index_entries.Head.empty(stream.key, format.bucket_mark(stream.bucket_id))
        for header in self.whole_headers(stream):
            head.segment_bytes = header.place + header.length_bytes
            head.revision, head.sequence = header.revision, header.sequence
            head.add_ids((header.commit_id,))
        for header in self.whole_headers(stream, SNAPSHOTS):
            head.snapshots_bytes = header.place + header.length_bytes
            head.snapshot_revision = max(head.snapshot_revision, header.revision)
        segment, snapshots = self.size_bytes(stream, SEGMENT), self.size_bytes(stream, SNAPSHOTS)
        if head.segment_bytes < segment:
            head.segment_bytes, head.revision, head.sequence = segment, 0, 0
            head.id_bits = index_entries.UNKNOWN_IDS
        if head.snapshots_bytes < snapshots:
            head.snapshots_bytes, head.snapshot_revision = snapshots, 0
        return head

    def size_bytes(self, stream: Stream, kind: str) -> int:
        """Of the stream's file of that kind; 0 when there is none."""
        try:
            return size_of(self._disk, self.path(stream.key, kind))
        except FileNotFoundError:
            return 0

    def _check_header(self, data: bytes, path: str, stream: Stream, kind: str) -> int:
        """Where the first record stands in a file that begins with `data`."""
        expected = file_headers.stream_file_header(self.seed, stream.prefix, kind)
        if not data.startswith(expected):
            self.read_names(data[: len(expected)], path, kind)
            raise self._damage(path, 0, f"the header of {stream}")
        return len(expected)

    def names(self, key: bytes) -> tuple[str, str]:
        """Bucket id and stream id of the stream behind a key, from the header of its segment."""
        path = self.path(key, SEGMENT)
        return self.read_names(read_from(self._disk, path, 0, NAMES_BYTES), path, SEGMENT)[:2]

    def read_names(self, data: bytes, path: str, kind: str) -> tuple[str, str, int]:
        """Bucket id, stream id and length of the header in `data`; errors as for any damaged file."""
        try:
            fields, length = file_headers.read_file_header(kind, data, self.seed)
            bucket_id, stream_id = fields
        except file_headers.NewerFormatError as error:
            raise file_headers.refused(path, error) from error
        except ValueError as error:
            raise self._damage(path, 0, str(error)) from None
        if not isinstance(bucket_id, str) or not isinstance(stream_id, str):
            raise self._damage(path, 0, "the names of a stream")
        return bucket_id, stream_id, length

    def _walk(
        self, handle: int, path: str, stream: Stream, place: int, end: int, data: bytes, *, first_place: int
    ) -> Iterator[list[format.Record]]:
        """The records from `place`; `data` is what the file begins with, as far as it was read already.

        Where something is wrong, what stands before it is given first.
        """
        start, chunk_bytes = 0, _FIRST_CHUNK_BYTES
        sequence = 0 if place == first_place else -1
        while place < end:
            page = self._page(data, start, stream, place, end, sequence)
            if page:
                yield page
                last = format.RecordHeader._make(page[-1][0])
                place = last.place + last.length_bytes
                sequence = last.sequence if last.kind == format.COMMIT else -1
                continue
            if start == place or start + len(data) == end:
                raise self._wrong(data, place - start, path, stream, place, end, sequence)
            # Not whole as far as was read: its header says how much there must be.
            start, data = place, self._disk.read(handle, min(chunk_bytes, end - place), place)
            chunk_bytes = _CHUNK_BYTES
            header = format.read_header(data, 0, self.seed)
            if header is not None and len(data) < header.length_bytes <= end - place:
                self._check_size(path, place, header.length_bytes)
                data = self._disk.read(handle, header.length_bytes, place)

    def _page(
        self, data: bytes, start: int, stream: Stream, place: int, end: int, sequence: int
    ) -> list[format.Record]:
        """The records from `place` on that are whole in `data`, which begins at `start`, and where they belong."""
        page = format.read_records(data, place - start, end - start, self.seed, format.PLACE, start)
        stream_key, prefix = stream.key, stream.prefix
        for number, (fields, body) in enumerate(page):
            _, kind, _, _, _, _, _, key, _, _, own_sequence, _, _, _, _ = fields
            if key != stream_key or not body.startswith(prefix):
                return page[:number]
            if kind == format.COMMIT:
                if sequence >= 0 and own_sequence != sequence + 1:
                    return page[:number]
                sequence = own_sequence
            elif kind != format.SNAPSHOT:
                return page[:number]
        return page

    def _check_size(self, path: str, place: int, length_bytes: int) -> None:
        """Before a record is read that is too large to be read just to see whether it is one."""
        most_bytes = format.RECORD_HEADER_BYTES + self._max_record_bytes
        if length_bytes > most_bytes:
            raise self._damage(path, place, f"a record of at most {most_bytes} bytes: see max_record_bytes")

    def _wrong(
        self, data: bytes, offset: int, path: str, stream: Stream, place: int, end: int, sequence: int
    ) -> CorruptionError:
        """What is wrong with the record at `place`, which stands at `offset` in `data`."""
        header = format.read_header(data, offset, self.seed)
        if header is not None and header.place == place:
            format.refuse_unknown(path, header)
        if header is None or header.place != place or header.key != stream.key or place + header.length_bytes > end:
            return self._damage(path, place, f"a record of {stream}")
        if not format.body_is_whole(data, offset, header, self.seed):
            return self._damage(path, place, f"the whole body of a record of {stream}")
        if not data.startswith(stream.prefix, offset + format.RECORD_HEADER_BYTES):
            return self._damage(path, place, f"the names of {stream}")
        return self._damage(path, place, f"commit {sequence + 1} of {stream}")

    def damage(self, key: bytes, kind: str, place: int, expected: str) -> CorruptionError:
        """What stands at a place of a stream's file is not what must be there."""
        return self._damage(self.path(key, kind), place, expected)

    def _damage(self, path: str, offset: int, expected: str) -> CorruptionError:
        return CorruptionError(
            "a stream's file is damaged",
            path=path,
            offset_bytes=offset,
            expected=expected,
            repair=f"fsstore repair {self._store}",
        )

    # ---- the index beside a long segment ----

    def _start(self, stream: Stream, segment: int, first: int, end: int, min_revision: int) -> int:
        """Where to start so that nothing from `min_revision` on is missed: found by the index, then proved.

        The index is believed only as far as the records it points at agree, so a damaged one costs time.
        """
        path = self.path(stream.key, INDEX)
        try:
            handle = self._disk.open(path)
        except FileNotFoundError:
            return first
        try:
            file_headers.refuse_newer(
                path, INDEX, self._disk.read(handle, index_entries.INDEX_HEADER_BYTES, 0), self.seed
            )
            low, high = 0, max(0, (self._disk.size(handle) - index_entries.INDEX_HEADER_BYTES) // _ENTRY_BYTES)
            while low < high:
                middle = (low + high) // 2
                if self._index_entry(handle, middle)[2] < min_revision:
                    low = middle + 1
                else:
                    high = middle
            if low == 0:
                return first
            # The commit before the one wanted: it must end below min_revision, and its end is the start.
            place, _, _ = self._index_entry(handle, low - 1)
        finally:
            self._disk.close(handle)
        if place >= end:
            return first
        header = format.read_header(self._disk.read(segment, format.RECORD_HEADER_BYTES, place), 0, self.seed)
        agrees = (
            header is not None
            and header.place == place
            and header.key == stream.key
            and header.sequence == low
            and header.revision < min_revision
            and place + header.length_bytes <= end
        )
        return place + header.length_bytes if agrees and header is not None else first

    def _index_entry(self, handle: int, number: int) -> tuple[int, int, int]:
        offset = index_entries.INDEX_HEADER_BYTES + number * _ENTRY_BYTES
        data = self._disk.read(handle, _ENTRY_BYTES, offset)
        if len(data) < _ENTRY_BYTES:
            return 0, 0, 0
        place, length, revision, _ = index_entries.STREAM_INDEX_ENTRY.unpack(data)
        return place, length, revision

    # ---- single records, for reading in checkpoint order ----

    def read_at(self, key: bytes, place: int, length_bytes: int) -> bytes:
        """Bytes of a stream's segment; `FileNotFoundError` when there is none."""
        if length_bytes > _CHUNK_BYTES:
            self._check_size(self.path(key, SEGMENT), place, length_bytes - _CHUNK_BYTES)
        with self._handles_lock:
            handle = self._handles.pop(key, None)
            if handle is None:
                handle = self._disk.open(self.path(key, SEGMENT))
            self._handles[key] = handle
            try:
                return self._disk.read(handle, length_bytes, place)
            finally:
                if len(self._handles) > self._max_handles:
                    self._disk.close(self._handles.popitem(last=False)[1])

    def close(self) -> None:
        """Keep no handle from now on: another thread may be in the middle of a page."""
        with self._handles_lock:
            self._max_handles = 0
        self.forget_handles()

    def forget_handles(self) -> None:
        """Close what is kept open: a stream may have been deleted and begun anew."""
        with self._handles_lock:
            while self._handles:
                self._disk.close(self._handles.popitem()[1])
