"""Rebuilding what is disposable: heads.index and commits.index, from the streams' own files.

Needed only when an index was deleted, damaged in its header, or is older than the fold mark. Reads every
segment once. It trusts records, never indexes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.files.handles import opened, size_of
from fsstore.engines.file.files.layout import StoreFiles
from fsstore.engines.file.formats import file_headers, format, index_entries
from fsstore.engines.file.log.scan import Whole, in_file_of, scan
from fsstore.engines.file.streams.commits_index import CommitsIndex
from fsstore.engines.file.streams.index_file import StaleIndexError
from fsstore.engines.file.streams.indexes import Indexes
from fsstore.engines.file.streams.segments import SEGMENT, SNAPSHOTS, Segments
from fsstore.errors import CorruptionError

_FILL_TOKENS = 65_536
# Every deleted commit has an entry, three gigabytes at this number. A crafted token must not cost a full disk.
_MOST_DELETED = 1 << 26


def stream_keys(disk: Disk, store: str) -> list[bytes]:
    """The keys of all streams that have a segment, from the names of the files."""
    keys = []
    for directory in disk.names(f"{store}/streams"):
        for name in disk.names(f"{store}/streams/{directory}"):
            stem, _, ending = name.partition(".")
            if ending == SEGMENT and len(stem) == 32:
                with contextlib.suppress(ValueError):
                    keys.append(bytes.fromhex(stem))
    return keys


def rebuild_indexes(
    files: StoreFiles,
    indexes: Indexes,
    folded: int,
    first_token: int,
    unfolded: Iterable[list[format.Record]],
) -> None:
    """Make both indexes anew, for a journal that goes on at `folded` with `first_token`; durable on return.

    `unfolded` are pages of the journal's records from there on: what they will write again may be half written now.
    Anything else that is not whole in a segment stays a part of it, and its head has no sequence, so that reading
    that stream says so and nothing is ever written over it; every other stream is as usable as before.
    """
    for index in (indexes.heads, indexes.commits):
        # One that a later version wrote is refused, not replaced because the other one is missing.
        with contextlib.suppress(StaleIndexError):
            index.open(at_least_folded=0)
    indexes.create()
    streams = _Streams(files, indexes, _first_unfolded(unfolded))
    for key in stream_keys(files.disk, files.path):
        streams.add(key)
    next_token = max(streams.last_token + 1, first_token)
    if next_token - streams.commits_found > _MOST_DELETED:
        raise CorruptionError(
            "the index of checkpoints cannot be rebuilt",
            path=indexes.commits.path,
            offset_bytes=0,
            expected=f"a commit for all but {_MOST_DELETED} of the {next_token - 1} checkpoints, found "
            f"{streams.commits_found}",
            repair="put the file back from a backup",
        )
    _fill_holes(indexes.commits, files.seed, next_token - 1, deleted=streams.all_whole)
    # The marks only once what they vouch for is on the device: a flush that fails leaves indexes that are made anew.
    indexes.flush()
    indexes.mark_folded(folded, next_token)
    indexes.flush()
    files.disk.flush_directory(files.path)


class _Streams:
    """What the streams' files say, put into both indexes. `begun` is what `_first_unfolded` gives.

    `all_whole`: no segment lacks anything that the journal does not write again.
    """

    def __init__(self, files: StoreFiles, indexes: Indexes, begun: dict[tuple[bytes, int], int]) -> None:
        self._disk = files.disk
        self._seed = files.seed
        self._heads = indexes.heads
        self._commits = indexes.commits
        self._begun = begun
        self._files = Segments(files, max_handles=1)
        self.last_token = self.commits_found = 0
        self.all_whole = True

    def add(self, key: bytes) -> None:
        """Take one stream in."""
        head = index_entries.Head.empty(key)
        self._add_commits(head)
        if not head.segment_bytes:
            return
        with contextlib.suppress(CorruptionError):  # said when the stream is read
            head.bucket = format.bucket_mark(self._files.names(key)[0])
        self._add_snapshots(head)
        self._heads.put(head)

    def _add_commits(self, head: index_entries.Head) -> None:
        path = self._files.path(head.key, SEGMENT)
        goes_on = self._begun.get((head.key, format.COMMIT))
        end = folded_end = 0
        for record in _whole_records(self._disk, path, self._seed, head.key, format.COMMIT):
            self._commits.write(record.token, index_entries.commits_entry(record, self._seed))
            self.commits_found += 1
            self.last_token = max(self.last_token, record.token)
            end = record.place + record.length_bytes
            follows = record.sequence == head.sequence + 1
            # What the journal writes again may be there in part, as a fold that was interrupted left it.
            if goes_on is None or record.place < goes_on:
                self.all_whole = self.all_whole and follows
                folded_end = end
            if not follows:
                head.id_bits = index_entries.UNKNOWN_IDS
            head.revision, head.sequence = record.revision, record.sequence
            head.add_ids((record.commit_id,))
        head.segment_bytes = _end(self._disk, path, end, goes_on)
        if head.segment_bytes > end:
            head.id_bits, head.revision, head.sequence = index_entries.UNKNOWN_IDS, 0, 0
            self.all_whole = False
        if goes_on and folded_end != goes_on:
            self.all_whole = False

    def _add_snapshots(self, head: index_entries.Head) -> None:
        path = self._files.path(head.key, SNAPSHOTS)
        end = 0
        for record in _whole_records(self._disk, path, self._seed, head.key, format.SNAPSHOT):
            end = record.place + record.length_bytes
            head.snapshot_revision = max(head.snapshot_revision, record.revision)
        head.snapshots_bytes = _end(self._disk, path, end, self._begun.get((head.key, format.SNAPSHOT)))
        if head.snapshots_bytes > end:
            head.snapshot_revision = 0


def _first_unfolded(pages: Iterable[list[format.Record]]) -> dict[tuple[bytes, int], int]:
    """Where in each stream's file the journal goes on; 0 where it begins the file anew, then or later."""
    begun: dict[tuple[bytes, int], int] = {}
    buckets: dict[bytes, str] = {}
    for fields, body in (record for page in pages for record in page):
        header = format.header_of(format.RecordHeader, fields)
        if header.kind in (format.COMMIT, format.SNAPSHOT):
            bucket_id, _, prefix_bytes = format.split_prefix(body)
            buckets[header.key] = bucket_id
            if header.kind == format.COMMIT:
                place = header.place if header.sequence > 1 else 0
            else:
                first = file_headers.stream_file_header_bytes(body[:prefix_bytes], SNAPSHOTS)
                place = header.place if header.place > first else 0
            begun.setdefault((header.key, header.kind), place)
        elif header.kind == format.DELETE_STREAM:
            begun[header.key, format.COMMIT] = begun[header.key, format.SNAPSHOT] = 0
        elif header.kind == format.PURGE:
            purged = format.read_purge(body)
            for key, bucket_id in buckets.items():
                if purged in (None, bucket_id):
                    begun[key, format.COMMIT] = begun[key, format.SNAPSHOT] = 0
    return begun


