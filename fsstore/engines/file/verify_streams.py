"""Verification of the streams' own files: every record of every segment and snapshot file, and what lies beside.

One directory at a time, while nobody folds. A stream's files are judged up to where the folded part of it ends;
what is behind that, or about to be deleted, is an interrupted fold's, which the next one does again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from fsstore.engines.file import format
from fsstore.engines.file.commits_index import CommitsIndex
from fsstore.engines.file.disk import Disk
from fsstore.engines.file.heads import Heads
from fsstore.engines.file.ids import IdIndex, LongIds
from fsstore.engines.file.scan import Gap, Survey, scan
from fsstore.engines.file.segments import IDS, INDEX, SEGMENT, SNAPSHOTS, Segments, Stream
from fsstore.errors import StorageError

_NAMES_BYTES = 8_192 + 128
_KINDS = {SEGMENT: format.COMMIT, SNAPSHOTS: format.SNAPSHOT}


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of damage. `lost` says which commits of which streams are at risk.

    `disposable`: the store does without these bytes; the file may be deleted while nobody has it open.
    """

    path: str
    offset_bytes: int | None
    what: str
    expected: str
    lost: str
    disposable: bool = False

    def __str__(self) -> str:
        where = self.path if self.offset_bytes is None else f"{self.path} at byte {self.offset_bytes}"
        kind = " (disposable)" if self.disposable else ""
        return f"{where}: {self.what}; expected {self.expected}; at risk: {self.lost}{kind}"


class _First(NamedTuple):
    """Where the unfolded records of a stream begin."""

    place: int
    sequence: int
    begins: bool
    """Whether the stream's file begins with it, header and all: what an interrupted fold left of it means nothing."""


class Unfolded:
    """What the journal still has to say about each stream."""

    def __init__(self, journal: Survey, folded: int) -> None:
        self.first_token = 0
        self._first: dict[tuple[bytes, int], _First] = {}
        self._reset: set[bytes] = set()
        self._positions: set[int] = set()
        self._purged = {bucket_id for position, bucket_id in journal.purged if position >= folded}
        for item in journal.items:
            if isinstance(item, Gap) or item.position < folded:
                continue
            self._positions.add(item.position)
            if item.kind == format.DELETE_STREAM:
                self._reset.add(item.key)
            elif item.kind in (format.COMMIT, format.SNAPSHOT):
                kind = SEGMENT if item.kind == format.COMMIT else SNAPSHOTS
                begins = item.place == len(format.segment_header(0, *journal.names[item.key], kind))
                self._first.setdefault((item.key, item.kind), _First(item.place, item.sequence, begins))
                if item.kind == format.COMMIT:
                    self.first_token = self.first_token or item.token

    def has(self, position: int) -> bool:
        return position in self._positions

    def first(self, key: bytes, kind: int) -> _First | None:
        return self._first.get((key, kind))

    def touches(self, key: bytes) -> bool:
        return (key, format.COMMIT) in self._first

    def deletes(self, key: bytes, bucket_id: str | None) -> bool:
        """Whether the folded files of the stream are about to go."""
        if key in self._reset or None in self._purged:
            return True
        return (bucket_id is None and bool(self._purged)) or bucket_id in self._purged

    def deletes_bucket(self, mark: int) -> bool:
        return None in self._purged or any(b is not None and format.bucket_mark(b) == mark for b in self._purged)


