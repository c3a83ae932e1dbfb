"""Reading: a stream from its segment and then its tail, its snapshots, the heads of streams.

Everything shown is at or below the visible mark as of the call, so nobody sees commit N+1 before N. Damage is
`CorruptionError`, never a shorter answer. Reading in checkpoint order is `in_order`'s.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import TypeVar

from fsstore.engines.file.formats import format, index_entries
from fsstore.engines.file.options import Options
from fsstore.engines.file.reading.decoding import Decoding
from fsstore.engines.file.reading.in_order import InOrder
from fsstore.engines.file.reading.looking import CHANGED, Looking
from fsstore.engines.file.reading.unfolded import Unfolded
from fsstore.engines.file.state.tail import Entry, StreamTail
from fsstore.engines.file.streams.segments import SEGMENT, SNAPSHOTS, Stream
from fsstore.engines.refusals import reading_snapshot
from fsstore.errors import CorruptionError
from fsstore.model import Commit, Snapshot, StreamHead
from fsstore.serialization import Serializer

_TAIL_PAGE = 256
_MADE_AT_ONCE = 2048
T = TypeVar("T")


class Reader:
    """Answers one engine's reads. Takes the engine's mutex for looking, not while the caller walks."""

    def __init__(self, looking: Looking, serializer: Serializer, seed: int, options: Options) -> None:
        self._looking = looking
        self._view = looking.view
        self._mutex = looking.mutex
        self._serializer = serializer
        self._unfolded = Unfolded(self._looking, seed)
        self._decoding = Decoding(serializer, options.max_cached_streams, self._looking.no_sense)
        self._in_order = InOrder(self._looking, self._unfolded, self._decoding, seed, options)

    # ---- one stream ----

    def stream(self, stream: Stream, min_revision: int, max_revision: int | None) -> Iterator[Commit]:
        """The stream's commits that touch the revisions, oldest first. Where the stream is deleted and begun anew
        meanwhile, nothing of the new one follows what is left of the old one."""
        looking = self._looking
        given: Commit | None = None
        retries = 0
        try:
            while True:
                known = looking.known()
                # Again from the last one on: whether it is there says whether this is the stream that it was.
                begun_with, after = given, given.commit_sequence - 1 if given is not None else 0
                try:
                    for made in self._stream_once(stream, min_revision, max_revision, after):
                        if begun_with is not None and made:
                            if made.pop(0).checkpoint_token != begun_with.checkpoint_token:
                                return
                            begun_with = None
                        if made:
                            given, retries = made[-1], 0
                        yield from made
                        looking.check_open()
                    return
                except CHANGED as error:
                    retries += 1
                    looking.again(error, known, retries, partial(self._missing, stream, SEGMENT))
        except OSError as error:
            raise looking.unavailable(f"reading {stream}", error) from error

    def _stream_once(
        self, stream: Stream, min_revision: int, max_revision: int | None, after: int
    ) -> Iterator[list[Commit]]:
        with self._mutex:
            visible = self._looking.refresh()
            tail = self._view.tail_of(stream)
            entries = [entry for entry in tail.entries if entry.end <= visible] if tail is not None else []
            folded = self._view.folded_head(stream)
            end = folded.segment_bytes
            if end and tail is not None and tail.entries:
                end = min(end, tail.entries[0].place)
        # A head without a sequence is that of a damaged segment: reading it says where.
        if end and (min_revision <= folded.revision or not folded.sequence):
            for page in self._view.segments.pages(stream, end, min_revision=min_revision):
                wanted = page
                if after or min_revision > 1:
                    wanted = [one for one in page if _reaches(one, min_revision, after)]
                yield from self._made(wanted, stream, max_revision)
                if max_revision is not None and page[-1][0][format.REVISION] >= max_revision:
                    break
        entries = [entry for entry in entries if entry.sequence > after and entry.revision >= min_revision]
        yield from self._unfolded_stream(stream, entries, max_revision)

    def _unfolded_stream(
        self, stream: Stream, entries: list[Entry], max_revision: int | None
    ) -> Iterator[list[Commit]]:
        for first in range(0, len(entries), _TAIL_PAGE):
            page = entries[first : first + _TAIL_PAGE]
            yield from self._made(self._unfolded.records(page), stream, max_revision)
            if max_revision is not None and page[-1].revision >= max_revision:
                return

    def _made(self, records: list[format.Record], stream: Stream, max_revision: int | None) -> Iterator[list[Commit]]:
        """The commits of neighbouring records of one stream that begin at or before `max_revision`."""
        if max_revision is not None:
            ends = (n for n, (fields, _) in enumerate(records, 1) if fields[format.REVISION] >= max_revision)
            records = records[: next(ends, len(records))]
        for made in self._decoding.pages(
            records, _MADE_AT_ONCE, (stream.bucket_id, stream.stream_id, len(stream.prefix))
        ):
            # Only the last one can begin beyond.
            if max_revision is not None and made and made[-1].stream_revision - len(made[-1].events) >= max_revision:
                made.pop()
            yield made

    def _missing(self, stream: Stream, kind: str) -> CorruptionError:
        return CorruptionError(
            f"the files of {stream} are not where the store's indexes say",
            path=self._view.segments.path(stream.key, kind),
            repair=f"fsstore repair {self._looking.store}",
        )

    # ---- the whole store ----

    def checkpoints(self, after: int, to_token: int | None, bucket_id: str | None) -> Iterator[Commit]:
        """Commits in checkpoint order, after one token up to another, up to what is visible now."""
        return self._in_order.commits(after, to_token, bucket_id)

    def dates(self, start: datetime, end: datetime | None, bucket_id: str | None) -> Iterator[Commit]:
        """Commits with `start <= commit_stamp < end`, in checkpoint order."""
        span = (format.stamp_to_us(start), None if end is None else format.stamp_to_us(end))
        return self._in_order.commits(0, None, bucket_id, span)

    def last_token(self) -> int:
        """The token of the newest commit that anybody may see."""
        return self._in_order.last_token()

    # ---- snapshots and heads ----

    def snapshot(self, stream: Stream, max_revision: int | None) -> Snapshot | None:
        """The newest snapshot at or before `max_revision`."""
        self._looking.check_open()
        try:
            missing = partial(self._missing, stream, SNAPSHOTS)
            return self._again(lambda: self._snapshot_once(stream, max_revision), missing)
        except OSError as error:
            raise self._looking.unavailable(f"reading a snapshot of {stream}", error) from error

    def _again(self, look: Callable[[], T], missing: Callable[[], CorruptionError]) -> T:
        retries = 0
        while True:
            known = self._looking.known()
            try:
                return look()
            except CHANGED as error:
                retries += 1
                self._looking.again(error, known, retries, missing)

    def _snapshot_once(self, stream: Stream, max_revision: int | None) -> Snapshot | None:
        best: format.Record | None = None
        with self._mutex:
            visible = self._looking.refresh()
            tail = self._view.tail_of(stream)
            folded = self._view.folded_head(stream)
            for entry in tail.snapshots if tail is not None else ():
                wanted = max_revision is None or entry.revision <= max_revision
                if entry.end <= visible and wanted and (best is None or entry.revision > best[0][format.REVISION]):
                    best = self._unfolded.record(entry)
        if folded.snapshots_bytes:
            for header, body in self._view.segments.records(stream, folded.snapshots_bytes, kind=SNAPSHOTS):
                wanted = max_revision is None or header.revision <= max_revision
                if wanted and (best is None or header.revision > best[0][format.REVISION]):
                    best = (header, body)
        if best is None:
            return None
        fields, body = best
        revision = fields[format.REVISION]
        if not revision or not body.startswith(stream.prefix):
            raise self._looking.no_sense(fields, f"a snapshot of {stream}")
        with reading_snapshot(stream.bucket_id, stream.stream_id, revision):
            payload = self._serializer.loads(body[len(stream.prefix) :])
        return Snapshot(stream.stream_id, revision, payload, stream.bucket_id)

    def heads_to_snapshot(self, bucket_id: str, max_threshold: int) -> Iterator[StreamHead]:
        """Heads of the bucket's streams whose newest snapshot is at least `max_threshold` revisions behind."""
        self._looking.check_open()
        try:
            yield from self._heads_to_snapshot(bucket_id, max_threshold)
        except OSError as error:
            raise self._looking.unavailable(f"reading the heads of bucket {bucket_id!r}", error) from error

    def _heads_to_snapshot(self, bucket_id: str, max_threshold: int) -> Iterator[StreamHead]:
        mark = format.bucket_mark(bucket_id)
        unfolded: list[tuple[Stream, int, int]] = []
        with self._mutex:
            visible = self._looking.refresh()
            view = self._view
            for tail in view.tail.streams.values():
                if tail.bucket_id != bucket_id:
                    continue
                stream = Stream.of(tail.bucket_id, tail.stream_id)
                revision = self._visible_revision(stream, tail, visible)
                newest = max((entry.revision for entry in tail.snapshots if entry.end <= visible), default=0)
                known = view.folded_head(stream)
                if known.snapshots_bytes and not known.snapshot_revision:
                    self._say_damage(stream.key)
                unfolded.append((stream, revision, max(newest, known.snapshot_revision)))
            touched = {stream.key for stream, _, _ in unfolded}
            is_purged = bool(view.tail.purged_at(bucket_id))
            heads = view.indexes.heads.apart()
        # Without the mutex, as there may be millions: what is written meanwhile everybody may see by now.
        with contextlib.closing(heads):
            for stream, revision, snapshot_revision in unfolded:
                if revision and revision >= snapshot_revision + max_threshold:
                    self._looking.check_open()
                    yield StreamHead(bucket_id, stream.stream_id, revision, snapshot_revision)
            for head in () if is_purged else heads.all():
                if head.bucket in (mark, 0) and head.segment_bytes and head.key not in touched:
                    yield from self._folded_head(head, bucket_id, max_threshold)

    def _folded_head(self, head: index_entries.Head, bucket_id: str, max_threshold: int) -> Iterator[StreamHead]:
        if not head.sequence or (head.snapshots_bytes and not head.snapshot_revision):
            self._say_damage(head.key)
        if head.revision >= head.snapshot_revision + max_threshold:
            self._looking.check_open()
            unnamed = partial(self._view.segments.damage, head.key, SEGMENT, 0, "the names of a stream")
            names = self._again(partial(self._names, head.key), unnamed)
            if names is not None and names[0] == bucket_id:
                yield StreamHead(bucket_id, names[1], head.revision, head.snapshot_revision)

    def _visible_revision(self, stream: Stream, tail: StreamTail, visible: int) -> int:
        if not tail.entries:
            return self._view.head(stream)[1]
        shown = (entry.revision for entry in reversed(tail.entries) if entry.end <= visible)
        return next(shown, None) or self._view.folded_head(stream).revision

    def _names(self, key: bytes) -> tuple[str, str] | None:
        """`None` where the stream was deleted since the look, though it may have been begun anew."""
        try:
            return self._view.segments.names(key)
        except FileNotFoundError:
            return None
        except CorruptionError:
            with self._mutex:
                self._looking.refresh()
                tail = self._view.tail.streams.get(key)
                if (tail is not None and tail.reset_at) or self._view.is_going(key):
                    return None
            raise

    def _say_damage(self, key: bytes) -> None:
        """Read the files of a stream that a rebuilt index knows to be damaged: `CorruptionError` says where."""
        segments = self._view.segments
        stream = Stream.of(*segments.names(key))
        for kind in (SEGMENT, SNAPSHOTS):
            with contextlib.suppress(FileNotFoundError):
                for _ in segments.records(stream, segments.size_bytes(stream, kind), kind=kind):
                    pass


def _reaches(record: format.Record, min_revision: int, after: int) -> bool:
    """Whether a commit ends at or beyond the revision, and comes after that sequence."""
    fields, _ = record
    return fields[format.REVISION] >= min_revision and fields[format.SEQUENCE] > after
