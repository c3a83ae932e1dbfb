"""Reading the whole store in checkpoint order: what is folded by way of commits.index, then the journal.

A page of tokens is looked up in the index and the bytes are read stream by stream, so that a segment is opened once
for many commits; then they are checked and made into commits a few at a time, in order, so that what is being worked
on stays within the processor's cache. The index is believed as far as the records it points at agree; damage is
`CorruptionError`, never a shorter answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from fsstore.engines.file.formats import format, index_entries
from fsstore.engines.file.options import Options
from fsstore.engines.file.reading.decoding import Decoding
from fsstore.engines.file.reading.looking import CHANGED, Looking, MovedError
from fsstore.engines.file.reading.unfolded import Unfolded
from fsstore.engines.file.streams.segments import SEGMENT
from fsstore.errors import CorruptionError
from fsstore.model import Commit

_FIRST_PAGE_COMMITS = 256
_PAGE_GROWTH = 4
_MADE_AT_ONCE = 64
_READ_BYTES = 1 << 20
# What a page has at most, but for its last commit, however many commits that are.
_PAGE_BYTES = 1 << 24
_ENTRY_BYTES = index_entries.COMMITS_ENTRY_BYTES
_HEADER = format.RECORD_HEADER_BYTES
_Place = tuple[int, int, int]
"""Of a commit: its token, where its record stands in its segment, and how long that is."""
_Raw = tuple[bytes, _Place, bytes, int]
"""Of a record that is not checked yet: its stream's key, its place, what was read and where it is in that."""
Dates = tuple[int, int | None]
"""From, and until before, in microseconds since 1970."""


