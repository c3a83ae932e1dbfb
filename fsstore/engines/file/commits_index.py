"""commits.index: for each checkpoint token, where its folded commit is.

Fixed-size entries in token order, the entry of token N at a place that N alone decides. A view of what the
segments hold: rebuilt from them when it is missing or older than the fold mark. Only the folding process
writes it.
"""

from __future__ import annotations

from fsstore.engines.file import file_headers, index_entries
from fsstore.engines.file.disk import Disk, write_again
from fsstore.engines.file.heads import StaleIndexError

FILE_NAME = "commits.index"
_ENTRY = index_entries.COMMITS_ENTRY_BYTES


class CommitsIndex:
    """The index of one store. Readers may look while the folding process appends."""

    def __init__(self, disk: Disk, store: str, seed: int, *, write: bool) -> None:
        self._disk = disk
        self._path = f"{store}/{FILE_NAME}"
        self._seed = seed
        self._write = write
        self._handle: int | None = None
        self.folded = 0
        self.next_token = 1

    @property
    def path(self) -> str:
        return self._path

    def open(self, *, at_least_folded: int) -> None:
        """Open the index; `StaleIndexError` unless it covers every commit folded below that position."""
        self.close()
        try:
            self._handle = self._disk.open(self._path, write=self._write)
            self._read_header()
            if self.folded < at_least_folded:
                raise StaleIndexError(self._path)
            if not self.next_token or self._disk.size(self._handle) < self._offset(self.next_token):
                raise StaleIndexError(self._path)
        except file_headers.NewerFormatError as error:
            self.close()
            raise file_headers.refused(self._path, error) from error
        except (FileNotFoundError, file_headers.FormatError) as error:
            self.close()
            raise StaleIndexError(self._path) from error
        except BaseException:
            self.close()
            raise

    def _read_header(self) -> None:
        assert self._handle is not None
        data = self._disk.read(self._handle, index_entries.INDEX_HEADER_BYTES, 0)
        self.folded, self.next_token = file_headers.read_numbers("commits", data, self._seed, 2)

    def create(self) -> None:
        """An empty index in place of any other."""
        self.close()
        path = f"{self._path}.new"
        self._handle = self._disk.open(path, write=True, create=True)
        self._disk.truncate(self._handle, 0)
        self._disk.rename(path, self._path)
        self.folded, self.next_token = 0, 1

    @staticmethod
    def _offset(token: int) -> int:
        return index_entries.INDEX_HEADER_BYTES + (token - 1) * _ENTRY

    def read(self, first_token: int, last_token: int) -> bytes:
        """The entries of those tokens, raw; fewer at the end of the index."""
        assert self._handle is not None
        length = (last_token - first_token + 1) * _ENTRY
        data = self._disk.read(self._handle, length, self._offset(first_token))
        return data[: len(data) - len(data) % _ENTRY]

    def write(self, first_token: int, entries: bytes | bytearray) -> None:
        """Put packed entries from `first_token` on; repeating it is harmless."""
        assert self._handle is not None
        self._disk.write(self._handle, entries, self._offset(first_token))

    def mark_folded(self, position: int, next_token: int) -> None:
        """Note that the index now covers everything folded below `position`."""
        assert self._handle is not None
        self.folded, self.next_token = position, next_token
        data = file_headers.pack_file_header(
            "commits", self._seed, [position, next_token], index_entries.INDEX_HEADER_BYTES
        )
        self._disk.write(self._handle, data, 0)

    def write_again(self) -> None:
        """Have the next flush take everything to the device, also what an earlier one that failed left behind."""
        assert self._handle is not None
        write_again(self._disk, self._handle)

    def flush(self) -> None:
        assert self._handle is not None
        self._disk.flush(self._handle)

    def flush_file_system(self) -> bool:
        """Everything written to the store's file system since this was opened is on the device."""
        assert self._handle is not None
        return self._disk.flush_file_system(self._handle)

    def refresh(self) -> None:
        """See what another process wrote: the file may have been replaced."""
        self.open(at_least_folded=0)

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._disk.close(handle)
