"""The journal's records grouped by stream: what one fold has to write, and where it ends.

A record that a later one of the same fold deletes is left out again. Which file anything goes to, and what stands
there already, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fsstore.engines.file.formats import format, index_entries
from fsstore.engines.file.pace import Pace

_PACED_RECORDS = 64
WholeRecord = tuple[format.Fields, bytes]
"""A record's header and all of its bytes."""


@dataclass(slots=True)
class StreamRecords:
    """One stream's. With `reset`, nothing that was folded before of the stream exists any more."""

    bucket_id: str
    stream_id: str
    reset: bool = False
    commits: list[WholeRecord] = field(default_factory=list)
    snapshots: list[WholeRecord] = field(default_factory=list)


class ByStream:
    """The records from `start` on that were taken in, up to `end`.

    `entries` are those of commits.index, by token; `deleted_entries` those of them whose commits are deleted again.
    """

    def __init__(self, start: int, seed: int, pace: Pace) -> None:
        self.end = start
        self.streams: dict[bytes, StreamRecords] = {}
        self.purges: list[str | None] = []
        self.entries: dict[int, bytes] = {}
        self.deleted_entries: dict[int, bytes] = {}
        self._seed = seed
        self._pace = pace

    def take_in(self, data: bytes, page: list[format.Record], most_end: int) -> bool:
        """Take in the records of a page, whose bytes are `data`. Whether a batch ended at or beyond `most_end`: it is
        the last then."""
        end, at = 0, 0
        streams, entries, entry_of, seed = self.streams, self.entries, index_entries.commits_entry, self._seed
        for number, (fields, body) in enumerate(page):
            if not number % _PACED_RECORDS:
                self._pace()
            _, kind, _, following, position, _, _, key, token, _, _, _, _, _, _ = fields
            start, at = at, at + format.RECORD_HEADER_BYTES + len(body)
            if kind == format.COMMIT:
                stream = streams.get(key) or self._new_stream(key, body)
                stream.commits.append((fields, data[start:at]))
                entries[token] = entry_of(fields, seed)
            elif kind == format.SNAPSHOT:
                stream = streams.get(key) or self._new_stream(key, body)
                stream.snapshots.append((fields, data[start:at]))
            elif kind == format.DELETE_STREAM:
                self._reset(streams.get(key) or self._new_stream(key, body))
            elif kind == format.PURGE:
                bucket_id = format.read_purge(body)
                self.purges.append(bucket_id)
                for stream in streams.values():
                    if bucket_id is None or stream.bucket_id == bucket_id:
                        self._reset(stream)
            end = position + at - start
            if end >= most_end and not following:
                self.end = end
                return True
        self.end = end
        return False

    def _new_stream(self, key: bytes, body: bytes) -> StreamRecords:
        bucket_id, stream_id, _ = format.split_prefix(body)
        reset = None in self.purges or bucket_id in self.purges
        stream = self.streams[key] = StreamRecords(bucket_id, stream_id, reset)
        return stream

    def _reset(self, stream: StreamRecords) -> None:
        for fields, _ in stream.commits:
            token = fields[format.TOKEN]
            self.entries[token] = self.deleted_entries[token] = index_entries.deleted_commits_entry(self._seed, token)
        stream.reset, stream.commits, stream.snapshots = True, [], []
