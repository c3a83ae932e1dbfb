"""What is left of damaged streams: whole records wherever they are, put together as far as they follow one another.

A record is believed by its checksums, its place, its sequence and its token, and by `commits.index` where that
can be read: a deleted stream's old records, which a recycled journal may still hold, fail one of these. This
module reads; only `Rewrite` writes, and only beside the file that it replaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from fsstore.engines.file import format, layout
from fsstore.engines.file.disk import Disk
from fsstore.engines.file.scan import Gap, Whole, scan
from fsstore.engines.file.segments import IDS, INDEX, SEGMENT, SNAPSHOTS, Segments, Stream
from fsstore.engines.file.verify import Verification

_KINDS = {format.COMMIT: SEGMENT, format.SNAPSHOT: SNAPSHOTS}


class Piece(NamedTuple):
    """A whole record, and where it was found."""

    path: str
    offset: int
    header: format.RecordHeader


@dataclass(slots=True)
class Rewrite:
    """One file that is written anew, from `pieces` in order; without any it is taken away."""

    path: str
    kind: str
    stream: Stream | None
    seed: int
    pieces: list[Piece]
    lost: str

    def describe(self) -> str:
        if not self.pieces:
            return "take the file away: no whole record is left of it; the old file goes to quarantine"
        others = sum(piece.path != self.path for piece in self.pieces)
        found = f", {others} of them found elsewhere" if others else ""
        return f"write the file anew from {len(self.pieces)} whole records{found}; the old file goes to quarantine"

    def write(self, disk: Disk) -> None:
        """The new file, flushed, beside the old one."""
        if self.stream is None or not self.pieces:
            return
        header = format.segment_header(self.seed, self.stream.bucket_id, self.stream.stream_id, self.kind)
        target = disk.open(f"{self.path}.new", write=True, create=True)
        try:
            disk.truncate(target, 0)
            disk.write(target, header, 0)
            place = len(header)
            for piece in self.pieces:
                body = self.body(disk, piece)
                # Snapshots close ranks; a commit's place never changes.
                disk.write(target, format.pack_header(piece.header._replace(place=place), self.seed) + body, place)
                place += piece.header.length_bytes
            disk.flush(target)
        finally:
            disk.close(target)

    @staticmethod
    def body(disk: Disk, piece: Piece) -> bytes:
        handle = disk.open(piece.path)
        try:
            return disk.read(handle, piece.header.body_bytes, piece.offset + format.RECORD_HEADER_BYTES)
        finally:
            disk.close(handle)

    def put_in_place(self, disk: Disk) -> None:
        """Replace the old file, and drop the indexes that stood beside it; durable on return."""
        directory = self.path.rpartition("/")[0]
        stem = self.path.rpartition(".")[0]
        if self.pieces:
            disk.rename(f"{self.path}.new", self.path)
        elif disk.exists(self.path):
            disk.unlink(self.path)
        for kind in (INDEX, IDS):
            if self.kind == SEGMENT and disk.exists(f"{stem}.{kind}"):
                disk.unlink(f"{stem}.{kind}")
        if disk.exists(directory):
            disk.flush_directory(directory)


@dataclass(frozen=True, slots=True)
class Shortened:
    """A stream of which the journal holds commits that nothing leads to any more."""

    name: str
    lost: str


@dataclass(slots=True)
class _State:
    """How far a stream goes after the repair."""

    sequence: int = 0
    revision: int = 0
    end: int = 0
    snapshots_end: int = 0
    snapshot_revisions: set[int] = field(default_factory=set)
    cut: bool = False


class Salvage:
    """Puts together what is left of one store, as a verification found it."""

    def __init__(self, disk: Disk, path: str, seed: int, look: Verification) -> None:
        self._disk = disk
        self._path = path
        self._seed = seed
        self._look = look
        self._files = Segments(disk, path, seed, max_handles=0)
        self._states: dict[bytes, _State] = {}
        self._buckets: dict[bytes, str] = {}
        self._purged: set[str | None] = set()
        self.next_token = max(look.journal.next_token, look.next_token(), look.dispatched + 1, 1)
        if look.commits is not None:
            self.next_token = max(self.next_token, look.commits.next_token)

    # ---- the streams' own files ----

    def rewrites(self, damaged: list[str]) -> list[Rewrite]:
        """How each of these files is to be written anew."""
        wanted: dict[bytes, set[str]] = {}
        for path in damaged:
            stem, _, kind = path.rpartition("/")[2].partition(".")
            wanted.setdefault(bytes.fromhex(stem), set()).add(kind)
        pieces = self._pieces(set(wanted), damaged)
        found = []
        for key, kinds in wanted.items():
            state = self._states[key] = _State()
            commits: list[Piece] = []
            if SEGMENT in kinds:
                commits = self._commits(key, pieces)
                found.append(self._segment(key, commits, state))
            else:
                self._measure(key, state)
            if SNAPSHOTS in kinds or (state.cut and self._disk.exists(self._files.path(key, SNAPSHOTS))):
                rewrite = self._snapshots(key, pieces, state, commits)
                if rewrite is not None:
                    found.append(rewrite)
        return found

    def _pieces(self, keys: set[bytes], damaged: list[str]) -> dict[tuple[bytes, str], list[Piece]]:
        """Every whole record of these streams in their own files, in the damaged ones, and anywhere in the journal."""
        paths = {self._files.path(key, kind) for key in keys for kind in (SEGMENT, SNAPSHOTS)} | set(damaged)
        journal = f"{self._path}/{layout.JOURNAL}"
        everywhere = sorted(paths) + [f"{journal}/{name}" for name in self._disk.names(journal)]
        pieces: dict[tuple[bytes, str], list[Piece]] = {}
        for path in everywhere:
            for offset, header in self._whole(path):
                self.next_token = max(self.next_token, header.token + 1)
                kind = _KINDS.get(header.kind)
                if header.key in keys and kind is not None:
                    pieces.setdefault((header.key, kind), []).append(Piece(path, offset, header))
        return pieces

    def _whole(self, path: str) -> Iterator[tuple[int, format.RecordHeader]]:
        if not self._disk.exists(path):
            return
        handle = self._disk.open(path)
        try:
            at = 0
            for item in scan(self._disk, handle, self._seed, 0, self._disk.size(handle), None):
                if isinstance(item, Whole):
                    yield at, item.header
                    at += item.header.length_bytes
                else:
                    at = item.end
        finally:
            self._disk.close(handle)

    def _commits(self, key: bytes, pieces: dict[tuple[bytes, str], list[Piece]]) -> list[Piece]:
        """The stream's commits from the first on, as far as they follow one another."""
        own = self._files.path(key, SEGMENT)
        at: dict[int, list[Piece]] = {}
        for piece in pieces.get((key, SEGMENT), []):
            at.setdefault(piece.header.sequence, []).append(piece)
        chain: list[Piece] = []
        place, token = 0, 0
        while True:
            options = [
                piece
                for piece in at.get(len(chain) + 1, [])
                if piece.header.token > token
                and (not place or piece.header.place == place)
                and self._may_be(piece, own)
            ]
            if not options:
                return chain
            best = max(options, key=lambda piece: (piece.path == own, piece.header.token))
            chain.append(best)
            place, token = best.header.place + best.header.length_bytes, best.header.token

    def _may_be(self, piece: Piece, own: str) -> bool:
        """Whether the record is of the stream as it is, not of one that was deleted: commits.index knows."""
        header, commits = piece.header, self._look.commits
        if piece.path == own and piece.offset == header.place:
            return True
        if header.position >= self._look.folded and self._look.in_journal(header.position):
            return False  # the journal's own records are taken from there
        if commits is None:
            return True
        expected = format.pack_commits_entry(
            self._seed, header.token, header.key, header.place, header.length_bytes, header.revision, header.sequence,
            header.stamp_us,
        )  # fmt: skip
        data = commits.read(header.token, header.token)
        damaged = not format.commits_entry_is_whole(data.ljust(len(expected), b"\0"), 0, header.token, self._seed)
        return data == expected or damaged

    def _segment(self, key: bytes, chain: list[Piece], state: _State) -> Rewrite:
        path = self._files.path(key, SEGMENT)
        last = self._last_known(key, path)
        if chain:
            header = chain[-1].header
            state.sequence, state.revision = header.sequence, header.revision
            state.end = header.place + header.length_bytes
        # What the journal still holds may go on from here, so whether a stream was cut is known after that.
        first_unfolded = self._look.unfolded_sequence(key)
        last = min(last, first_unfolded - 1) if first_unfolded else last
        lost = ""
        if state.sequence < last or not last:
            state.cut = True
            lost = _commits_text(state.sequence + 1, last, self._text(key, chain))
        return Rewrite(path, SEGMENT, self._stream(chain), self._seed, chain, lost)

    def _last_known(self, key: bytes, path: str) -> int:
        """The highest sequence of the stream that anything tells of."""
        head = self._look.heads.get(key) if self._look.heads is not None else None
        known = head.sequence if head is not None and head.segment_bytes else 0
        own = (header.sequence for _, header in self._whole(path) if header.key == key)
        return max(known, *own, 0)

    def _snapshots(
        self, key: bytes, pieces: dict[tuple[bytes, str], list[Piece]], state: _State, commits: list[Piece]
    ) -> Rewrite | None:
        path = self._files.path(key, SNAPSHOTS)
        begun = commits[0].header.position if commits else self._begun(key)
        kept: dict[int, Piece] = {}
        dropped: set[int] = set()
        for piece in pieces.get((key, SNAPSHOTS), []):
            header = piece.header
            if header.position < begun or (piece.path != path and self._look.in_journal(header.position)):
                continue
            if state.cut and header.revision > state.revision:
                dropped.add(header.revision)
                continue
            if piece.path == path or header.revision not in kept:
                kept[header.revision] = piece
        ordered = sorted(kept.values(), key=lambda piece: piece.header.position)
        if state.cut and not dropped and not ordered:
            return None
        stream = self._stream(ordered)
        state.snapshot_revisions = set(kept)
        if stream is not None:
            state.snapshots_end = self._files.header_bytes(stream, SNAPSHOTS) + sum(
                piece.header.length_bytes for piece in ordered
            )
        lost = f"snapshots of {self._text(key, ordered)} of which no whole record is left"
        if dropped:
            lost = f"snapshots of revisions that are lost: {', '.join(map(str, sorted(dropped)))}"
        return Rewrite(path, SNAPSHOTS, stream, self._seed, ordered, lost)

    def _begun(self, key: bytes) -> int:
        """The position of the stream's first commit: snapshots before it are another's."""
        path = self._files.path(key, SEGMENT)
        return next((header.position for _, header in self._whole(path)), 0)

    def _stream(self, pieces: list[Piece]) -> Stream | None:
        if not pieces:
            return None
        bucket_id, stream_id, _ = format.split_prefix(Rewrite.body(self._disk, pieces[0]))
        return Stream.of(bucket_id, stream_id)

    def _text(self, key: bytes, pieces: list[Piece]) -> str:
        stream = self._stream(pieces)
        if stream is not None:
            return str(stream)
        names = self._look.journal.names.get(key)
        return str(Stream.of(*names)) if names is not None else f"the stream with key {key.hex()}"

    # ---- what is unfolded ----

    def unfolded(self) -> tuple[list[tuple[format.RecordHeader, bytes]], list[Shortened]]:
        """The whole records of the journal that are still to be folded, and the streams that lose some of theirs."""
        kept: list[tuple[format.RecordHeader, bytes]] = []
        lost: dict[bytes, tuple[Stream, int]] = {}
        for header in self._acknowledged():
            record = self._record(header)
            body = record[format.RECORD_HEADER_BYTES :]
            if header.kind == format.PURGE:
                self._purge(format.read_purge(body))
            elif header.kind == format.DELETE_STREAM:
                self._states[header.key] = _State()
                lost.pop(header.key, None)
            elif header.kind != format.ROLL:
                stream = Stream.of(*format.split_prefix(body)[:2])
                state = self._state(stream)
                place = self._place(header, state, stream)
                if place is None:
                    state.cut = True
                    lost[header.key] = stream, max(header.sequence, lost.get(header.key, (stream, 0))[1])
                    continue
                if place < 0:
                    continue
                header = header._replace(place=place)  # noqa: PLW2901
                record = format.pack_header(header, self._seed) + body
            else:
                continue
            kept.append((header, record))
        shortened = []
        for key, (stream, last) in lost.items():
            first = self._states[key].sequence + 1
            text = _commits_text(first, last, str(stream)) if last else f"snapshots of {stream}"
            shortened.append(Shortened(str(stream), text))
        return kept, shortened

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

    def _record(self, header: format.RecordHeader) -> bytes:
        file = self._look.journal.file_at(header.position)
        assert file is not None
        handle = self._disk.open(file.path)
        try:
            return self._disk.read(handle, header.length_bytes, header.position - file.base)
        finally:
            self._disk.close(handle)

    def _place(self, header: format.RecordHeader, state: _State, stream: Stream) -> int | None:
        """Where the record goes in its stream's file; -1: it is there; `None`: nothing leads to it any more."""
        if header.kind == format.COMMIT:
            if header.sequence <= state.sequence:
                return -1
            place = state.end or self._files.header_bytes(stream)
            if header.sequence != state.sequence + 1 or header.place != place:
                return None
            state.sequence, state.revision = header.sequence, header.revision
            state.end = place + header.length_bytes
            return place
        if header.revision in state.snapshot_revisions:
            return -1
        if not state.sequence or (state.cut and header.revision > state.revision):
            return None
        place = state.snapshots_end or self._files.header_bytes(stream, SNAPSHOTS)
        state.snapshot_revisions.add(header.revision)
        state.snapshots_end = place + header.length_bytes
        return place

    def _state(self, stream: Stream) -> _State:
        state = self._states.get(stream.key)
        if state is None:
            state = self._states[stream.key] = _State()
            if not self._purged & {None, stream.bucket_id}:
                self._measure(stream.key, state)
        self._buckets[stream.key] = stream.bucket_id
        return state

    def _purge(self, bucket_id: str | None) -> None:
        self._purged.add(bucket_id)
        for key, bucket in self._buckets.items():
            if bucket_id is None or bucket == bucket_id:
                self._states[key] = _State()

    def _measure(self, key: bytes, state: _State) -> None:
        """How far the stream's own files go, as far as they are whole."""
        for offset, header in self._whole(self._files.path(key, SEGMENT)):
            if header.key == key and header.place == offset and header.sequence == state.sequence + 1:
                state.sequence, state.revision = header.sequence, header.revision
                state.end = offset + header.length_bytes
        for offset, header in self._whole(self._files.path(key, SNAPSHOTS)):
            if header.key == key and header.place == offset:
                state.snapshot_revisions.add(header.revision)
                state.snapshots_end = offset + header.length_bytes


def _commits_text(first: int, last: int, stream: str) -> str:
    if last < first:
        return f"commits from {first} on of {stream}, if there were any"
    commits = f"commit {first}" if first == last else f"commits {first} to {last}"
    return f"{commits} of {stream}, and snapshots of their revisions"
