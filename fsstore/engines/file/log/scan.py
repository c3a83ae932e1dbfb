"""Reading files that may be damaged: every whole record that is left in them, and the gaps between.

Where `Journal.walk` and `Segments` stop or raise at the first bad byte, this goes on behind it. It finds; what a
gap means, and what is to be done about it, is for `verify` and `repair` to say. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.files import layout
from fsstore.engines.file.files.handles import opened
from fsstore.engines.file.formats import file_headers, format

_WINDOW_BYTES = 1 << 20
# Headers that are whole can claim the same broken bytes over and over: real ones do for as often as a file was used.
_MOST_READS_OF_BROKEN = 4


class Whole(NamedTuple):
    """A record whose checksums agree, that makes sense, and that stands where it says."""

    header: format.RecordHeader
    body: memoryview
    """The first megabyte of it, which is all of most records, and the names of the stream in any."""


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
        first = wanted[:1]  # looking for one byte is far quicker than for two, and most of a journal is zeros
        while len(self.at(at, 1)):
            found = self._data.find(first, at - self._start)
            at = self._start + (found if found >= 0 else len(self._data))
            if found >= 0:
                if self.at(at, len(wanted)) == wanted:
                    return at
                at += 1
        return self._end


Address = Callable[[format.RecordHeader], int]
"""Gives the offset in a file at which a record says that it stands."""


def in_file_of(path: str, key: bytes, kind: int) -> Address:
    """The addresses in a stream's file at `path`, whose records are of that kind; others stand nowhere in it.

    `StorageError` at one of that stream which a later version wrote.
    """

    def address(header: format.RecordHeader) -> int:
        if header.key != key:
            return -1
        format.refuse_unknown(path, header)
        return header.place if header.kind == kind else -1

    return address


def scan(disk: Disk, handle: int, seed: int, start: int, end: int, address: Address | None) -> Iterator[Whole | Gap]:
    """The whole records of a file from `start` to `end` and the gaps between them, by offset in the file.

    A record that stands elsewhere than its `address` says is part of a gap. Without that, whole records are found
    wherever they are. Takes a megabyte of memory and reads the file a few times at most, whatever lengths its headers
    claim.
    """
    end = min(end, disk.size(handle))
    window = _Window(disk, handle, end)
    at, gap = start, -1
    left_bytes = _MOST_READS_OF_BROKEN * max(end - start, 0)
    broken: list[format.RecordHeader] = []
    while at < end:
        header = format.read_header(window.at(at, format.RECORD_HEADER_BYTES), 0, seed)
        if header is not None and (address is None or address(header) == at):
            body = _whole_body(window, at, header, seed) if header.length_bytes <= end - at and left_bytes > 0 else None
            if body is not None and _makes_sense(header, body):
                if gap >= 0:
                    yield Gap(gap, at, tuple(broken))
                    gap, broken = -1, []
                yield Whole(header, body)
                at += header.length_bytes
                continue
            left_bytes -= header.length_bytes
            broken.append(header)
        gap = at if gap < 0 else gap
        at = window.find(format.RECORD_MAGIC, at + 1)
    if gap >= 0:
        yield Gap(gap, end, tuple(broken))


def _whole_body(window: _Window, at: int, header: format.RecordHeader, seed: int) -> memoryview | None:
    """The body's first megabyte when all of it is as it was written."""
    start, length = at + format.RECORD_HEADER_BYTES, header.body_bytes
    body = window.at(start, min(length, _WINDOW_BYTES))
    crc, checked = format.checksum(body, seed), len(body)
    while checked < length:
        more = window.at(start + checked, min(length - checked, _WINDOW_BYTES))
        if not more:
            return None
        crc, checked = format.checksum(more, crc), checked + len(more)
    return body if crc == header.body_crc else None


def _makes_sense(header: format.RecordHeader, body: memoryview) -> bool:
    try:
        format.check_sense(header, body)
    except ValueError:
        return False
    return True


def headers(disk: Disk, handle: int, seed: int, start: int, end: int) -> Iterator[tuple[int, format.RecordHeader]]:
    """The offsets from `start` to `end` at which a record header is whole, bodies aside, and these headers."""
    window = _Window(disk, handle, min(end, disk.size(handle)))
    at = window.find(format.RECORD_MAGIC, start)
    while at < end:
        header = format.read_header(window.at(at, format.RECORD_HEADER_BYTES), 0, seed)
        if header is not None:
            yield at, header
        at = window.find(format.RECORD_MAGIC, at + 1)


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
        return self.files[0].base + file_headers.JOURNAL_HEADER_BYTES if self.files else 0

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
    files = [_seen_file(disk, directory, base, seed) for base in layout.journal_bases(disk, directory)]
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
    start = file_headers.JOURNAL_HEADER_BYTES
    with opened(disk, file.path) as handle:
        yield from scan(disk, handle, seed, start, file.size_bytes, lambda header: header.position - file.base)


def _seen_file(disk: Disk, directory: str, base: int, seed: int) -> SeenFile:
    path = f"{directory}/{layout.journal_name(base)}"
    with opened(disk, path) as handle:
        size = stated = disk.size(handle)
        data = disk.read(handle, file_headers.JOURNAL_HEADER_BYTES, 0)
    fault = None
    try:
        stated = file_headers.read_journal_size(data, base, seed)
        if size < stated:
            fault = f"{stated} bytes, as its header says, not {size}"
    except file_headers.NewerFormatError as error:
        raise file_headers.refused(path, error) from error
    except file_headers.FormatError as error:
        fault = str(error)
    return SeenFile(base, stated, path, fault)


def _mark(header: format.RecordHeader) -> int:
    return header.position - header.lag_bytes if header.lag_bytes < format.MAX_LAG else 0


def _note_gap(found: Survey, pending: Gap | None, header: format.RecordHeader, file: SeenFile) -> None:
    """A ROLL record says where the file before it ended, so what is behind that is no gap."""
    at_start = header.position == file.base + file_headers.JOURNAL_HEADER_BYTES
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
        found.purged.append((header.position, format.read_purge(item.body)))
    if header.kind in format.OF_STREAMS and header.key not in found.names:
        found.names[header.key] = format.split_prefix(item.body)[:2]
