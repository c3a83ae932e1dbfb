"""A stream's file written anew: beside the one that it replaces, then in its place.

It takes the records that it is given. Which those are, `streams.py` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.files.handles import opened, read_from
from fsstore.engines.file.formats import file_headers, format
from fsstore.engines.file.streams.segments import IDS, INDEX, SEGMENT, Stream


class Piece(NamedTuple):
    """A whole record, and where it was found."""

    path: str
    offset: int
    header: format.RecordHeader

    def body(self, disk: Disk) -> bytes:
        return read_from(disk, self.path, self.offset + format.RECORD_HEADER_BYTES, self.header.body_bytes)


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
        header = file_headers.stream_file_header(self.seed, self.stream.prefix, self.kind)
        with opened(disk, f"{self.path}.new", write=True, create=True) as target:
            disk.truncate(target, 0)
            disk.write(target, header, 0)
            place = len(header)
            for piece in self.pieces:
                body = piece.body(disk)
                # Snapshots close ranks; a commit's place never changes.
                disk.write(target, format.pack_header(piece.header._replace(place=place), self.seed) + body, place)
                place += piece.header.length_bytes
            disk.flush(target)

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
