"""What this process knows of the store now: the folded files and, over them, the unfolded tail.

`refresh` follows the journal as far as other processes have written it and lets go of what was folded.
Then `head`, `has_commit` and `snapshot_revisions` answer from memory, from the tail, from the indexes, or at
last from the stream's own files, in that order. The caller holds the engine's mutex throughout.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fsstore.engines.file.files.layout import StoreFiles
from fsstore.engines.file.formats import format, index_entries
from fsstore.engines.file.log.journal import Journal
from fsstore.engines.file.options import Options
from fsstore.engines.file.processes.control import FOLDED, TAIL, VISIBLE, ReadableControl
from fsstore.engines.file.state.tail import StreamTail, Tail, WrittenCommit
from fsstore.engines.file.streams.ids import IdIndex, LongIds, runs_of
from fsstore.engines.file.streams.indexes import Indexes
from fsstore.engines.file.streams.segments import IDS, SEGMENT, SNAPSHOTS, Segments, Stream
from fsstore.errors import CorruptionError


@dataclass(slots=True)
class FoldedHead:
    """How far the folded part of a stream goes; all zero when it has none."""

    sequence: int = 0
    revision: int = 0
    segment_bytes: int = 0
    snapshots_bytes: int = 0
    snapshot_revision: int = 0
    id_bits: int = index_entries.UNKNOWN_IDS
    ids: set[bytes] | LongIds | None = None


_NOTHING = FoldedHead()


def follow(journal: Journal, tail: Tail, target: int) -> Iterator[list[format.Record]]:
    """Apply the journal's records up to `target` to a tail, and give each page of them when it is applied."""
    for _, page in journal.pages(tail.end, target):
        try:
            tail.apply(page)
        except ValueError as error:
            position = max(tail.end, page[0][0][format.POSITION])
            raise journal.damage(position, str(error)) from None
        yield page