class InOrder:
    """Answers one engine's reads in checkpoint order."""

    def __init__(self, looking: Looking, unfolded: Unfolded, decoding: Decoding, seed: int, options: Options) -> None:
        self._looking = looking
        self._view = looking.view
        self._unfolded = unfolded
        self._decoding = decoding
        self._seed = seed
        self._options = options

    def commits(
        self, after: int, to_token: int | None, bucket_id: str | None, dates: Dates | None = None
    ) -> Iterator[Commit]:
        """Commits after one token up to another, up to what is visible now; also by their stamps."""
        looking = self._looking
        looking.check_open()
        try:
            last = self.last_token()
            if to_token is not None:
                last = min(last, to_token)
            retries, size = 0, min(_FIRST_PAGE_COMMITS, self._options.page_commits)
            while after < last:
                known = looking.known()
                try:
                    for until, records in self._page(after, min(last, after + size), dates):
                        for made in self._decoding.pages(self._of_bucket(records, bucket_id), _MADE_AT_ONCE):
                            yield from made
                        looking.check_open()
                        after, retries = until, 0
                except CHANGED as error:
                    retries += 1
                    looking.again(error, known, retries, partial(self._page_damage, after + 1, last))
                    # Where streams are deleted faster than a page is read, a smaller one gets through.
                    size = max(size // _PAGE_GROWTH, 1)
                    continue
                size = min(size * _PAGE_GROWTH, self._options.page_commits)
        except OSError as error:
            raise looking.unavailable(f"reading the commits after checkpoint {after}", error) from error

    def _of_bucket(self, records: list[format.Record], bucket_id: str | None) -> list[format.Record]:
        if bucket_id is None:
            return records
        return [one for one in records if self._decoding.names(*one)[0] == bucket_id]

    def last_token(self) -> int:
        """The token of the newest commit that anybody may see."""
        with self._looking.mutex:
            visible = self._looking.refresh()
            tail = self._view.tail.commits
            for entry in reversed(tail):
                if entry.end <= visible:
                    return entry.token
            return tail[0].token - 1 if tail else self._view.indexes.commits.next_token - 1

    def _page(self, after: int, until: int, dates: Dates | None) -> Iterator[tuple[int, list[format.Record]]]:
        """The records after one token up to another, a few at a time, each time with the token up to which they go."""
        with self._looking.mutex:
            visible = self._looking.refresh()
            view = self._view
            tail = view.tail.commits
            first_unfolded = tail[0].token if tail else view.indexes.commits.next_token
            is_folded = after + 1 < first_unfolded
            if is_folded:
                until, by_stream = self._places(after + 1, min(until, first_unfolded - 1), dates)
            else:
                until = min(until, after + 2 * _MADE_AT_ONCE)
                entries = view.tail.commits_between(after, until, visible)
                if dates is not None:
                    entries = [entry for entry in entries if _within(entry.stamp_us, dates)]
                if view.tail.newest_reset:
                    entries = [entry for entry in entries if not entry.deleted]
        if is_folded:
            yield from self._folded(after + 1, until, by_stream)
        else:
            yield until, self._unfolded.records(entries)

    # ---- what is folded ----

    def _places(self, first: int, last: int, dates: Dates | None) -> tuple[int, dict[bytes, list[_Place]]]:
        """Where the commits of these tokens are, by stream; without those that were deleted since. Up to a token before
        the last one, which comes first, where they are more than is to be in memory at a time."""
        data = self._view.indexes.commits.read(first, last)
        if len(data) < (last - first + 1) * _ENTRY_BYTES:
            raise MovedError
        by_stream: dict[bytes, list[_Place]] = {}
        left_bytes = _PAGE_BYTES
        for token, (key, place, length, _, _, stamp_us, _) in enumerate(index_entries.read_commits_fields(data), first):
            # What says nothing that a record could prove, or too much to be read just to see, is proved first.
            if not length or dates is not None or length > _READ_BYTES or place >> 48:
                if not index_entries.commits_entry_is_whole(data, (token - first) * _ENTRY_BYTES, token, self._seed):
                    raise self._index_damage(token)
                if place > format.MAX_PLACE:
                    raise self._index_damage(token)
                if not length or (dates is not None and not _within(stamp_us, dates)):
                    continue
            places = by_stream.get(key)
            if places is None:
                places = by_stream[key] = []
            places.append((token, place, length))
            left_bytes -= length
            if left_bytes <= 0:
                last = token
                break
        streams, is_going = self._view.tail.streams, self._view.is_going
        for key in list(by_stream):
            stream = streams.get(key)
            if (stream is not None and stream.reset_at) or is_going(key):
                del by_stream[key]
        return last, by_stream

    def _folded(
        self, first: int, until: int, by_stream: dict[bytes, list[_Place]]
    ) -> Iterator[tuple[int, list[format.Record]]]:
        found: list[_Raw | None] = [None] * (until - first + 1)
        for key, places in by_stream.items():
            for data, start, run in self._runs(key, places):
                for place in run:
                    found[place[0] - first] = (key, place, data, place[1] - start)
        raw = [one for one in found if one is not None]
        for at in range(0, len(raw), _MADE_AT_ONCE):
            some = raw[at : at + _MADE_AT_ONCE]
            yield some[-1][1][0], [self._checked(*one) for one in some]
        yield until, []

    def _runs(self, key: bytes, places: list[_Place]) -> Iterator[tuple[bytes, int, list[_Place]]]:
        """The bytes of these places of one segment, and where they begin; neighbours are read together."""
        at = 0
        while at < len(places):
            _, start, length = places[at]
            end, last = start + length, at + 1
            while last < len(places) and places[last][1] == end and end - start < _READ_BYTES:
                end += places[last][2]
                last += 1
            data = self._view.segments.read_at(key, start, end - start)
            if at == 0 and self._view.tail.purges:
                # Whose stream it is says the record; the table of heads, which was asked already, may not know.
                record = self._checked(key, places[0], data, 0)
                if self._view.tail.purged_at(self._decoding.names(*record)[0]):
                    return
            yield data, start, places[at:last]
            at = last

    def _checked(self, key: bytes, place: _Place, data: bytes, offset: int) -> format.Record:
        """The record at `offset` in `data`, which must be whole and the one of that place."""
        token, start, length = place
        records = format.read_records(data, offset, offset + length, self._seed, format.PLACE, start - offset)
        if records:
            (_, kind, _, _, _, _, _, own_key, own_token, _, _, _, _, _, body_bytes), _ = record = records[0]
            if own_token == token and own_key == key and body_bytes == length - _HEADER and kind == format.COMMIT:
                return record
        raise self._damage(key, place, data, offset)

    # ---- damage ----

    def _damage(self, key: bytes, place: _Place, data: bytes, offset: int) -> CorruptionError:
        """Whose fault it is that what stands at `offset` in `data` is not the record of that place."""
        token, start, length = place
        header = format.read_header(data, offset, self._seed)
        if header is None or header.key != key or header.place != start:
            return self._segment_damage(key, start)
        format.refuse_unknown(self._view.segments.path(key, SEGMENT), header)
        if header.token != token or header.length_bytes != length:
            return self._index_damage(token)
        return self._segment_damage(key, start)

    def _page_damage(self, first: int, last: int) -> CorruptionError:
        """Why the commits of these tokens cannot be found: a bad entry, a missing segment, or an index cut short."""
        last = min(last, first + self._options.page_commits - 1)
        data = self._view.indexes.commits.read(first, last)
        for number, (key, _, length, _, sequence, _, _) in enumerate(index_entries.read_commits_fields(data)):
            token = first + number
            if not index_entries.commits_entry_is_whole(data, number * _ENTRY_BYTES, token, self._seed):
                return self._index_damage(token)
            if length and not self._view.segments.has(key):
                return CorruptionError(
                    f"the segment with commit {sequence} (checkpoint {token}) is missing",
                    path=self._view.segments.path(key, SEGMENT),
                    repair=f"fsstore repair {self._looking.store}",
                )
        return self._index_damage(first + len(data) // _ENTRY_BYTES)

    def _index_damage(self, token: int) -> CorruptionError:
        return CorruptionError(
            "commits.index is damaged",
            path=self._view.indexes.commits.path,
            offset_bytes=index_entries.commits_offset(token),
            expected=f"the entry of checkpoint {token}",
            repair=f"fsstore repair {self._looking.store}",
        )

    def _segment_damage(self, key: bytes, place: int) -> CorruptionError:
        return CorruptionError(
            "a segment is damaged",
            path=self._view.segments.path(key, SEGMENT),
            offset_bytes=place,
            expected="a whole record",
            repair=f"fsstore repair {self._looking.store}",
        )


def _within(stamp_us: int, dates: Dates) -> bool:
    return dates[0] <= stamp_us and (dates[1] is None or stamp_us < dates[1])
