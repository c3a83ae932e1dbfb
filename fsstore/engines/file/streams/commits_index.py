"""commits.index: for each checkpoint token, where its folded commit is.

Fixed-size entries in token order, the entry of token N at a place that N alone decides. A view of what the
segments hold: rebuilt from them when it is missing or older than the fold mark. Only the folding process
writes it.
"""

from __future__ import annotations

from fsstore.engines.file.files import layout
from fsstore.engines.file.formats import file_headers
from fsstore.engines.file.formats.index_entries import COMMITS_ENTRY_BYTES, commits_offset
from fsstore.engines.file.streams.index_file import IndexFile


class CommitsIndex(IndexFile):
    """The index of one store. Readers may look while the folding process appends."""

    name = layout.COMMITS_INDEX
    kind = "commits"

    def _numbers(self) -> list[object]:
        return [self.folded, self.next_token]

    def _take_numbers(self, header: bytes) -> int:
        self.folded, self.next_token = file_headers.read_numbers(self.kind, header, self._seed, 2)
        if not self.next_token:
            raise file_headers.FormatError("a checkpoint token")
        return commits_offset(self.next_token)

    def create(self) -> None:
        """An empty index in place of any other."""
        self.close()
        path = f"{self.path}.new"
        self._handle = self._disk.open(path, write=True, create=True)
        self._disk.truncate(self._handle, 0)
        self._disk.rename(path, self.path)
        self.folded, self.next_token = 0, 1

    def read(self, first_token: int, last_token: int) -> bytes:
        """The entries of those tokens, raw; fewer at the end of the index."""
        assert self._handle is not None
        length = (last_token - first_token + 1) * COMMITS_ENTRY_BYTES
        data = self._disk.read(self._handle, length, commits_offset(first_token))
        return data[: len(data) - len(data) % COMMITS_ENTRY_BYTES]

    def write(self, first_token: int, entries: bytes | bytearray) -> None:
        """Put packed entries from `first_token` on; repeating it is harmless."""
        assert self._handle is not None
        self._disk.write(self._handle, entries, commits_offset(first_token))

    def flush_file_system(self) -> bool:
        """Everything written to the store's file system since this was opened is on the device."""
        assert self._handle is not None
        return self._disk.flush_file_system(self._handle)