class View:
    """One process's view of one store."""

    def __init__(
        self,
        files: StoreFiles,
        journal: Journal,
        indexes: Indexes,
        segments: Segments,
        options: Options,
        folded: int,
        unfolded: Tail | None = None,
    ) -> None:
        self._disk = files.disk
        self.store = files.path
        self._seed = files.seed
        self.journal = journal
        self.indexes = indexes
        self.segments = segments
        self._options = options
        self.folded = folded
        self.tail = unfolded or Tail(folded, indexes.commits.next_token)
        self.tail.next_token = max(self.tail.next_token, indexes.commits.next_token)
        self._cache: OrderedDict[bytes, FoldedHead] = OrderedDict()

    # ---- keeping up ----

    def refresh(self, control: ReadableControl, *, to_tail: bool) -> None:
        """Follow the journal up to what is visible, or to its very tail; drop what was folded meanwhile."""
        try:
            folded = control.get(FOLDED)
            if folded != self.folded:
                self.let_go(folded)
            target = control.get(TAIL if to_tail else VISIBLE)
            if self.tail.end < target:
                self.follow(target)
                while self.tail.end < target and control.get(FOLDED) != self.folded:
                    # Folding overtook this process: start again where the journal still is.
                    self.let_go(control.get(FOLDED))
                    self.follow(target)
                if self.tail.end < target:
                    raise self.journal.damage(self.tail.end, f"records up to position {target}")
        except BaseException:
            self.forget()
            raise

    def take_in(self, commits: Sequence[WrittenCommit]) -> None:
        """Know commits that this process wrote itself, behind everything that it knew before."""
        try:
            self.tail.append(commits)
        except BaseException:
            self.forget()
            raise

    def take_in_other(self, position: int, record: bytes) -> None:
        """The same of a record of another kind, which stands at that position."""
        try:
            self.tail.apply(format.read_records(record, 0, len(record), self._seed, format.POSITION, position))
        except BaseException:
            self.forget()
            raise

    def forget(self) -> None:
        """Know nothing, as what was interrupted may be known by half: the next refresh begins at the fold mark."""
        self.folded = -1
        self.tail = Tail(-1, 0)
        self._cache.clear()

    def follow(self, target: int) -> None:
        """Apply the journal's records up to `target`."""
        for _ in follow(self.journal, self.tail, target):
            pass

    def let_go(self, folded: int) -> None:
        """Forget what stands in the streams' files now."""
        self.indexes.refresh()
        if self.tail.end < folded:
            self.tail = Tail(folded, self.indexes.commits.next_token)
            self._cache.clear()
        else:
            if self.tail.purges:
                self._cache.clear()  # it has streams of which nothing was unfolded, and whose files are gone
            for key in self.tail.drop_below(folded):
                self._cache.pop(key, None)
        self.folded = folded
        self.journal.forget_below(folded)
        self.segments.forget_handles()

    # ---- one stream ----

    def tail_of(self, stream: Stream) -> StreamTail | None:
        return self.tail.streams.get(stream.key)

    def head(self, stream: Stream) -> tuple[int, int, int]:
        """The stream's last sequence, its revision, and where its next record goes (0: no file yet)."""
        tail = self.tail.streams.get(stream.key)
        if tail is not None and (tail.sequence or tail.reset_at):
            return tail.sequence, tail.revision, tail.segment_end
        folded = self.folded_head(stream)
        if folded.segment_bytes and not folded.sequence:
            for _ in self._records(stream, folded.segment_bytes):
                pass  # what is damaged raises; a head without a sequence says that something is
        if folded.segment_bytes and not 0 < folded.sequence <= folded.revision:
            raise CorruptionError(
                f"the head of {stream} says commit {folded.sequence} and revision {folded.revision}",
                path=self.indexes.heads.path,
                offset_bytes=0,
                expected="what its segment says",
                repair=f"fsstore repair {self.store}",
            )
        return folded.sequence, folded.revision, folded.segment_bytes

    def look_up(self, streams: dict[bytes, Stream]) -> None:
        """Have the heads of these streams ready, by key, as far as they are kept: where many are new to this process,
        one after another in the order of their directories, each of which is opened once then."""
        known, cached = self.tail.streams, self._cache
        unknown = [key for key in streams if key not in known and key not in cached]
        for key in sorted(unknown[: self._options.max_cached_streams]):
            self.folded_head(streams[key])

    def is_going(self, key: bytes) -> bool:
        """Whether a purge that is not folded yet takes the stream, whose files may be gone already."""
        if not self.tail.purges:
            return False
        head = self.indexes.heads.get(key)
        return head is not None and (not head.segment_bytes or self.tail.purged(head.bucket))

    def folded_head(self, stream: Stream) -> FoldedHead:
        """How far the stream's own files go."""
        tail = self.tail.streams.get(stream.key)
        if tail is not None:
            if tail.reset_at or (tail.entries and tail.entries[0].sequence == 1):
                return _NOTHING
        elif self.tail.purges and self.tail.purged_at(stream.bucket_id):
            return _NOTHING
        found = self._cache.get(stream.key)
        if found is not None:
            self._cache.move_to_end(stream.key)
        else:
            found = self._cache[stream.key] = self._load(stream)
            if len(self._cache) > self._options.max_cached_streams:
                self._cache.popitem(last=False)
        if tail is not None and self._is_ahead(found, tail):
            found = self._cache[stream.key] = self._as_of_the_mark(found, tail, stream)
        return found

    @staticmethod
    def _is_ahead(head: FoldedHead, tail: StreamTail) -> bool:
        """Whether a fold that is going on, or was interrupted, noted more than what is below the fold mark."""
        return bool(
            (tail.entries and head.segment_bytes > tail.entries[0].place)
            or (tail.snapshots and head.snapshots_bytes > tail.snapshots[0].place)
        )

    def _as_of_the_mark(self, head: FoldedHead, tail: StreamTail, stream: Stream) -> FoldedHead:
        """The head without what is unfolded: after a power cut the table may have it and the stream's files not."""
        found = replace(head, ids=None)
        if tail.entries:
            found.segment_bytes = min(found.segment_bytes, tail.entries[0].place)
            found.sequence = min(found.sequence, tail.entries[0].sequence - 1)
        if tail.snapshots and tail.snapshots[0].place <= found.snapshots_bytes:
            first = tail.snapshots[0].place
            found.snapshots_bytes = first if first > self.segments.header_bytes(stream, SNAPSHOTS) else 0
        return found

    def _load(self, stream: Stream) -> FoldedHead:
        slot = self.indexes.heads.get(stream.key)
        if slot is None:
            # The table of heads is disposable: a stream that it does not know may have a segment all the same.
            if not self.segments.has(stream.key):
                return _NOTHING
            slot = self.segments.measured(stream)
        return FoldedHead(
            slot.sequence, slot.revision, slot.segment_bytes, slot.snapshots_bytes, slot.snapshot_revision, slot.id_bits
        )

    def has_commit(self, stream: Stream, commit_id: bytes) -> bool:
        """Whether a commit of that id is in the stream, at a cost that does not grow with it."""
        tail = self.tail.streams.get(stream.key)
        if tail is not None:
            if tail.has(commit_id):
                return True
            if tail.entries and tail.entries[0].sequence == 1:
                return False  # nothing of it is folded
        head = self.folded_head(stream)
        if not head.segment_bytes:
            return False
        if head.ids is None:
            if index_entries.lacks(head.id_bits, index_entries.id_bits(commit_id)):
                return False  # without a look at the segment
            head.ids = self._load_ids(stream, head)
        return commit_id in head.ids

    def _load_ids(self, stream: Stream, head: FoldedHead) -> set[bytes] | LongIds:
        if head.segment_bytes < self._options.index_from_bytes:
            return {header.commit_id for header, _ in self._records(stream, head.segment_bytes)}
        path = self.segments.path(stream.key, IDS)
        runs = IdIndex(self._disk, path, self._seed).load(
            head.sequence, head.segment_bytes // format.RECORD_HEADER_BYTES
        )
        if runs is None:
            runs = runs_of(header.commit_id for header, _ in self._records(stream, head.segment_bytes))
        end = head.segment_bytes
        return LongIds(runs, lambda wanted: self._in_segment(stream, end, wanted))

    def _records(self, stream: Stream, end: int, *, kind: str = SEGMENT) -> Iterator[tuple[format.RecordHeader, bytes]]:
        """The folded records of a stream that has some, which nobody may have taken away."""
        try:
            yield from self.segments.records(stream, end, kind=kind)
        except FileNotFoundError:
            raise CorruptionError(
                "a stream's file is missing",
                path=self.segments.path(stream.key, kind),
                expected=f"{end} bytes of {stream}",
                repair=f"fsstore repair {self.store}",
            ) from None

    def _in_segment(self, stream: Stream, end: int, commit_id: bytes) -> bool:
        return any(header.commit_id == commit_id for header, _ in self._records(stream, end))

    def snapshot_revisions(self, stream: Stream) -> set[int]:
        """The revisions that have a snapshot, folded or not."""
        tail = self.tail.streams.get(stream.key)
        revisions = {entry.revision for entry in tail.snapshots} if tail is not None else set()
        folded = self.folded_head(stream)
        if folded.snapshots_bytes:
            records = self._records(stream, folded.snapshots_bytes, kind=SNAPSHOTS)
            revisions.update(header.revision for header, _ in records)
        return revisions

    def snapshots_end(self, stream: Stream) -> int:
        """Where the stream's next snapshot goes (0: no file yet)."""
        tail = self.tail.streams.get(stream.key)
        if tail is not None and (tail.snapshots_end or tail.reset_at):
            return tail.snapshots_end
        return self.folded_head(stream).snapshots_bytes
