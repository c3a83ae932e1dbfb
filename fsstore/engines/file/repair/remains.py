"""How far a stream goes: what its own files hold as far as they are whole, and what is added while it is mended."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.files.handles import opened
from fsstore.engines.file.formats import format
from fsstore.engines.file.log.scan import Whole, scan
from fsstore.engines.file.streams.segments import SEGMENT, SNAPSHOTS, Segments


@dataclass(slots=True)
class Extent:
    """How far a stream goes after the repair. `cut`: commits that it had are lost."""

    sequence: int = 0
    revision: int = 0
    token: int = 0
    end: int = 0
    snapshots_end: int = 0
    snapshot_revisions: set[int] = field(default_factory=set)
    cut: bool = False

    def add_commit(self, header: format.RecordHeader, place: int) -> None:
        self.sequence, self.revision, self.token = header.sequence, header.revision, header.token
        self.end = place + header.length_bytes

    def add_snapshot(self, header: format.RecordHeader, place: int) -> None:
        self.snapshot_revisions.add(header.revision)
        self.snapshots_end = place + header.length_bytes


def whole_records(disk: Disk, path: str, seed: int) -> Iterator[tuple[int, format.RecordHeader]]:
    """Every whole record of a file, wherever it stands, with its offset. Nothing where there is no file."""
    if not disk.exists(path):
        return
    with opened(disk, path) as handle:
        at = 0
        for item in scan(disk, handle, seed, 0, disk.size(handle), None):
            if isinstance(item, Whole):
                format.refuse_unknown(path, item.header)
                yield at, item.header
                at += item.header.length_bytes
            else:
                at = item.end


def measure(disk: Disk, files: Segments, key: bytes, *, without: Container[str] = ()) -> Extent:
    """How far the stream's own files go, as far as they are whole; `without` those of some kinds."""
    extent = Extent()
    if SEGMENT not in without:
        for offset, header in whole_records(disk, files.path(key, SEGMENT), files.seed):
            if header.key == key and header.place == offset and header.sequence == extent.sequence + 1:
                extent.add_commit(header, offset)
    if SNAPSHOTS not in without:
        for offset, header in whole_records(disk, files.path(key, SNAPSHOTS), files.seed):
            if header.key == key and header.place == offset:
                extent.add_snapshot(header, offset)
    return extent


def commits_text(first: int, last: int, stream: str) -> str:
    """What is lost with the commits from `first` to `last`; `last` below `first` where nobody knows it."""
    if last < first:
        return f"commits from {first} on of {stream}, if there were any"
    commits = f"commit {first}" if first == last else f"commits {first} to {last}"
    return f"{commits} of {stream}, and snapshots of their revisions"
