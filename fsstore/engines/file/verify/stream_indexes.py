"""Verification of the two indexes beside a segment, `.index` and `.ids`, against the commits of the segment.

Both are disposable: whatever is wrong with them, nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterator

from fsstore.engines.file.disk.disk import Disk
from fsstore.engines.file.formats import file_headers, format, index_entries
from fsstore.engines.file.streams.ids import IdIndex, LongIds
from fsstore.engines.file.streams.segments import IDS, INDEX
from fsstore.engines.file.verify.finding import NOTHING_LOST, Finding


class StreamIndexes:
    """The indexes at `paths`, by their kind, compared with the segment's commits as they go by.

    `most_commits`: no more can be in the segment."""

    def __init__(self, disk: Disk, seed: int, key: bytes, paths: dict[str, str], most_commits: int) -> None:
        self._disk = disk
        self._paths = paths
        self._faults: dict[str, int | None] = {}
        self._index: int | None = None
        self._ids: LongIds | None = None
        try:
            self._open(seed, key, most_commits)
        except BaseException:
            self.close()
            raise

    def _open(self, seed: int, key: bytes, most_commits: int) -> None:
        disk, paths = self._disk, self._paths
        if INDEX in paths:
            self._index = disk.open(paths[INDEX])
            try:
                data = disk.read(self._index, index_entries.INDEX_HEADER_BYTES, 0)
                file_headers.refuse_newer(paths[INDEX], INDEX, data, seed)
                if file_headers.read_file_header("index", data, seed)[0] != [key]:
                    self._faults[INDEX] = 0
            except file_headers.FormatError:
                self._faults[INDEX] = 0
        if IDS in paths:
            runs = IdIndex(disk, paths[IDS], seed).load(0, most_commits)
            if runs is None:
                self._faults[IDS] = 0
            else:
                self._ids = LongIds(runs, lambda _: True)

    def compare(self, header: format.RecordHeader) -> None:
        if self._index is not None and INDEX not in self._faults:
            offset = index_entries.stream_index_offset(header.sequence)
            data = self._disk.read(self._index, index_entries.STREAM_INDEX_ENTRY_BYTES, offset)
            wanted = (header.place, header.length_bytes, header.revision, header.commit_id)
            if (
                len(data) == index_entries.STREAM_INDEX_ENTRY_BYTES
                and index_entries.STREAM_INDEX_ENTRY.unpack(data) != wanted
            ):
                self._faults[INDEX] = offset
        if self._ids is not None and header.sequence <= len(self._ids) and header.commit_id not in self._ids:
            self._faults[IDS] = None

    def findings(self) -> Iterator[Finding]:
        for kind, offset in self._faults.items():
            expected = "what the segment beside it says"
            what = "an index beside a segment is damaged"
            yield Finding(self._paths[kind], offset, what, expected, NOTHING_LOST, disposable=True)

    def close(self) -> None:
        if self._index is not None:
            self._disk.close(self._index)