class StreamCheck:
    """Checks directories of streams and remembers which checkpoints it found, so that none is left over."""

    def __init__(self, disk: Disk, store: str, seed: int, limit: int) -> None:
        self.limit = limit
        self._disk = disk
        self._store = store
        self._seed = seed
        self._files = Segments(disk, store, seed, max_handles=0)
        self._seen = bytearray(limit // 8 + 1)
        self._damaged: set[bytes] = set()
        self._read_bytes = 0

    def take_read_bytes(self) -> int:
        taken, self._read_bytes = self._read_bytes, 0
        return taken

    def has_seen(self, token: int, key: bytes) -> bool:
        """Whether the commit was found, or is missing from a stream of which damage was reported already."""
        return bool(self._seen[token >> 3] & 1 << (token & 7)) or key in self._damaged

    def directory(
        self, name: str, heads: Heads | None, commits: CommitsIndex | None, unfolded: Unfolded
    ) -> Iterator[Finding]:
        """What is damaged in `streams/<name>`."""
        self._heads, self._commits, self._unfolded = heads, commits, unfolded
        kinds: dict[bytes, set[str]] = {}
        for file in self._disk.names(f"{self._store}/streams/{name}"):
            stem, _, ending = file.partition(".")
            if ending in (SEGMENT, SNAPSHOTS, INDEX, IDS) and len(stem) == 32 and stem.startswith(name):
                try:
                    kinds.setdefault(bytes.fromhex(stem), set()).add(ending)
                except ValueError:
                    continue
        for key, found in kinds.items():
            head = heads.get(key) if heads is not None else None
            for kind in (SEGMENT, SNAPSHOTS):
                if kind in found:
                    yield from self._file(key, kind, head, found)

    def missing(self, head: format.Head, unfolded: Unfolded) -> Iterator[Finding]:
        """What a slot says should be there and is not."""
        if unfolded.deletes(head.key, None) or unfolded.deletes_bucket(head.bucket):
            return
        for kind, size in ((SEGMENT, head.segment_bytes), (SNAPSHOTS, head.snapshots_bytes)):
            first = unfolded.first(head.key, _KINDS[kind])
            if not size or (first is not None and first.begins):
                continue
            path = self._files.path(head.key, kind)
            if not self._disk.exists(path):
                if kind == SEGMENT:
                    self._damaged.add(head.key)
                    lost = f"commits 1 to {head.sequence} of {self._name(head.key)}"
                else:
                    lost = f"the snapshots of {self._name(head.key)}"
                yield Finding(path, None, "a stream's file is missing", f"{size} bytes", lost)

    def _name(self, key: bytes) -> str:
        """The stream's name, from whichever of its files still says it."""
        for kind in (SEGMENT, SNAPSHOTS):
            path = self._files.path(key, kind)
            if self._disk.exists(path):
                names = self._names(path, kind)
                if names is not None and Stream.of(*names[:2]).key == key:
                    return str(Stream.of(*names[:2]))
        return f"the stream with key {key.hex()}"

    def _names(self, path: str, kind: str) -> tuple[str, str, int] | None:
        handle = self._disk.open(path)
        try:
            data = self._disk.read(handle, _NAMES_BYTES, 0)
        finally:
            self._disk.close(handle)
        try:
            fields, length = format.read_file_header(kind, data, self._seed)
            bucket_id, stream_id = fields
        except format.NewerFormatError as error:
            raise StorageError(f"{path} cannot be read: expected {error}") from error
        except ValueError:
            return None
        if not isinstance(bucket_id, str) or not isinstance(stream_id, str):
            return None
        return bucket_id, stream_id, length

    # ---- one file ----

    def _file(self, key: bytes, kind: str, head: format.Head | None, beside: set[str]) -> Iterator[Finding]:
        path = self._files.path(key, kind)
        names = self._names(path, kind)
        if self._unfolded.deletes(key, names[0] if names is not None else None):
            return
        first = self._unfolded.first(key, _KINDS[kind])
        if first is not None and first.begins:
            return
        end = self._end(path, kind, head, first)
        if not end:
            return
        check = _FileCheck(self, path, kind, key, names, end, self._last(kind, head, first))
        findings = list(check.run(beside if kind == SEGMENT and not self._unfolded.touches(key) else set()))
        self._read_bytes += end
        if any(not finding.disposable for finding in findings):
            self._damaged.add(key)
        yield from findings
        if not findings and kind == SEGMENT and head is not None and first is None:
            told = (head.sequence, head.revision, head.token)
            if told != check.head:
                yield Finding(
                    f"{self._store}/heads.index",
                    None,
                    f"the slot of {check.stream} says commit, revision, checkpoint {told}",
                    f"{check.head}, as in its segment",
                    "nothing",
                    disposable=True,
                )

    def _end(self, path: str, kind: str, head: format.Head | None, first: _First | None) -> int:
        """Up to where the file is the folded part's."""
        if head is not None:
            end = head.segment_bytes if kind == SEGMENT else head.snapshots_bytes
        else:
            handle = self._disk.open(path)
            try:
                end = self._disk.size(handle)
            finally:
                self._disk.close(handle)
        return min(end, first.place) if first is not None else end

    @staticmethod
    def _last(kind: str, head: format.Head | None, first: _First | None) -> int:
        """The sequence of the last folded commit, 0 where nothing tells."""
        if kind != SEGMENT:
            return 0
        if first is not None:
            return first.sequence - 1
        return head.sequence if head is not None else 0

    # ---- what the records are compared with ----

    def entry_fault(self, key: bytes, header: format.RecordHeader) -> Finding | None:
        """What is wrong with the entry of that commit in commits.index; also notes that it was found."""
        commits = self._commits
        if header.token < self.limit:
            self._seen[header.token >> 3] |= 1 << (header.token & 7)
        first = self._unfolded.first_token
        if commits is None or (first and header.token >= first):
            return None
        data = commits.read(header.token, header.token)
        expected = format.pack_commits_entry(
            self._seed,
            header.token,
            key,
            header.place,
            header.length_bytes,
            header.revision,
            header.sequence,
            header.stamp_us,
        )
        if data == expected or not format.commits_entry_is_whole(data.ljust(48, b"\0"), 0, header.token, self._seed):
            return None
        return Finding(
            commits.path,
            format.INDEX_HEADER_BYTES + (header.token - 1) * format.COMMITS_ENTRY_BYTES,
            f"the entry of checkpoint {header.token} is another commit's",
            f"commit {header.sequence} of the stream with key {key.hex()}",
            "nothing",
            disposable=True,
        )

    def ids(self, key: bytes) -> LongIds | None:
        path = self._files.path(key, IDS)
        runs = IdIndex(self._disk, path, self._seed).load(0)
        return None if runs is None else LongIds(runs, lambda _: True)

    def index_path(self, key: bytes, kind: str) -> str:
        return self._files.path(key, kind)

    @property
    def disk(self) -> Disk:
        return self._disk

    @property
    def seed(self) -> int:
        return self._seed


class _FileCheck:
    """One segment or snapshot file, from its header to `end`."""

    def __init__(
        self,
        check: StreamCheck,
        path: str,
        kind: str,
        key: bytes,
        names: tuple[str, str, int] | None,
        end: int,
        last_sequence: int,
    ) -> None:
        self._check = check
        self._path = path
        self._kind = kind
        self._key = key
        self._names = names
        self._end = end
        self._last_sequence = last_sequence
        self._sequence = self._revision = self._token = 0
        self.stream = str(Stream.of(*names[:2])) if names is not None else f"the stream with key {key.hex()}"

    @property
    def head(self) -> tuple[int, int, int]:
        return self._sequence, self._revision, self._token

    def run(self, beside: set[str]) -> Iterator[Finding]:
        disk, names = self._check.disk, self._names
        prefix = b""
        start = 0
        if names is not None:
            stream = Stream.of(*names[:2])
            if stream.key != self._key:
                yield Finding(
                    self._path,
                    0,
                    f"this is the file of {stream}",
                    "the stream of its name",
                    self._lost(1, self._last_sequence),
                )
                return
            prefix, start = stream.prefix, names[2]
        handle = disk.open(self._path)
        index = _Beside(self._check, self._key, beside)
        wanted = _KINDS[self._kind]

        def address(header: format.RecordHeader) -> int:
            return header.place if header.key == self._key and header.kind == wanted else -1

        try:
            gap: Gap | None = None
            at = start
            for item in scan(disk, handle, self._check.seed, start, self._end, address):
                if isinstance(item, Gap):
                    gap = item
                    at = item.end
                    continue
                header = item.header
                at = header.place + header.length_bytes
                if gap is not None:
                    yield self._gap(gap, header)
                    gap = None
                elif self._kind == SEGMENT and header.sequence != self._sequence + 1:
                    yield self._finding(
                        header.place, f"commit {header.sequence}", f"commit {self._sequence + 1}", header
                    )
                if prefix and item.body[: len(prefix)] != prefix:
                    yield self._finding(header.place, "a record of another stream", f"one of {self.stream}", header)
                if self._kind == SEGMENT:
                    yield from self._commit(header)
                    index.compare(header)
            if at < self._end and gap is None:
                gap = Gap(at, self._end)
            if gap is not None:
                yield self._gap(gap._replace(end=self._end), None)
        finally:
            disk.close(handle)
            index.close()
        yield from index.findings()

    def _commit(self, header: format.RecordHeader) -> Iterator[Finding]:
        if header.revision <= self._revision or header.revision < header.sequence:
            yield self._finding(
                header.place, f"revision {header.revision}", f"a revision above {self._revision}", header
            )
        if header.token <= self._token:
            yield self._finding(header.place, f"checkpoint {header.token}", f"one above {self._token}", header)
        self._sequence, self._revision, self._token = header.sequence, header.revision, header.token
        fault = self._check.entry_fault(self._key, header)
        if fault is not None:
            yield fault

    def _gap(self, gap: Gap, following: format.RecordHeader | None) -> Finding:
        expected = f"whole records of {self.stream} up to byte {gap.end}"
        what = "a stream's file is damaged"
        if self._names is None and gap.start == 0:
            what, expected = "the header of a stream's file is damaged", "the names of a stream"
            if following is not None and following.sequence <= 1:
                return Finding(self._path, 0, what, expected, f"nothing but the name of {self.stream}")
        last = following.sequence - 1 if following is not None else self._last_sequence
        return Finding(self._path, gap.start, what, expected, self._lost(self._sequence + 1, last))

    def _lost(self, first: int, last: int) -> str:
        if self._kind == SNAPSHOTS:
            return f"snapshots of {self.stream}"
        if last == first:
            return f"commit {first} of {self.stream}"
        return (
            f"commits {first} to {last} of {self.stream}"
            if last > first
            else f"commits from {first} on of {self.stream}"
        )

    def _finding(self, offset: int, found: str, expected: str, header: format.RecordHeader) -> Finding:
        what = f"{self.stream} goes on with {found}"
        lost = self._lost(header.sequence, header.sequence) if self._kind == SEGMENT else f"a snapshot of {self.stream}"
        return Finding(self._path, offset, what, expected, lost)


class _Beside:
    """The two indexes beside a segment, compared with its commits as they go by."""

    def __init__(self, check: StreamCheck, key: bytes, kinds: set[str]) -> None:
        self._check = check
        self._key = key
        self._faults: dict[str, int | None] = {}
        self._index: int | None = None
        self._ids: LongIds | None = None
        if INDEX in kinds:
            self._index = check.disk.open(check.index_path(key, INDEX))
            try:
                data = check.disk.read(self._index, format.INDEX_HEADER_BYTES, 0)
                if format.read_file_header("index", data, check.seed)[0] != [key]:
                    self._faults[INDEX] = 0
            except format.FormatError:
                self._faults[INDEX] = 0
        if IDS in kinds:
            self._ids = check.ids(key)
            if self._ids is None:
                self._faults[IDS] = 0

    def compare(self, header: format.RecordHeader) -> None:
        if self._index is not None and INDEX not in self._faults:
            offset = format.INDEX_HEADER_BYTES + (header.sequence - 1) * format.STREAM_INDEX_ENTRY_BYTES
            data = self._check.disk.read(self._index, format.STREAM_INDEX_ENTRY_BYTES, offset)
            wanted = (header.place, header.length_bytes, header.revision, header.commit_id)
            if len(data) == format.STREAM_INDEX_ENTRY_BYTES and format.STREAM_INDEX_ENTRY.unpack(data) != wanted:
                self._faults[INDEX] = offset
        if self._ids is not None and header.sequence <= len(self._ids) and header.commit_id not in self._ids:
            self._faults[IDS] = None

    def findings(self) -> Iterator[Finding]:
        for kind, offset in self._faults.items():
            path = self._check.index_path(self._key, kind)
            expected = "what the segment beside it says"
            yield Finding(path, offset, "an index beside a segment is damaged", expected, "nothing", disposable=True)

    def close(self) -> None:
        if self._index is not None:
            self._check.disk.close(self._index)