def _whole_records(disk: Disk, path: str, seed: int, key: bytes, kind: int) -> Iterator[format.RecordHeader]:
    if not disk.exists(path):
        return
    with opened(disk, path) as handle:
        for item in scan(disk, handle, seed, 0, disk.size(handle), in_file_of(path, key, kind)):
            if isinstance(item, Whole):
                yield item.header


def _end(disk: Disk, path: str, whole: int, begun: int | None) -> int:
    """How far a stream's file goes: up to where the journal goes on, or else to its last byte, whole or not."""
    if begun is not None:
        return max(whole, begun)
    return size_of(disk, path) if disk.exists(path) else 0


def _fill_holes(commits: CommitsIndex, seed: int, last_token: int, *, deleted: bool) -> None:
    """Tokens that no segment has were deleted, or are still in the journal, whose fold writes them again.

    While a segment is damaged it may have had them: their entries are left without a checksum then.
    """
    if not deleted:
        if last_token and not commits.read(last_token, last_token):
            commits.write(last_token, bytes(index_entries.COMMITS_ENTRY_BYTES))
        return
    width = index_entries.COMMITS_ENTRY_BYTES
    empty = bytes(width)
    for first in range(1, last_token + 1, _FILL_TOKENS):
        last = min(last_token, first + _FILL_TOKENS - 1)
        data = bytearray(commits.read(first, last).ljust((last - first + 1) * width, b"\0"))
        for token, at in zip(range(first, last + 1), range(0, len(data), width), strict=True):
            if data[at : at + width] == empty:
                data[at : at + width] = index_entries.deleted_commits_entry(seed, token)
        commits.write(first, data)
