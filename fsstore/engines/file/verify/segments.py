"""Verification of one segment or snapshot file: every record from its header to where the folded part ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.files.handles import opened, read_from
from fsstore.engines.file.formats import format, index_entries
from fsstore.engines.file.log.scan import Gap, in_file_of, scan
from fsstore.engines.file.streams.segments import FILES, NAMES_BYTES, SEGMENT, SNAPSHOTS, Segments, Stream
from fsstore.engines.file.verify.finding import Finding
from fsstore.engines.file.verify.stream_indexes import StreamIndexes
from fsstore.errors import CorruptionError

KINDS = {file: kind for kind, file in FILES.items()}


class Names(NamedTuple):
    """What the header of a stream's file says."""

    stream: Stream
    header_bytes: int


def read_names(disk: Disk, files: Segments, key: bytes, kind: str) -> Names | None:
    """The header of the file; `None` where it is damaged. `StorageError` where a later version wrote it."""
    path = files.path(key, kind)
    data = read_from(disk, path, 0, NAMES_BYTES)
    try:
        bucket_id, stream_id, header_bytes = files.read_names(data, path, kind)
    except CorruptionError:
        return None
    return Names(Stream.of(bucket_id, stream_id), header_bytes)


def stated_stream(disk: Disk, files: Segments, key: bytes) -> Stream | None:
    """The stream behind a key, from whichever of its files still says it."""
    for kind in KINDS:
        if disk.exists(files.path(key, kind)):
            names = read_names(disk, files, key, kind)
            if names is not None and names.stream.key == key:
                return names.stream
    return None


class SegmentCheck:
    """The file of stream `key` up to byte `end`. `entry_fault` is asked of every commit that is found.

    `last_sequence` is that of the last folded commit, 0 where nothing tells.
    """

    def __init__(
        self,
        disk: Disk,
        files: Segments,
        key: bytes,
        kind: str,
        names: Names | None,
        end: int,
        last_sequence: int,
        entry_fault: Callable[[format.RecordHeader], Finding | None],
    ) -> None:
        self._disk = disk
        self._seed = files.seed
        self._path = files.path(key, kind)
        self._kind = kind
        self._key = key
        self._names = names
        self._end = end
        self._last_sequence = last_sequence
        self._entry_fault = entry_fault
        self._sequence = self._revision = self._token = 0
        self.id_bits = 0
        self.stream = str(names.stream) if names is not None else f"the stream with key {key.hex()}"

    @property
    def head(self) -> tuple[int, int]:
        """Sequence and revision of the last commit that was found."""
        return self._sequence, self._revision

    def findings(self, beside: dict[str, str]) -> Iterator[Finding]:
        """What is damaged in the file and in the indexes `beside` it, given by kind and path."""
        prefix = b""
        start = 0
        if self._names is not None:
            stream, start = self._names
            prefix = stream.prefix
            if stream.key != self._key:
                what, expected = f"this is the file of {stream}", "the stream of its name"
                yield Finding(self._path, 0, what, expected, self._lost(1, self._last_sequence))
                return
        with contextlib.ExitStack() as files:
            handle = files.enter_context(opened(self._disk, self._path))
            size_bytes = self._disk.size(handle)
            indexes = StreamIndexes(self._disk, self._seed, self._key, beside, size_bytes // format.RECORD_HEADER_BYTES)
            files.callback(indexes.close)
            gap: Gap | None = None
            at = start
            address = in_file_of(self._path, self._key, KINDS[self._kind])
            for item in scan(self._disk, handle, self._seed, start, self._end, address):
                if isinstance(item, Gap):
                    gap = item
                    at = item.end
                    continue
                header = item.header
                at = header.place + header.length_bytes
                if gap is not None:
                    yield self._gap(gap, header)
                    gap = None
                elif self._kind == SEGMENT and header.sequence != self._sequence + 1:
                    yield self._finding(
                        header.place, f"commit {header.sequence}", f"commit {self._sequence + 1}", header
                    )
                if prefix and item.body[: len(prefix)] != prefix:
                    yield self._finding(header.place, "a record of another stream", f"one of {self.stream}", header)
                if self._kind == SEGMENT:
                    yield from self._commit(header)
                    indexes.compare(header)
            if at < self._end and gap is None:
                gap = Gap(at, self._end)
            if gap is not None:
                yield self._gap(gap._replace(end=self._end), None)
        yield from indexes.findings()

    def _commit(self, header: format.RecordHeader) -> Iterator[Finding]:
        if header.revision <= self._revision or header.revision < header.sequence:
            yield self._finding(
                header.place, f"revision {header.revision}", f"a revision above {self._revision}", header
            )
        if header.token <= self._token:
            yield self._finding(header.place, f"checkpoint {header.token}", f"one above {self._token}", header)
        self._sequence, self._revision, self._token = header.sequence, header.revision, header.token
        self.id_bits |= index_entries.id_bits(header.commit_id)
        fault = self._entry_fault(header)
        if fault is not None:
            yield fault

    def _gap(self, gap: Gap, following: format.RecordHeader | None) -> Finding:
        expected = f"whole records of {self.stream} up to byte {gap.end}"
        what = "a stream's file is damaged"
        if self._names is None and gap.start == 0:
            what, expected = "the header of a stream's file is damaged", "the names of a stream"
            if following is not None and following.sequence <= 1:
                return Finding(self._path, 0, what, expected, f"nothing but the name of {self.stream}")
        last = following.sequence - 1 if following is not None else self._last_sequence
        return Finding(self._path, gap.start, what, expected, self._lost(self._sequence + 1, last))

    def _lost(self, first: int, last: int) -> str:
        if self._kind == SNAPSHOTS:
            return f"snapshots of {self.stream}"
        if last == first:
            return f"commit {first} of {self.stream}"
        commits = f"commits {first} to {last}" if last > first else f"commits from {first} on"
        return f"{commits} of {self.stream}"

    def _finding(self, offset: int, found: str, expected: str, header: format.RecordHeader) -> Finding:
        what = f"{self.stream} goes on with {found}"
        lost = self._lost(header.sequence, header.sequence) if self._kind == SEGMENT else f"a snapshot of {self.stream}"
        return Finding(self._path, offset, what, expected, lost)
