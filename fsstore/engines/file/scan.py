"""Reading files that may be damaged: every whole record that is left in them, and the gaps between.

Where `Journal.walk` and `Segments` stop or raise at the first bad byte, this goes on behind it. It finds; what a
gap means, and what is to be done about it, is for `verify` and `repair` to say. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from fsstore.engines.file import format
from fsstore.engines.file.disk import Disk

_WINDOW_BYTES = 1 << 20


class Whole(NamedTuple):
    """A record whose checksums agree and that stands where it says."""

    header: format.RecordHeader
    record: memoryview

    @property
    def body(self) -> memoryview:
        return self.record[format.RECORD_HEADER_BYTES :]


class Gap(NamedTuple):
    """Bytes that are no whole records. `headers` are those within that are whole themselves, their bodies not."""

    start: int
    end: int
    headers: tuple[format.RecordHeader, ...] = ()


class _Window:
    """A file seen through one buffer, so that a scan does not read a record at a time."""

    def __init__(self, disk: Disk, handle: int, end: int) -> None:
        self._disk = disk
        self._handle = handle
        self._end = end
        self._start = 0
        self._data = b""

    def at(self, at: int, length_bytes: int) -> memoryview:
        """Up to that many bytes from `at`, less only at the end."""
        offset = at - self._start
        if offset < 0 or offset + length_bytes > len(self._data):
            length = min(max(length_bytes, _WINDOW_BYTES), max(self._end - at, 0))
            self._data, self._start, offset = self._disk.read(self._handle, length, at), at, 0
        return memoryview(self._data)[offset : offset + length_bytes]

    def find(self, wanted: bytes, at: int) -> int:
        """The next place of `wanted` from `at` on, or the end."""
        while at < self._end:
            if len(self.at(at, len(wanted))) < len(wanted):
                break
            found = self._data.find(wanted, at - self._start)
            if found >= 0:
                return self._start + found
            at = self._start + len(self._data) - len(wanted) + 1
        return self._end


def scan(
    disk: Disk, handle: int, seed: int, start: int, end: int, address: Callable[[format.RecordHeader], int] | None
) -> Iterator[Whole | Gap]:
    """The whole records of a file from `start` to `end` and the gaps between them, by offset in the file.

    `address` gives the offset at which a record says it stands; one that stands elsewhere is part of a gap. Without
    it, whole records are found wherever they are.
    """
    end = min(end, disk.size(handle))
    window = _Window(disk, handle, end)
    at, gap = start, -1
    broken: list[format.RecordHeader] = []
    while at < end:
        header = format.read_header(window.at(at, format.RECORD_HEADER_BYTES), 0, seed)
        if header is not None and (address is None or address(header) == at):
            record = window.at(at, header.length_bytes)
            if format.body_is_whole(record, 0, header, seed):
                if gap >= 0:
                    yield Gap(gap, at, tuple(broken))
                    gap, broken = -1, []
                yield Whole(header, record)
                at += header.length_bytes
                continue
            broken.append(header)
        gap = at if gap < 0 else gap
        at = window.find(format.RECORD_MAGIC, at + 1)
    if gap >= 0:
        yield Gap(gap, end, tuple(broken))


# ---- the journal ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SeenFile:
    """One journal file as it is. `fault` says what its header should have been, where that is damaged."""

    base: int
    size_bytes: int
    path: str
    fault: str | None

    @property
    def end(self) -> int:
        return self.base + self.size_bytes


@dataclass(slots=True)
class Survey:
    """Everything that the journal's files hold, by position, from the oldest file on that leads to the newest."""

    files: list[SeenFile]
    stale_files: list[SeenFile]
    items: list[format.RecordHeader | Gap] = field(default_factory=list)
    names: dict[bytes, tuple[str, str]] = field(default_factory=dict)
    purged: list[tuple[int, str | None]] = field(default_factory=list)
    end: int = 0
    named: int = 0
    next_token: int = 0

    @property
    def start(self) -> int:
        return self.files[0].base + format.JOURNAL_HEADER_BYTES if self.files else 0

    def file_at(self, position: int) -> SeenFile | None:
        return next((file for file in self.files if file.base <= position < file.end), None)

    def gaps(self, acknowledged: int) -> list[Gap]:
        """The damage: gaps that begin below what was surely acknowledged. What is above is a torn tail."""
        found = [item for item in self.items if isinstance(item, Gap) and item.start < acknowledged]
        if self.end < acknowledged:
            if found and found[-1].start >= self.end:
                found[-1] = found[-1]._replace(end=acknowledged)
            else:
                found.append(Gap(max(self.end, self.start), acknowledged))
        return found


