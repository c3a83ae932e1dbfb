"""Folding: what the journal says is written into the streams' own files, and the journal's space is free again.

Group by stream, write each stream's records in one call at the places that they carry, write the indexes,
flush, then move the fold mark. Every step writes the same bytes at the same places when it is repeated, so a
fold that was interrupted anywhere is simply done again; until the mark moves the journal still has everything.
One process folds at a time. This module writes segments and indexes and judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from fsstore.engines.file.collector import CollectorHeld
from fsstore.engines.file.files.layout import StoreFiles
from fsstore.engines.file.folding.by_stream import ByStream, StreamRecords, WholeRecord
from fsstore.engines.file.formats import file_headers, format, index_entries
from fsstore.engines.file.log.journal import Journal
from fsstore.engines.file.pace import Pace
from fsstore.engines.file.streams import segments
from fsstore.engines.file.streams.ids import IdIndex
from fsstore.engines.file.streams.indexes import Indexes
from fsstore.engines.file.streams.segments import IDS, INDEX, SEGMENT, SNAPSHOTS, Segments
from fsstore.errors import CorruptionError

_FEW_FILES = 16
_SCAN_TOKENS = 65_536
_FEW_KEYS = 8
_MOST_HEADER_BYTES = 4096


class Fold:
    """Moves one range of the journal into the streams' files. Used by the holder of the fold lock only."""

    def __init__(self, files: StoreFiles, journal: Journal, indexes: Indexes, *, index_from_bytes: int) -> None:
        self._disk = files.disk
        self._store = files.path
        self._seed = files.seed
        self._journal = journal
        self._indexes = indexes
        self._heads = indexes.heads
        self._commits = indexes.commits
        self._index_from_bytes = index_from_bytes
        self._files = Segments(files, max_handles=0)

    def run(self, start: int, target: int, most_bytes: int, *, again: bool, begin: Callable[[int], None]) -> int:
        """Fold the records from `start` to at most `target`; durable when this returns.

        Gives the position up to which everything is folded; `begin` is told of it before anything is written.
        `again`: a fold beyond `start` did not come to its end. What it wrote may read as written and yet not be on
        the device, so nothing is left out because it is there.
        """
        self._again = again
        self._pace = Pace()
        self._touched: list[str] = []
        self._open_handles: list[int] = []
        self._directories: set[str] = set()
        try:
            # Some objects for each record, without a cycle, all in memory until they are written.
            with CollectorHeld():
                return self._run(start, target, most_bytes, begin)
        finally:
            for handle in self._open_handles:
                self._disk.close(handle)

    def _run(self, start: int, target: int, most_bytes: int, begin: Callable[[int], None]) -> int:
        records = ByStream(start, self._seed, self._pace)
        for data, page in self._journal.pages(start, target):
            if records.take_in(data, page, start + most_bytes):
                break
        end, streams, entries = records.end, records.streams, records.entries
        if end < target and end - start < most_bytes:
            raise self._journal.damage(end, f"records up to position {target}, the durable mark")
        begin(end)
        if self._again:
            self._indexes.write_again()
        gone = {key for key, stream in streams.items() if stream.reset}
        for bucket_id in records.purges:
            gone.update(self._purged(bucket_id, streams))
        directories = {self._files.directory(key) for key in gone}
        if records.purges and self._again:
            # Heads that were made anew meanwhile do not name what a purge that did not end has removed already.
            directories.update(self._every_directory())
        if directories:
            self._forget(gone, directories, records.deleted_entries)
        # In the order of the keys, which is that of the directories: each is looked up once for all its files.
        for key in sorted(gone.union(streams)):
            self._pace()
            # Taken out one by one: freeing all of them at once would take a while in one stretch.
            self._write_stream(key, streams.pop(key) if key in streams else StreamRecords("", "", reset=True))
        self._write_entries(entries)
        self._indexes.mark_folded(end, max(max(entries, default=0) + 1, self._commits.next_token))
        self._flush()
        return end

    # ---- forgetting what was deleted ----

    def _purged(self, bucket_id: str | None, streams: dict[bytes, StreamRecords]) -> Iterator[bytes]:
        """The keys of the bucket's folded streams, but for those of which something came after the purge."""
        mark = None if bucket_id is None else format.bucket_mark(bucket_id)
        for head in self._heads.all():
            if head.segment_bytes and (mark is None or head.bucket == mark) and head.key not in streams:
                yield head.key

    def _every_directory(self) -> Iterator[str]:
        """Those of all streams."""
        above = f"{self._store}/streams"
        return (f"{above}/{name}" for name in self._disk.names(above))

    def _forget(self, keys: set[bytes], directories: set[str], entries: dict[int, bytes]) -> None:
        """Files and tokens of deleted streams, gone for good before the heads say so: a purge that is done again
        goes by the heads, and would not find what is left of those that they do not name."""
        # The segment last, as a stream that has none is not in heads that are made anew.
        self._flush_directories(self._remove(keys, (SNAPSHOTS, INDEX, IDS)))
        self._remove(keys, (SEGMENT,))
        # Also where nothing is there: an interrupted fold may have removed it and flushed no directory.
        self._flush_directories(directories)
        self._forget_tokens(keys)
        self._write_entries(entries)
        self._commits.flush()

    def _remove(self, keys: set[bytes], kinds: tuple[str, ...]) -> set[str]:
        """Remove those of the streams' files that are there; gives the directories that this changes."""
        changed = set()
        for key in sorted(keys):
            for kind in kinds:
                path = self._files.path(key, kind)
                if self._disk.exists(path):
                    self._disk.unlink(path)
                    changed.add(self._files.directory(key))
        return changed

    def _flush_directories(self, directories: set[str]) -> None:
        for directory in sorted(directories):
            if self._disk.exists(directory):
                self._disk.flush_directory(directory)

    def _forget_tokens(self, keys: set[bytes]) -> None:
        """Entries of commits.index that point at streams which are about to go; a stretch at a time, as a purge takes
        very many."""
        last = self._commits.next_token - 1
        width = index_entries.COMMITS_ENTRY_BYTES
        for first in range(1, last + 1, _SCAN_TOKENS):
            data = self._commits.read(first, min(last, first + _SCAN_TOKENS - 1))
            tokens = [first + number for number in self._entries_of(data, keys, width)]
            self._write_entries({token: index_entries.deleted_commits_entry(self._seed, token) for token in tokens})

    @staticmethod
    def _entries_of(data: bytes, keys: set[bytes], width: int) -> Iterable[int]:
        if len(keys) > _FEW_KEYS:
            yield from (n for n in range(len(data) // width) if data[n * width : n * width + 16] in keys)
            return
        for key in keys:
            at = data.find(key)
            while at >= 0:
                if at % width == 0:
                    yield at // width
                at = data.find(key, at + 1)

    # ---- writing ----

    def _write_stream(self, key: bytes, records: StreamRecords) -> None:
        known = self._heads.get(key)
        if records.reset or (known is not None and not known.segment_bytes):
            known = None
        if not records.commits and not records.snapshots:
            if records.reset:
                self._heads.put(index_entries.Head.empty(key))
            return
        if known is not None:
            head = known
        elif records.commits and records.commits[0][0][format.SEQUENCE] == 1:
            # Nothing of the stream was folded before; what an interrupted fold left is written again.
            head = index_entries.Head.empty(key, format.bucket_mark(records.bucket_id))
        else:
            head = self._files.measured(segments.Stream.of(records.bucket_id, records.stream_id))
        if records.commits:
            last, record = records.commits[-1]
            head.segment_bytes = last[format.PLACE] + len(record)
            head.revision, head.sequence = last[format.REVISION], last[format.SEQUENCE]
            head.add_ids([fields[format.COMMIT_ID] for fields, _ in records.commits])
            self._append(key, records, SEGMENT, records.commits)
            if head.segment_bytes >= self._index_from_bytes:
                self._index(key, records, head)
            elif self._again:
                self._drop_index(key)
        if records.snapshots:
            last, record = records.snapshots[-1]
            head.snapshots_bytes = last[format.PLACE] + len(record)
            revisions = (fields[format.REVISION] for fields, _ in records.snapshots)
            head.snapshot_revision = max(head.snapshot_revision, *revisions)
            self._append(key, records, SNAPSHOTS, records.snapshots)
        self._heads.put(head)

    def _append(self, key: bytes, records: StreamRecords, kind: str, added: list[WholeRecord]) -> None:
        """One write for all records: their places follow one another without a gap."""
        path = self._files.path(key, kind)
        place = added[0][0][format.PLACE]
        parts = [record for _, record in added]
        prefix = format.stream_prefix(records.bucket_id, records.stream_id)
        header = file_headers.stream_file_header(self._seed, prefix, kind)
        if place == len(header):
            parts.insert(0, header)
            place = 0
        handle = self._open(path, self._files.directory(key), begins=place == 0)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        try:
            if place and (begun := self._disk.read(handle, len(header), 0)) != header:
                file_headers.refuse_newer(path, kind, begun, self._seed)
            self._disk.write(handle, data, place)
        finally:
            self._keep(handle, path)

    def _open(self, path: str, directory: str, *, begins: bool) -> int:
        """The stream's file. One that is missing leaves a hole before what is written now: damage, said on reading,
        which must not keep the other streams from being folded."""
        if not begins:
            try:
                return self._disk.open(path, write=True)
            except FileNotFoundError:
                pass
        try:
            handle = self._disk.open(path, write=True, create=True)
        except FileNotFoundError:
            self._disk.make_directory(directory)
            handle = self._disk.open(path, write=True, create=True)
        # Also when it is there already: an interrupted fold may have made it and flushed no directory.
        self._directories.update((directory, f"{self._store}/streams"))
        return handle

    def _keep(self, handle: int, path: str) -> None:
        """A few handles stay open, to be flushed one by one; with many the whole file system is flushed."""
        self._touched.append(path)
        if len(self._open_handles) < _FEW_FILES:
            self._open_handles.append(handle)
        else:
            self._disk.close(handle)

    def _write_entries(self, entries: dict[int, bytes]) -> None:
        tokens = sorted(entries)
        at = 0
        while at < len(tokens):
            end = at + 1
            while end < len(tokens) and tokens[end] == tokens[end - 1] + 1:
                end += 1
            self._commits.write(tokens[at], b"".join([entries[token] for token in tokens[at:end]]))
            at = end

    def _index(self, key: bytes, records: StreamRecords, head: index_entries.Head) -> None:
        """Extend the stream's indexes by the new commits; made anew where they do not reach up to them.

        A damaged segment gets none: reading it says so, and the other streams are folded all the same.
        """
        headers = [format.header_of(format.RecordHeader, fields) for fields, _ in records.commits]
        stream = segments.Stream.of(records.bucket_id, records.stream_id)
        index = self._open_index(key, INDEX)
        try:
            ids = self._open_index(key, IDS)
        except BaseException:
            self._disk.close(index)
            raise

        def whole() -> list[format.RecordHeader]:
            return [header for header, _ in self._files.records(stream, head.segment_bytes)]

        try:
            for handle, kind in ((index, INDEX), (ids, IDS)):
                begun = self._disk.read(handle, _MOST_HEADER_BYTES, 0)
                file_headers.refuse_newer(self._files.path(key, kind), kind, begun, self._seed)
            if self._again:
                self._disk.truncate(index, 0)
                self._disk.truncate(ids, 0)
            self._extend_index(index, key, headers, whole)
            IdIndex(self._disk, self._files.path(key, IDS), self._seed).extend(
                headers[0].sequence,
                [one.commit_id for one in headers],
                lambda: (one.commit_id for one in whole()),
                ids,
            )
        except CorruptionError:
            self._disk.truncate(index, 0)
            self._disk.truncate(ids, 0)
        finally:
            self._keep(index, self._files.path(key, INDEX))
            self._keep(ids, self._files.path(key, IDS))

    def _extend_index(
        self, index: int, key: bytes, headers: list[format.RecordHeader], whole: Callable[[], list[format.RecordHeader]]
    ) -> None:
        offset = index_entries.stream_index_offset(headers[0].sequence)
        if not self._is_indexed(index, key, offset, headers[0].place):
            header = file_headers.pack_file_header("index", self._seed, [key], index_entries.INDEX_HEADER_BYTES)
            self._disk.write(index, header, 0)
            headers, offset = whole(), index_entries.stream_index_offset(1)
        pack = index_entries.STREAM_INDEX_ENTRY.pack
        entries = [pack(one.place, one.length_bytes, one.revision, one.commit_id) for one in headers]
        self._disk.write(index, b"".join(entries), offset)

    def _is_indexed(self, index: int, key: bytes, end: int, place: int) -> bool:
        """Whether a fold that came to its end indexed everything before `place`, up to `end` of the index.

        One that was interrupted may have left a file of the right size with nothing in it.
        """
        if place < self._index_from_bytes:
            return False
        header = file_headers.pack_file_header("index", self._seed, [key], index_entries.INDEX_HEADER_BYTES)
        last = self._disk.read(
            index, index_entries.STREAM_INDEX_ENTRY_BYTES, end - index_entries.STREAM_INDEX_ENTRY_BYTES
        )
        if self._disk.read(index, len(header), 0) != header or len(last) < index_entries.STREAM_INDEX_ENTRY_BYTES:
            return False
        last_place, length_bytes, _, _ = index_entries.STREAM_INDEX_ENTRY.unpack(last)
        return bool(last_place + length_bytes == place)

    def _drop_index(self, key: bytes) -> None:
        """What a fold that did not end may have begun beside a segment that it took for long enough."""
        for kind in (INDEX, IDS):
            if self._disk.exists(self._files.path(key, kind)):
                self._disk.unlink(self._files.path(key, kind))
                self._directories.add(self._files.directory(key))

    def _open_index(self, key: bytes, kind: str) -> int:
        self._directories.add(self._files.directory(key))
        return self._disk.open(self._files.path(key, kind), write=True, create=True)

    # ---- making it durable ----

    def _flush(self) -> None:
        many = len(self._touched) > len(self._open_handles)
        if many and self._commits.flush_file_system():
            return
        for handle in self._open_handles:
            self._disk.flush(handle)
        for path in self._touched[len(self._open_handles) :]:
            handle = self._disk.open(path, write=True)
            try:
                self._disk.flush(handle)
            finally:
                self._disk.close(handle)
        for directory in sorted(self._directories, reverse=True):
            self._disk.flush_directory(directory)
        self._indexes.flush()
        self._disk.flush_directory(self._store)
