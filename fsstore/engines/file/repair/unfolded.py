"""What a damaged journal still has to be folded, put on top of what is left of the streams' own files.

A commit is kept when it follows the last one of its stream; what follows a lost one is given up, and named. This
module reads; it writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fsstore.engines.file.files.handles import read_from
from fsstore.engines.file.formats import format
from fsstore.engines.file.log.scan import Gap
from fsstore.engines.file.repair.remains import Extent, commits_text, measure
from fsstore.engines.file.streams.segments import SNAPSHOTS, Segments, Stream
from fsstore.engines.file.verify.look import Look

WholeRecord = tuple[format.RecordHeader, bytes]


@dataclass(frozen=True, slots=True)
class Shortened:
    """A stream of which the journal holds commits that nothing leads to any more."""

    name: str
    lost: str


class UnfoldedRecords:
    """The whole records of the journal that are still to be folded, onto streams that go as far as `extents` say."""

    def __init__(self, look: Look, extents: dict[bytes, Extent]) -> None:
        self._look = look
        self._files = Segments(look.files, max_handles=0)
        self._extents = extents
        self._buckets: dict[bytes, str] = {}
        self._purged: set[str | None] = set()
        # Of each stream that loses commits: the first and the last of them, 0 where it is snapshots alone.
        self._lost: dict[bytes, tuple[Stream, int, int]] = {}

    def sort(self) -> tuple[list[WholeRecord], list[Shortened]]:
        """The records, with the places they are folded to, and the streams that lose some of theirs."""
        kept = [record for header in self._acknowledged() for record in self._kept(header)]
        shortened = []
        for stream, first, last in self._lost.values():
            text = commits_text(first, last, str(stream)) if last else f"snapshots of {stream}"
            shortened.append(Shortened(str(stream), text))
        return kept, shortened

    def _kept(self, header: format.RecordHeader) -> Iterator[WholeRecord]:
        """The record as it is folded, if it is, after a deletion that must have come before it."""
        record = self._record(header)
        body = record[format.RECORD_HEADER_BYTES :]
        if header.kind == format.PURGE:
            self._purge(format.read_purge(body))
            yield header, record
        elif header.kind == format.DELETE_STREAM:
            self._begin(header.key)
            yield header, record
        elif header.kind != format.ROLL:
            stream = Stream.of(*format.split_prefix(body)[:2])
            extent = self._extent(stream)
            if _begins_anew(header, extent):
                yield self._deletion(header, stream)
                extent = self._begin(header.key)
            place = self._place(header, extent, stream)
            if place is None:
                extent.cut = True
                self._lose(header, extent, stream)
            elif place >= 0:
                placed = header._replace(place=place)
                yield placed, format.pack_header(placed, self._look.seed) + body

    def _begin(self, key: bytes) -> Extent:
        """The stream is deleted: nothing of it is there, and nothing is lost."""
        self._lost.pop(key, None)
        extent = self._extents[key] = Extent()
        return extent

    def _lose(self, header: format.RecordHeader, extent: Extent, stream: Stream) -> None:
        _, first, last = self._lost.get(header.key, (stream, extent.sequence + 1, 0))
        if header.kind == format.COMMIT:
            first, last = min(first, header.sequence), max(last, header.sequence)
        self._lost[header.key] = stream, first, last

    def _acknowledged(self) -> list[format.RecordHeader]:
        """The whole records from the fold mark on; without a torn tail and a batch that never was complete."""
        acknowledged = self._look.acknowledged()
        found: list[format.RecordHeader] = []
        for item in self._look.journal.items:
            if isinstance(item, Gap):
                if item.start >= acknowledged:
                    break
            elif item.position >= self._look.folded:
                found.append(item)
        while found and found[-1].following and found[-1].position >= acknowledged:
            found.pop()
        return found

    def _deletion(self, header: format.RecordHeader, stream: Stream) -> WholeRecord:
        """A record of what must have come before `header`, as the log may have said it."""
        seed, body = self._look.seed, stream.prefix
        deletion = format.RecordHeader(
            0, format.DELETE_STREAM, 0, 0, header.position, header.lag_bytes, 0, stream.key, 0, 0, 0, format.NO_ID, 0,
            format.checksum(body, seed), len(body),
        )  # fmt: skip
        return deletion, format.pack_header(deletion, seed) + body

    def _record(self, header: format.RecordHeader) -> bytes:
        file = self._look.journal.file_at(header.position)
        assert file is not None
        return read_from(self._look.disk, file.path, header.position - file.base, header.length_bytes)

    def _place(self, header: format.RecordHeader, extent: Extent, stream: Stream) -> int | None:
        """Where the record goes in its stream's file; -1: it is there, or was deleted with what the stream was before;
        `None`: nothing leads to it any more."""
        if header.kind == format.COMMIT:
            if header.token <= extent.token:
                return -1
            place = extent.end or self._files.header_bytes(stream)
            if header.sequence != extent.sequence + 1 or header.place != place:
                return None
            extent.add_commit(header, place)
            return place
        if header.revision in extent.snapshot_revisions:
            return -1
        if not extent.sequence or (extent.cut and header.revision > extent.revision):
            return None
        place = extent.snapshots_end or self._files.header_bytes(stream, SNAPSHOTS)
        extent.add_snapshot(header, place)
        return place

    def _extent(self, stream: Stream) -> Extent:
        extent = self._extents.get(stream.key)
        if extent is None:
            purged = bool(self._purged & {None, stream.bucket_id})
            extent = Extent() if purged else measure(self._look.disk, self._files, stream.key)
            self._extents[stream.key] = extent
        self._buckets[stream.key] = stream.bucket_id
        return extent

    def _purge(self, bucket_id: str | None) -> None:
        self._purged.add(bucket_id)
        for key, bucket in self._buckets.items():
            if bucket_id is None or bucket == bucket_id:
                self._extents[key] = Extent()


def _begins_anew(header: format.RecordHeader, extent: Extent) -> bool:
    """Whether the stream was deleted before this commit, whatever became of the record that said so."""
    return header.kind == format.COMMIT and header.sequence == 1 and 0 < extent.token < header.token
