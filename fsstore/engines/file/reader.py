"""Reading: a stream from its segment and then its tail, the whole store in checkpoint order, snapshots.

Everything shown is at or below the visible mark as of the call, so nobody sees commit N+1 before N. Where the
journal was folded and its file used again between looking and reading, the record's own position tells, and
the look is repeated. Damage is `CorruptionError`, never a shorter answer.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import TypeVar
from uuid import UUID, SafeUUID

from fsstore.engines.file import format
from fsstore.engines.file.collector import CollectorHeld
from fsstore.engines.file.commits_index import CommitsIndex
from fsstore.engines.file.control import FOLDED, VISIBLE, Control
from fsstore.engines.file.options import Options
from fsstore.engines.file.segments import SEGMENT, SNAPSHOTS, Record, Stream
from fsstore.engines.file.tail import Entry
from fsstore.engines.file.view import View
from fsstore.errors import CorruptionError, SerializationError
from fsstore.model import Commit, Snapshot, StreamHead, stored_commit
from fsstore.serialization import Serializer, decode_payload

_HEADER = format.RECORD_HEADER_BYTES
_TAIL_PAGE = 256
_COALESCE_BYTES = 1 << 20
_MAX_RETRIES = 8
_FIRST_PAGE_COMMITS = 256
_MADE_AT_ONCE = 2048
_put_int = UUID.__dict__["int"].__set__
_put_safe = UUID.__dict__["is_safe"].__set__
_unknown = SafeUUID.unknown
_first = itemgetter(0)
T = TypeVar("T")


def _uuid(data: bytes) -> UUID:
    """What `UUID(bytes=data)` gives, without its checks."""
    value = object.__new__(UUID)
    _put_int(value, int.from_bytes(data, "big"))
    _put_safe(value, _unknown)
    return value


class MovedError(Exception):
    """What was looked up is no longer where it was: look again."""


class Reader:
    """Answers one engine's reads. Takes the engine's mutex for looking, not while the caller walks."""

    def __init__(
        self,
        store: str,
        view: View,
        control: Callable[[], Control],
        mutex: threading.RLock,
        serializer: Serializer,
        seed: int,
        options: Options,
        check_open: Callable[[], object],
    ) -> None:
        self._store = store
        self._view = view
        self._control = control
        self._mutex = mutex
        self._serializer = serializer
        self._seed = seed
        self._options = options
        self._check_open = check_open
        self._streams: OrderedDict[bytes, tuple[str, str, int]] = OrderedDict()

    # ---- one stream ----

    def stream(self, stream: Stream, min_revision: int, max_revision: int | None) -> Iterator[Commit]:
        """The stream's commits that touch the revisions, oldest first."""
        self._check_open()
        after = retries = 0
        while True:
            known = self._known()
            try:
                for commit in self._stream_once(stream, min_revision, max_revision, after):
                    after, retries = commit.commit_sequence, 0
                    yield commit
                    self._check_open()
                return
            except (MovedError, FileNotFoundError, CorruptionError) as error:
                retries += 1
                self._look_again(error, known, retries, lambda: self._missing(stream, SEGMENT))

    def _stream_once(self, stream: Stream, min_revision: int, max_revision: int | None, after: int) -> Iterator[Commit]:
        with self._mutex:
            visible = self._refresh()
            tail = self._view.tail_of(stream)
            entries = [entry for entry in tail.entries if entry.end <= visible] if tail is not None else []
            folded = self._view.folded_head(stream)
            end = folded.segment_bytes
            if end and tail is not None and tail.entries:
                end = min(end, tail.entries[0].place)
        # A head without a sequence is that of a damaged segment: reading it says where.
        if end and (min_revision <= folded.revision or not folded.sequence):
            yield from self._folded_stream(stream, end, min_revision, max_revision, after)
        entries = [entry for entry in entries if entry.sequence > after and entry.revision >= min_revision]
        yield from self._unfolded_stream(stream, entries, max_revision)

    def _folded_stream(
        self, stream: Stream, end: int, min_revision: int, max_revision: int | None, after: int
    ) -> Iterator[Commit]:
        for page in self._view.segments.pages(stream, end, min_revision=min_revision):
            records = page
            if after or min_revision > 1:
                records = [one for one in page if one[0].revision >= min_revision and one[0].sequence > after]
            for header, body in records:
                if not body.startswith(stream.prefix):
                    raise CorruptionError(
                        f"a record in the segment of {stream} is another stream's",
                        path=self._view.segments.path(stream.key, SEGMENT),
                        offset_bytes=header.place,
                        repair=f"fsstore repair {self._store}",
                    )
            yield from self._of_stream(records, stream, max_revision)
            if max_revision is not None and page[-1][0].revision >= max_revision:
                return

    def _unfolded_stream(self, stream: Stream, entries: list[Entry], max_revision: int | None) -> Iterator[Commit]:
        for first in range(0, len(entries), _TAIL_PAGE):
            page = entries[first : first + _TAIL_PAGE]
            yield from self._of_stream(self._journal_records(page), stream, max_revision)
            if max_revision is not None and page[-1].revision >= max_revision:
                return

    def _of_stream(self, records: list[Record], stream: Stream, max_revision: int | None) -> Iterator[Commit]:
        """The commits of neighbouring records of one stream that begin at or before `max_revision`."""
        names = (stream.bucket_id, stream.stream_id, len(stream.prefix))
        if max_revision is None:
            return self._made(records, names)
        beyond = next((n for n, (header, _) in enumerate(records, 1) if header.revision >= max_revision), len(records))
        made = self._made(records[:beyond], names)
        return (one for one in made if one.stream_revision - len(one.events) < max_revision)

    # ---- records ----

    def _refresh(self) -> int:
        self._check_open()
        control = self._control()
        visible = control.get(VISIBLE)
        self._view.refresh(control, to_tail=False)
        return visible

    def _known(self) -> tuple[int, int]:
        """What tells one state of the view from a later one."""
        with self._mutex:
            return self._view.folded, self._view.tail.end

    def _look_again(
        self, error: Exception, known: tuple[int, int], retries: int, damage: Callable[[], CorruptionError]
    ) -> None:
        """Return when looking again may help: a fold or a deletion changed files between looking and reading.

        What looked damaged is damaged when nothing has changed since the look.
        """
        with self._mutex:
            self._refresh()
            changed = (self._view.folded, self._view.tail.end) != known
        if isinstance(error, CorruptionError) and (not changed or retries > _MAX_RETRIES):
            raise error
        if retries > _MAX_RETRIES:
            raise damage() from None

    def _missing(self, stream: Stream, kind: str) -> CorruptionError:
        return CorruptionError(
            f"the files of {stream} are not where the store's indexes say",
            path=self._view.segments.path(stream.key, kind),
            repair=f"fsstore repair {self._store}",
        )

    def _journal_bytes(self, position: int, length: int) -> bytes:
        data = self._view.journal.read(position, length)
        if data is None:
            raise MovedError
        return data

    def _journal_records(self, entries: list[Entry]) -> list[tuple[format.RecordHeader, bytes]]:
        """The records of the entries, neighbours read together."""
        found: list[tuple[format.RecordHeader, bytes]] = []
        with self._mutex:
            at = 0
            while at < len(entries):
                start, end = entries[at].position, entries[at].end
                file = self._view.journal.file_at(start)
                if file is None:
                    raise MovedError
                limit = min(file.end, start + _COALESCE_BYTES)
                last = at + 1
                while last < len(entries) and 0 <= entries[last].position - end <= 4096:
                    following = entries[last].end
                    if following > limit:
                        break
                    end = following
                    last += 1
                data = self._journal_bytes(start, end - start)
                for entry in entries[at:last]:
                    found.append(self._journal_record(entry.position, data, entry.position - start))
                at = last
        return found

    def _journal_record(self, position: int, data: bytes, offset: int) -> tuple[format.RecordHeader, bytes]:
        record = format.read_record(data, offset, self._seed)
        if record is not None and record[0].position == position:
            return record
        if position < self._control().get(FOLDED):
            raise MovedError
        raise CorruptionError(
            "an acknowledged commit in the journal is damaged",
            path=self._view.journal.directory,
            offset_bytes=position,
            expected="a whole record at that journal position",
            repair=f"fsstore repair {self._store}",
        )

    def _made(self, records: list[Record], names: tuple[str, str, int] | None = None) -> Iterator[Commit]:
        """The commits of the records, a page at a time; `names` where all are one stream's."""
        for first in range(0, len(records), _MADE_AT_ONCE):
            made: list[Commit] = []
            failed: SerializationError | None = None
            with CollectorHeld():
                try:
                    for header, body in records[first : first + _MADE_AT_ONCE]:
                        made.append(self._commit(header, body, names or self._names(header.key, body)))
                except SerializationError as error:
                    failed = error  # what stands before it can be read
            yield from made
            if failed is not None:
                raise failed

    def _commit(self, header: format.RecordHeader, body: bytes, names: tuple[str, str, int]) -> Commit:
        _, _, _, _, _, _, _, _, token, revision, sequence, commit_id, stamp_us, _, _ = header
        bucket_id, stream_id, prefix = names
        try:
            headers, events = decode_payload(self._serializer, body[prefix:])
        except SerializationError as error:
            raise SerializationError(
                f"commit {_uuid(commit_id)} (sequence {sequence}) of stream {stream_id!r} in bucket "
                f"{bucket_id!r} cannot be read: {error}",
                error.path,
            ) from error
        return stored_commit(
            stream_id,
            revision,
            _uuid(commit_id),
            sequence,
            format.stamp_from_us(stamp_us),
            headers,
            events,
            bucket_id,
            token,
        )

    def _names(self, key: bytes, body: bytes) -> tuple[str, str, int]:
        """Bucket, stream and prefix length of a record whose stream was not asked for by name."""
        known = self._streams.get(key)
        if known is None:
            known = self._streams[key] = format.split_prefix(body)
            if len(self._streams) > self._options.max_cached_streams:
                self._streams.popitem(last=False)
        return known

    # ---- the whole store ----

    def checkpoints(
        self,
        after: int,
        to_token: int | None,
        bucket_id: str | None,
        dates: tuple[int, int | None] | None = None,
    ) -> Iterator[Commit]:
        """Commits in checkpoint order, up to what is visible now; also by their stamps in microseconds."""
        self._check_open()
        with self._mutex:
            self._refresh()
            last = self._last_visible_token()
        if to_token is not None:
            last = min(last, to_token)
        retries, size = 0, min(_FIRST_PAGE_COMMITS, self._options.page_commits)
        while after < last:
            known = self._known()
            try:
                until, page = self._page(after, min(last, after + size), dates)
            except (MovedError, FileNotFoundError, CorruptionError) as error:
                retries += 1
                self._look_again(error, known, retries, partial(self._page_damage, after + 1, last))
                continue
            retries, size = 0, min(size * 2, self._options.page_commits)
            if bucket_id is not None:
                page = [(header, body) for header, body in page if self._names(header.key, body)[0] == bucket_id]
            for commit in self._made(page):
                yield commit
                self._check_open()
            after = until

    def _last_visible_token(self) -> int:
        view = self._view
        visible = self._control().get(VISIBLE)
        for entry in reversed(view.tail.commits):
            if entry.end <= visible:
                return entry.token
        if view.tail.commits:
            return view.tail.commits[0].token - 1
        return view.commits.next_token - 1

    def _page(self, after: int, until: int, dates: tuple[int, int | None] | None) -> tuple[int, list[Record]]:
        """The records of the commits after one token up to another, and the token up to which they go."""
        with self._mutex:
            visible = self._refresh()
            view = self._view
            tail = view.tail.commits
            first_unfolded = tail[0].token if tail else view.commits.next_token
            if after + 1 < first_unfolded:
                until = min(until, first_unfolded - 1)
                return until, self._folded_page(after + 1, until, dates)
            entries = view.tail.commits_between(after, until, visible)
            entries = [
                entry for entry in entries if not entry.deleted and (dates is None or _within(entry.stamp_us, dates))
            ]
            return until, self._journal_records(entries)

    def _folded_page(self, first: int, last: int, dates: tuple[int, int | None] | None) -> list[Record]:
        index: CommitsIndex = self._view.commits
        data = index.read(first, last)
        width = format.COMMITS_ENTRY_BYTES
        if len(data) < (last - first + 1) * width:
            raise MovedError
        wanted: dict[bytes, list[tuple[int, int, int]]] = {}
        for token, entry in enumerate(format.read_commits_entries(data), first):
            key, place, length, _, _, stamp_us, _ = entry
            # What says nothing that a record could prove, or too much to be read just to see, is proved first.
            if not length or dates is not None or length > _COALESCE_BYTES or place >> 48:
                if not format.commits_entry_is_whole(data, (token - first) * width, token, self._seed):
                    raise self._index_damage(token)
                if not length or (dates is not None and not _within(stamp_us, dates)):
                    continue
            places = wanted.get(key)
            if places is None:
                places = wanted[key] = []
            places.append((place, length, token))
        found: list[tuple[int, Record]] = []
        for key, places in wanted.items():
            stream = self._view.tail.streams.get(key)
            if (stream is None or not stream.reset_at) and not self._view.is_going(key):
                self._read_places(key, places, found)
        found.sort(key=_first)
        return [record for _, record in found]

    def _read_places(self, key: bytes, places: list[tuple[int, int, int]], found: list[tuple[int, Record]]) -> None:
        """The records at these places of one segment, neighbours read together."""
        segments, seed, read_record = self._view.segments, self._seed, format.read_record
        at = 0
        while at < len(places):
            start, length, _ = places[at]
            end = start + length
            last = at + 1
            while last < len(places) and places[last][0] == end and end - start < _COALESCE_BYTES:
                end += places[last][1]
                last += 1
            data = segments.read_at(key, start, end - start)
            for place, length, token in places[at:last]:
                record = read_record(data, place - start, seed)
                header = record[0] if record is not None else format.read_header(data, place - start, seed)
                if header is None or header.key != key or header.place != place:
                    raise self._segment_damage(key, place)
                if header.token != token or header.length_bytes != length:
                    raise self._index_damage(token)
                if record is None:
                    raise self._segment_damage(key, place)
                found.append((token, record))
            at = last
        if found and self._view.tail.purged_at(self._names(key, found[-1][1][1])[0]):
            del found[-len(places) :]

    def _page_damage(self, first: int, last: int) -> CorruptionError:
        """Why the commits of these tokens cannot be found: a bad entry, a missing segment, or an index cut short."""
        last = min(last, first + self._options.page_commits - 1)
        data = self._view.commits.read(first, last)
        for number, entry in enumerate(format.read_commits_entries(data)):
            offset = number * format.COMMITS_ENTRY_BYTES
            if not format.commits_entry_is_whole(data, offset, first + number, self._seed):
                return self._index_damage(first + number)
            if not (entry.deleted or self._view.segments.has(entry.key)):
                return CorruptionError(
                    f"the segment with commit {entry.sequence} (checkpoint {first + number}) is missing",
                    path=self._view.segments.path(entry.key, SEGMENT),
                    repair=f"fsstore repair {self._store}",
                )
        return self._index_damage(first + len(data) // format.COMMITS_ENTRY_BYTES)

    def _index_damage(self, token: int) -> CorruptionError:
        offset = format.INDEX_HEADER_BYTES + (token - 1) * format.COMMITS_ENTRY_BYTES
        return CorruptionError(
            "commits.index is damaged",
            path=self._view.commits.path,
            offset_bytes=offset,
            expected=f"the entry of checkpoint {token}",
            repair=f"delete {self._view.commits.path} while the store is closed; it is rebuilt on opening",
        )

    def _segment_damage(self, key: bytes, place: int) -> CorruptionError:
        return CorruptionError(
            "a segment is damaged",
            path=self._view.segments.path(key, SEGMENT),
            offset_bytes=place,
            expected="a whole record",
            repair=f"fsstore repair {self._store}",
        )

    def dates(self, start: datetime, end: datetime | None, bucket_id: str | None) -> Iterator[Commit]:
        """Commits with `start <= commit_stamp < end`, in checkpoint order."""
        span = (format.stamp_to_us(start), None if end is None else format.stamp_to_us(end))
        return self.checkpoints(0, None, bucket_id, span)

    def last_token(self) -> int:
        """The token of the newest commit that anybody may see."""
        with self._mutex:
            self._refresh()
            return self._last_visible_token()

    # ---- snapshots and heads ----

    def snapshot(self, stream: Stream, max_revision: int | None) -> Snapshot | None:
        """The newest snapshot at or before `max_revision`."""
        self._check_open()
        return self._again(lambda: self._snapshot_once(stream, max_revision), stream)

    def _again(self, look: Callable[[], T], stream: Stream) -> T:
        retries = 0
        while True:
            known = self._known()
            try:
                return look()
            except (MovedError, FileNotFoundError, CorruptionError) as error:
                retries += 1
                self._look_again(error, known, retries, lambda: self._missing(stream, SNAPSHOTS))

    def _snapshot_once(self, stream: Stream, max_revision: int | None) -> Snapshot | None:
        best: tuple[int, bytes] | None = None
        with self._mutex:
            visible = self._refresh()
            tail = self._view.tail_of(stream)
            folded = self._view.folded_head(stream)
            for entry in tail.snapshots if tail is not None else ():
                wanted = max_revision is None or entry.revision <= max_revision
                if entry.end <= visible and wanted and (best is None or entry.revision > best[0]):
                    data = self._journal_bytes(entry.position, entry.length_bytes)
                    _, body = self._journal_record(entry.position, data, 0)
                    best = (entry.revision, body)
        if folded.snapshots_bytes:
            for header, body in self._view.segments.records(stream, folded.snapshots_bytes, kind=SNAPSHOTS):
                wanted = max_revision is None or header.revision <= max_revision
                if wanted and (best is None or header.revision > best[0]):
                    best = (header.revision, body)
        if best is None:
            return None
        payload = self._serializer.loads(best[1][len(stream.prefix) :])
        return Snapshot(stream.stream_id, best[0], payload, stream.bucket_id)

    def heads_to_snapshot(self, bucket_id: str, max_threshold: int) -> Iterator[StreamHead]:
        """Heads of the bucket's streams whose newest snapshot is at least `max_threshold` revisions behind."""
        self._check_open()
        mark = format.bucket_mark(bucket_id)
        unfolded: list[tuple[Stream, int, int]] = []
        with self._mutex:
            self._refresh()
            view = self._view
            for tail in view.tail.streams.values():
                if tail.bucket_id != bucket_id:
                    continue
                stream = Stream.of(tail.bucket_id, tail.stream_id)
                revision = view.head(stream)[1]
                newest = max((entry.revision for entry in tail.snapshots), default=0)
                known = view.folded_head(stream)
                if known.snapshots_bytes and not known.snapshot_revision:
                    self._say_damage(stream.key)
                unfolded.append((stream, revision, max(newest, known.snapshot_revision)))
            touched = {stream.key for stream, _, _ in unfolded}
            folded = (
                []
                if view.tail.purged_at(bucket_id)
                else [
                    head
                    for head in view.heads.all()
                    if (head.bucket == mark or not head.bucket) and head.segment_bytes and head.key not in touched
                ]
            )
        for stream, revision, snapshot_revision in unfolded:
            if revision and revision >= snapshot_revision + max_threshold:
                yield StreamHead(bucket_id, stream.stream_id, revision, snapshot_revision)
        for head in folded:
            if not head.sequence or (head.snapshots_bytes and not head.snapshot_revision):
                self._say_damage(head.key)
            if head.revision >= head.snapshot_revision + max_threshold:
                self._check_open()
                try:
                    found_bucket, stream_id = self._view.segments.names(head.key)
                except FileNotFoundError:  # deleted and folded since the look
                    continue
                if found_bucket == bucket_id:
                    yield StreamHead(bucket_id, stream_id, head.revision, head.snapshot_revision)

    def _say_damage(self, key: bytes) -> None:
        """Read the files of a stream that a rebuilt index knows to be damaged: `CorruptionError` says where."""
        segments = self._view.segments
        stream = Stream.of(*segments.names(key))
        for kind in (SEGMENT, SNAPSHOTS):
            with contextlib.suppress(FileNotFoundError):
                for _ in segments.records(stream, segments.size_bytes(stream, kind), kind=kind):
                    pass


def _within(stamp_us: int, dates: tuple[int, int | None]) -> bool:
    return dates[0] <= stamp_us and (dates[1] is None or stamp_us < dates[1])
