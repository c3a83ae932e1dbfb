"""What the journal says that is not folded yet, by stream and in checkpoint order, in memory.

Every process builds its own by following the journal; nothing here reads a file. Applying the records in
journal order is all it takes to know each touched stream's head, its commit ids, its snapshots, and what was
deleted. It is bounded because folding is: what is folded is dropped. A record that makes no sense after those before
it is a `ValueError` that says what was expected; where it stands is known to whoever reads the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from fsstore.engines.file.formats import format


class Entry(NamedTuple):
    """One commit in the journal."""

    position: int
    length_bytes: int
    token: int
    revision: int
    sequence: int
    stamp_us: int
    commit_id: bytes
    place: int
    stream: StreamTail

    @property
    def end(self) -> int:
        return self.position + self.length_bytes

    @property
    def deleted(self) -> bool:
        return self.position < self.stream.reset_at


_entry_of: Final = tuple.__new__  # a third of what the named constructor costs, on the path of every commit


class SnapshotEntry(NamedTuple):
    """One snapshot in the journal."""

    revision: int
    position: int
    length_bytes: int
    place: int

    @property
    def end(self) -> int:
        return self.position + self.length_bytes


@dataclass(slots=True, eq=False)
class StreamTail:
    """What is unfolded of one stream. With `reset_at` set, nothing of the stream below it exists."""

    key: bytes
    bucket_id: str
    stream_id: str
    reset_at: int = 0
    sequence: int = 0
    revision: int = 0
    segment_end: int = 0
    entries: list[Entry] = field(default_factory=list)
    snapshots: tuple[SnapshotEntry, ...] = ()
    snapshots_end: int = 0
    first_position: int = 0
    last_position: int = 0
    ids: set[bytes] | None = None

    def reset(self, position: int) -> None:
        self.reset_at = position + 1
        self.sequence = self.revision = self.segment_end = self.snapshots_end = 0
        self.keep([], ())

    def keep(self, entries: list[Entry], snapshots: tuple[SnapshotEntry, ...]) -> None:
        """Nothing but these is unfolded any more."""
        self.entries, self.snapshots, self.ids = entries, snapshots, None

    def has(self, commit_id: bytes) -> bool:
        """Whether a commit of that id is unfolded. Most streams are never asked, and have no set of ids."""
        ids = self.ids
        if ids is None:
            ids = self.ids = {entry.commit_id for entry in self.entries}
        return commit_id in ids


def _names_in(key: bytes, body: bytes | memoryview) -> tuple[str, str]:
    bucket_id, stream_id, _ = format.stream_names(key, body)
    return bucket_id, stream_id


class WrittenCommit(Protocol):
    """A commit that this process has just written to the journal."""

    position: int
    length_bytes: int
    token: int
    revision: int
    sequence: int
    stamp_us: int
    commit_id: bytes
    place: int
    key: bytes

    @property
    def names(self) -> tuple[str, str]:
        """Bucket id and stream id."""
        ...


class Tail:
    """The unfolded records up to `end`, applied in order. The caller holds the engine's mutex.

    `next_token` is what the next commit gets once everything up to the tail mark was applied. `newest_reset` is the
    position of the newest record that deleted something, 0 when none did.
    """

    def __init__(self, position: int, next_token: int) -> None:
        self.end = position
        self.next_token = next_token
        self.newest_reset = 0
        self.streams: dict[bytes, StreamTail] = {}
        self.commits: list[Entry] = []
        self._last_token = 0
        self._purged_all_at = 0
        self._purged_at: dict[str, int] = {}

    # ---- growing ----

    def append(self, commits: Sequence[WrittenCommit]) -> None:
        """Take in the next commits of the journal, one at least, which were planned to follow from those before."""
        streams, all_commits = self.streams, self.commits
        for commit in commits:
            position, length, token, place = commit.position, commit.length_bytes, commit.token, commit.place
            sequence, revision, commit_id = commit.sequence, commit.revision, commit.commit_id
            stream = streams.get(commit.key) or self._new_stream(commit.key, position, commit.names)
            entry = _entry_of(
                Entry, (position, length, token, revision, sequence, commit.stamp_us, commit_id, place, stream)
            )
            stream.entries.append(entry)
            all_commits.append(entry)
            if stream.ids is not None:
                stream.ids.add(commit_id)
            stream.sequence, stream.revision = sequence, revision
            stream.segment_end = place + length
            stream.last_position = position
        last = commits[-1]
        self._last_token, self.next_token = last.token, last.token + 1
        self.end = last.position + last.length_bytes

    def apply(self, records: Iterable[format.Record]) -> None:
        """Take in the next records of the journal; `ValueError` where one does not follow from those before it.

        Those before it are taken in then. One loop, as this is done for every commit of every other process.
        """
        streams, commits, header_bytes = self.streams, self.commits, format.RECORD_HEADER_BYTES
        last_token = self._last_token
        try:
            for fields, body in records:
                _, kind, _, _, position, _, place, key, token, revision, sequence, commit_id, stamp_us, _, size = fields
                if kind != format.COMMIT:
                    self._apply_other(format.header_of(format.RecordHeader, fields), body)
                    continue
                stream = streams.get(key) or self._new_stream(key, position, _names_in(key, body))
                entries = stream.entries
                if not entries:
                    format.check_numbers(format.header_of(format.RecordHeader, fields))
                elif sequence != stream.sequence + 1 or place != stream.segment_end or revision <= stream.revision:
                    raise ValueError(
                        f"commit {stream.sequence + 1} of stream {stream.stream_id!r} in bucket {stream.bucket_id!r}, "
                        f"not commit {sequence} with revision {revision} at byte {place}"
                    )
                if token != last_token + 1 and last_token:
                    raise ValueError(f"checkpoint {last_token + 1}, not {token}")
                last_token = token
                length = header_bytes + size
                entry = _entry_of(
                    Entry, (position, length, token, revision, sequence, stamp_us, commit_id, place, stream)
                )
                entries.append(entry)
                commits.append(entry)
                if stream.ids is not None:
                    stream.ids.add(commit_id)
                stream.sequence, stream.revision = sequence, revision
                stream.segment_end = place + length
                stream.last_position = position
                if token >= self.next_token:
                    self.next_token = token + 1
                self.end = position + length
        finally:
            self._last_token = last_token

    def _apply_other(self, header: format.RecordHeader, body: bytes | memoryview) -> None:
        kind = header.kind
        if kind == format.SNAPSHOT:
            self._add_snapshot(self._stream(header, body), header)
        elif kind == format.DELETE_STREAM:
            stream = self._stream(header, body)
            stream.reset(header.position)
            stream.last_position = self.newest_reset = header.position
        elif kind == format.PURGE:
            self._purge(format.read_purge(body), header)
            self.newest_reset = header.position
        elif kind == format.ROLL:
            format.check_numbers(header)
            self.next_token = max(self.next_token, header.token)
        self.end = header.end

    def _stream(self, header: format.RecordHeader, body: bytes | memoryview) -> StreamTail:
        known = self.streams.get(header.key)
        return known or self._new_stream(header.key, header.position, _names_in(header.key, body))

    def _new_stream(self, key: bytes, position: int, names: tuple[str, str]) -> StreamTail:
        reset_at = self.purged_at(names[0]) if self.purges else 0
        stream = self.streams[key] = StreamTail(key, *names, reset_at=reset_at, first_position=position)
        return stream

    def _add_snapshot(self, stream: StreamTail, header: format.RecordHeader) -> None:
        format.check_numbers(header)
        stream.snapshots += (SnapshotEntry(header.revision, header.position, header.length_bytes, header.place),)
        stream.snapshots_end = header.place + header.length_bytes
        stream.last_position = header.position

    def _purge(self, bucket_id: str | None, header: format.RecordHeader) -> None:
        if bucket_id is None:
            self._purged_all_at = header.position + 1
        else:
            self._purged_at[bucket_id] = header.position + 1
        for stream in self.streams.values():
            if bucket_id is None or stream.bucket_id == bucket_id:
                stream.reset(header.position)
                stream.last_position = header.position

    def purged_at(self, bucket_id: str) -> int:
        """Where the bucket was last purged; 0 when it was not, since the last fold."""
        return max(self._purged_all_at, self._purged_at.get(bucket_id, 0))

    @property
    def purges(self) -> bool:
        """Whether any bucket was purged since the last fold."""
        return bool(self._purged_all_at or self._purged_at)

    def purged(self, bucket_mark: int) -> bool:
        """Whether the bucket behind that mark was purged since the last fold."""
        return bool(self._purged_all_at) or any(format.bucket_mark(bucket) == bucket_mark for bucket in self._purged_at)

    # ---- shrinking ----

    def drop_below(self, position: int) -> list[bytes]:
        """Forget what is folded; gives the keys of the streams that this touched."""
        first = 0
        while first < len(self.commits) and self.commits[first].position < position:
            first += 1
        del self.commits[:first]
        touched = []
        for key, stream in list(self.streams.items()):
            if stream.first_position >= position:
                continue
            touched.append(key)
            if stream.last_position < position:
                del self.streams[key]
                continue
            stream.keep(
                [entry for entry in stream.entries if entry.position >= position],
                tuple(entry for entry in stream.snapshots if entry.position >= position),
            )
            stream.first_position = position
            if stream.reset_at <= position:
                stream.reset_at = 0
        if self._purged_all_at <= position:
            self._purged_all_at = 0
        self._purged_at = {bucket: at for bucket, at in self._purged_at.items() if at > position}
        return touched

    # ---- reading ----

    def commits_between(self, after_token: int, to_token: int, visible: int) -> list[Entry]:
        """The unfolded commits with those tokens that readers may see, in checkpoint order."""
        if not self.commits:
            return []
        first_token = self.commits[0].token
        first = max(0, after_token + 1 - first_token)
        last = to_token + 1 - first_token
        found = self.commits[first : max(first, last)]
        while found and found[-1].end > visible:
            found.pop()
        return found
