"""What the journal still has to say about each stream: how far its own files are to be believed.

What is behind the first unfolded record of a stream, or about to be deleted, is an interrupted fold's, which the
next one does again. It reads nothing; what was surveyed is given to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from fsstore.engines.file.formats import file_headers, format
from fsstore.engines.file.log.scan import Gap, Survey
from fsstore.engines.file.streams.segments import FILES


class First(NamedTuple):
    """Where the unfolded records of a stream begin."""

    place: int
    sequence: int
    begins: bool
    """Whether the stream's file begins with it, header and all: what an interrupted fold left of it means nothing."""


class Unfolded:
    """The whole records from position `folded` on, by stream."""

    def __init__(self, journal: Survey, folded: int) -> None:
        self.first_token = 0
        self._first: dict[tuple[bytes, int], First] = {}
        self._reset: set[bytes] = set()
        self._positions: set[int] = set()
        self._purged = {bucket_id for position, bucket_id in journal.purged if position >= folded}
        for item in journal.items:
            if isinstance(item, Gap) or item.position < folded:
                continue
            self._positions.add(item.position)
            if item.kind == format.DELETE_STREAM:
                self._reset.add(item.key)
            elif item.kind in FILES:
                prefix = format.stream_prefix(*journal.names[item.key])
                begins = item.place == file_headers.stream_file_header_bytes(prefix, FILES[item.kind])
                self._first.setdefault((item.key, item.kind), First(item.place, item.sequence, begins))
                if item.kind == format.COMMIT:
                    self.first_token = self.first_token or item.token

    def has(self, position: int) -> bool:
        return position in self._positions

    def first(self, key: bytes, kind: int) -> First | None:
        return self._first.get((key, kind))

    def firsts(self) -> Iterable[tuple[tuple[bytes, int], First]]:
        """Where the unfolded records of each stream begin, by its key and their kind."""
        return self._first.items()

    def touches(self, key: bytes) -> bool:
        return (key, format.COMMIT) in self._first

    def deletes(self, key: bytes, bucket_id: str | None) -> bool:
        """Whether the folded files of the stream are about to go."""
        if key in self._reset or None in self._purged:
            return True
        return (bucket_id is None and bool(self._purged)) or bucket_id in self._purged

    def deletes_bucket(self, mark: int) -> bool:
        return None in self._purged or any(b is not None and format.bucket_mark(b) == mark for b in self._purged)