def survey(disk: Disk, directory: str, seed: int) -> Survey:
    """Look at the whole journal. `StorageError` where a later version of fsstore wrote it."""
    files = [_seen_file(disk, directory, base, seed) for base in _bases(disk, directory)]
    first = len(files)
    while first and (first == len(files) or files[first - 1].end == files[first].base):
        first -= 1
    found = Survey(files[first:], files[:first])
    pending: Gap | None = None
    for file in found.files:
        for item in _records(disk, file, seed):
            if isinstance(item, Whole):
                if item.header.kind == format.ROLL and found.items and item.header.place < found.end:
                    # Whoever began this file was killed before going on in it, and others stayed in the one before.
                    found.files = found.files[: found.files.index(file)]
                    return found
                _note_gap(found, pending, item.header, file)
                pending = None
                _note(found, item, file)
                continue
            start = file.base + item.start if pending is None else pending.start
            headers = item.headers if pending is None else pending.headers + item.headers
            pending = Gap(start, file.base + item.end, headers)
            for header in item.headers:
                found.named = max(found.named, _mark(header))
    if pending is not None:
        found.items.append(pending)
    return found


def _records(disk: Disk, file: SeenFile, seed: int) -> Iterator[Whole | Gap]:
    handle = disk.open(file.path)
    try:
        yield from scan(
            disk, handle, seed, format.JOURNAL_HEADER_BYTES, file.size_bytes, lambda header: header.position - file.base
        )
    finally:
        disk.close(handle)


def _bases(disk: Disk, directory: str) -> list[int]:
    bases = []
    for name in disk.names(directory):
        stem, _, ending = name.partition(".")
        if ending == "journal" and len(stem) == 16:
            try:
                bases.append(int(stem, 16))
            except ValueError:
                continue
    return sorted(bases)


def _seen_file(disk: Disk, directory: str, base: int, seed: int) -> SeenFile:
    path = f"{directory}/{base:016x}.journal"
    handle = disk.open(path)
    try:
        size = stated = disk.size(handle)
        fault = None
        try:
            numbers = format.read_numbers("journal", disk.read(handle, format.JOURNAL_HEADER_BYTES, 0), seed)
            if len(numbers) != 2 or numbers[0] != base:
                raise format.FormatError(f"a journal header for position {base}")
            stated = numbers[1]
            if size < stated:
                fault = f"{stated} bytes, as its header says, not {size}"
        except format.NewerFormatError as error:
            raise format.refused(path, error) from error
        except format.FormatError as error:
            fault = str(error)
        return SeenFile(base, stated, path, fault)
    finally:
        disk.close(handle)


def _mark(header: format.RecordHeader) -> int:
    return header.position - header.lag_bytes if header.lag_bytes < format.MAX_LAG else 0


def _note_gap(found: Survey, pending: Gap | None, header: format.RecordHeader, file: SeenFile) -> None:
    """A ROLL record says where the file before it ended, so what is behind that is no gap."""
    at_start = header.position == file.base + format.JOURNAL_HEADER_BYTES
    end = header.place if header.kind == format.ROLL and at_start and file is not found.files[0] else header.position
    start = pending.start if pending is not None else found.end
    if found.items and start < end:
        headers = pending.headers if pending is not None else ()
        found.items.append(Gap(start, end, headers))
    elif pending is not None and not found.items and pending.start < header.position:
        found.items.append(pending._replace(end=header.position))


def _note(found: Survey, item: Whole, file: SeenFile) -> None:
    header = item.header
    format.refuse_unknown(file.path, header)
    found.items.append(header)
    found.end = header.end
    found.named = max(found.named, _mark(header))
    if header.kind == format.COMMIT:
        found.next_token = max(found.next_token, header.token + 1)
    elif header.kind == format.ROLL:
        found.next_token = max(found.next_token, header.token)
    elif header.kind == format.PURGE:
        found.purged.append((header.position, format.read_purge(bytes(item.body))))
    if header.key != format.NO_KEY and header.key not in found.names:
        found.names[header.key] = format.split_prefix(item.body)[:2]
